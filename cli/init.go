package cli

import (
	"context"

	"github.com/spf13/pflag"

	"nestbox/storage"
)

var cmdInit = command{
	name:  "init",
	short: "Make a data folder",
	long:  `Makes a data folder without accounts. "serve" does this by itself for the default folder, and for one named by --data that is missing or empty. A folder that the configuration file or the environment names must be made with this command, so that a disk that isn't mounted is never taken for a new box.`,
	examples: []example{
		{"nestbox init --data /srv/mail", "makes /srv/mail a data folder"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		fs.String("data", "", "data folder (default: /var/lib/nestbox for root, else ./nestbox-data)")
		fs.String("config", "", "configuration file that names the data folder")
		return func(_ context.Context, e *env, _ []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			if err := storage.Init(cfg.Data); err != nil {
				return err
			}
			e.say("%s is a data folder now", cfg.Data)
			return nil
		}
	},
}
