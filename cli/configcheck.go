package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"nestbox/config"
)

var cmdConfigCheck = command{
	name:  "config check",
	short: "Check the configuration file and the environment",
	long:  "Reads the configuration as `serve` would and names all that is wrong with it: file and line, and for an unknown key the nearest known one. Exit code 78 when something is.",
	examples: []example{
		{"nestbox config check", "checks what `serve` would read"},
		{"nestbox config check --config new.toml", "checks a file before it is used"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		fs.String("config", "", "configuration file (default: "+config.DefaultFile+" if it is there)")
		asJSON := jsonFlag(fs)
		return func(_ context.Context, e *env, _ []string) error {
			cfg, err := config.Load(e.configInput())
			var problems config.Problems
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			if *asJSON {
				list := []config.Problem{}
				return errors.Join(writeJSON(e.Stdout, append(list, problems...)), found(problems))
			}
			for _, p := range problems {
				fmt.Fprintln(e.Stdout, p)
			}
			if err == nil {
				file := cfg.File
				if file == "" {
					file = "no file, environment and defaults"
				}
				e.say("good: %s", file)
			}
			return found(problems)
		}
	},
}

// found is the error after problems were printed.
func found(problems config.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return &codedError{exitUnfit, errReported}
}
