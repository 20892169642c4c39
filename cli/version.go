package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"
)

// Version is the version of the program. CHANGELOG.md tells what it brought.
const Version = "0.1.0"

// versionDate is the day of the version: no right clock is before it. It stands
// here, and not in a build's flags, so that the same sources give the same
// binary anywhere. It is raised with Version.
const versionDate = "2026-11-01"

// built is before every right time that this program can run at: the day of
// the version, or of the commit that it was built from if the binary knows it.
func built() time.Time {
	at, _ := time.Parse(time.DateOnly, versionDate) // a test holds that it is good
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil && t.After(at) {
				at = t
			}
		}
	}
	return at
}

var cmdVersion = command{
	name:  "version",
	short: "Print the version",
	long:  "Prints the version of nestbox, of Go and of the sources it was built from.",
	examples: []example{
		{"nestbox version", "the version, for a report"},
		{"nestbox version --json", "the same for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		asJSON := jsonFlag(fs)
		return func(_ context.Context, e *env, _ []string) error {
			return writeVersion(e.Stdout, *asJSON)
		}
	},
}

type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
}

func currentVersion() versionInfo {
	v := versionInfo{Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return v
}

func writeVersion(w io.Writer, asJSON bool) error {
	v := currentVersion()
	if asJSON {
		return writeJSON(w, v)
	}
	line := fmt.Sprintf("nestbox %s (%s, %s", v.Version, v.Go, v.Platform)
	if v.Revision != "" {
		line += ", " + v.Revision[:min(12, len(v.Revision))]
		if v.Modified {
			line += " modified"
		}
	}
	_, err := fmt.Fprintln(w, line+")")
	return err
}

// jsonFlag is the flag of commands whose results scripts read.
func jsonFlag(fs *pflag.FlagSet) *bool {
	return fs.Bool("json", false, "print JSON")
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
