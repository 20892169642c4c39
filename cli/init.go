package cli

import (
	"context"

	"github.com/spf13/pflag"
)

var cmdInit = command{
	name:  "init",
	short: "Make a data folder",
	long:  `Makes a data folder without accounts, and sees whether its file system can hold mail. "account add" does this by itself where nothing is yet, and "serve" without a configuration file for the default folder and for one named by --data. With a configuration file, or a folder named by the environment, "serve" wants the folder to be there, so that a disk that isn't mounted is never taken for a new box.`,
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
			if err := e.initFolder(cfg); err != nil {
				return err
			}
			e.say("%s is a data folder now", cfg.Data)
			return nil
		}
	},
}
