// Command build makes the binaries of a release:
//
//	go run ./build                   all targets into dist/
//	go run ./build linux/mipsle      some
//	go run ./build -verify linux/arm64   twice, in two places, and compares
//
// The same sources and the same Go give the same bytes anywhere. A binary over
// its size gate is an error: gates are raised only by a decision record.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Size gates, of stripped binaries. MIPS has wide instructions.
const (
	gate     = 18_000_000
	gateMIPS = 20_000_000
)

// A target is a machine that nestbox runs on.
type target struct {
	goos, goarch string
	variant      string // "GOARM=7"
	name         string // in file names, when not goarch
}

var targets = []target{
	{goos: "linux", goarch: "amd64"},
	{goos: "linux", goarch: "386"},
	{goos: "linux", goarch: "arm", variant: "GOARM=5", name: "armv5"},
	{goos: "linux", goarch: "arm", variant: "GOARM=6", name: "armv6"},
	{goos: "linux", goarch: "arm", variant: "GOARM=7", name: "armv7"},
	{goos: "linux", goarch: "arm64"},
	{goos: "linux", goarch: "mips", variant: "GOMIPS=softfloat"},
	{goos: "linux", goarch: "mipsle", variant: "GOMIPS=softfloat"},
	{goos: "linux", goarch: "riscv64"},
	{goos: "darwin", goarch: "amd64"},
	{goos: "darwin", goarch: "arm64"},
	{goos: "freebsd", goarch: "amd64"},
	{goos: "freebsd", goarch: "arm64"},
}

func (t target) String() string {
	if t.name != "" {
		return t.goos + "/" + t.name
	}
	return t.goos + "/" + t.goarch
}

func (t target) file() string { return "nestbox-" + strings.ReplaceAll(t.String(), "/", "-") }

func (t target) gate() int64 {
	if strings.HasPrefix(t.goarch, "mips") {
		return gateMIPS
	}
	return gate
}

func main() {
	out := flag.String("o", "dist", "folder for the binaries")
	verify := flag.Bool("verify", false, "build twice, in two folders with two caches, and compare")
	flag.Parse()
	if err := run(*out, *verify, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(out string, verify bool, names []string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	out, err = filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var failed []error
	for _, t := range chosen {
		if verify {
			err = t.verify()
		} else {
			err = t.release(out)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", t, err))
		}
	}
	return errors.Join(failed...)
}

func choose(names []string) ([]target, error) {
	if len(names) == 0 {
		return targets, nil
	}
	var chosen []target
next:
	for _, name := range names {
		for _, t := range targets {
			if t.String() == name {
				chosen = append(chosen, t)
				continue next
			}
		}
		return nil, fmt.Errorf("no target %q; there are %v", name, targets)
	}
	return chosen, nil
}

// release builds a target and holds its size.
func (t target) release(out string) error {
	start := time.Now()
	path := filepath.Join(out, t.file())
	if err := t.build(".", path, ""); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	sum, err := hash(path)
	if err != nil {
		return err
	}
	fmt.Printf("%-16s %10d bytes  %4.1f%% of its gate  %s  %.0f s\n", t, info.Size(),
		100*float64(info.Size())/float64(t.gate()), sum[:16], time.Since(start).Seconds())
	if info.Size() > t.gate() {
		return fmt.Errorf("%d bytes are over the gate of %d", info.Size(), t.gate())
	}
	return nil
}

// cold packages never have much to do: in their code no calls are inlined,
// which makes it smaller (docs/decisions/0051-size-gate.md).
var cold = []string{
	"net/http", "net/textproto", "net/url", "mime/multipart", "golang.org/x/net/...", "vendor/golang.org/x/net/...",
	"encoding/json", "encoding/asn1", "crypto/x509", "text/...",
	"github.com/caddyserver/...", "github.com/mholt/...", "github.com/zeebo/...", "go.uber.org/...",
	"github.com/spf13/...", "github.com/BurntSushi/...", "rsc.io/...",
	"nestbox", "nestbox/admin", "nestbox/cli", "nestbox/config", "nestbox/proxy", "nestbox/tls",
}

// build compiles the module in dir. With a cache of its own, everything.
func (t target) build(dir, out, cache string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", out}
	for _, p := range cold {
		args = append(args, "-gcflags="+p+"=-l")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+t.goos, "GOARCH="+t.goarch)
	if t.variant != "" {
		cmd.Env = append(cmd.Env, t.variant)
	}
	if cache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+cache)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// verify builds a target in the module's folder and in a copy elsewhere.
func (t target) verify() (err error) {
	tmp, err := os.MkdirTemp("", "nestbox-verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	elsewhere := filepath.Join(tmp, "another", "place")
	if err := copyModule(elsewhere); err != nil {
		return err
	}
	var sums [2]string
	for i, dir := range []string{".", elsewhere} {
		path := filepath.Join(tmp, fmt.Sprint(i))
		if err := t.build(dir, path, filepath.Join(tmp, fmt.Sprint("cache", i))); err != nil {
			return err
		}
		if sums[i], err = hash(path); err != nil {
			return err
		}
	}
	if sums[0] != sums[1] {
		return fmt.Errorf("two builds differ: %s and %s", sums[0], sums[1])
	}
	fmt.Printf("%-16s the same twice  %s\n", t, sums[0])
	return nil
}

// copyModule copies what a build needs: Go files, embedded files, go.mod.
func copyModule(to string) error {
	return filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != "." && (strings.HasPrefix(name, ".") || name == "dist" || name == "nestbox-data") {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), b, 0o644)
	})
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
