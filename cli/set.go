package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/config"
)

var cmdSet = command{
	name:  "set",
	args:  "[KEY] [VALUE]",
	short: "Show or change the household's settings",
	long:  `Without arguments lists the household's settings, with KEY prints one, with KEY and VALUE changes it. --default gives KEY its default again. A setting that stands in the configuration file or the environment is fixed there: the file wins, and it can't be changed here. docs/config.md explains the keys. A running server takes over extensions for logins from now on, and quotas and kept times at once; the rest after a restart.`,
	examples: []example{
		{"nestbox set", "all settings, and where their values come from"},
		{"nestbox set box_name \"Attic\"", "changes the name of the box"},
		{"nestbox set extensions_off \"COMPRESS=DEFLATE\"", "switches an IMAP extension off for all"},
		{"nestbox set box_name --default", "the default again"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		toDefault := fs.Bool("default", false, "give KEY its default again")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			if *toDefault && len(args) != 1 {
				return &usageError{command: "set", text: "--default takes KEY and no value"}
			}
			cfg, err := e.config()
			if err != nil {
				return err
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if *toDefault || len(args) == 2 {
					return e.changeSetting(ctx, api, cfg, args)
				}
				return e.showSettings(ctx, api, cfg, args, *asJSON)
			})
		}
	},
}

// changeSetting sets args[0] to args[1], or without one to its default.
func (e *env) changeSetting(ctx context.Context, api admin.API, cfg *config.Config, args []string) error {
	key := args[0]
	if err := knownSetting(key); err != nil {
		return err
	}
	if _, fixed := cfg.Fixed[key]; fixed {
		return failWith(exitNotAllowed, "%s is fixed in the %s: change it there", key, cfg.Source(key))
	}
	if len(args) == 1 {
		return api.SetSetting(ctx, key, nil)
	}
	value, err := config.CheckSetting(key, args[1])
	if err != nil {
		return &usageError{command: "set", text: fmt.Sprintf("%s: %v", key, err)}
	}
	return api.SetSetting(ctx, key, &value)
}

func knownSetting(key string) error {
	for _, k := range config.HouseholdKeys() {
		if k.Name == key {
			return nil
		}
	}
	_, err := config.CheckSetting(key, "") // says which key may be meant
	return &usageError{command: "set", text: err.Error()}
}

type settingInfo struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
	Fixed  bool   `json:"fixed"`
}

func (e *env) showSettings(ctx context.Context, api admin.API, cfg *config.Config, args []string, asJSON bool) error {
	if len(args) == 1 {
		if err := knownSetting(args[0]); err != nil {
			return err
		}
	}
	stored, err := api.Settings(ctx)
	if err != nil {
		return err
	}
	list := []settingInfo{}
	for _, s := range cfg.Settings(stored) {
		if len(args) == 0 || s.Key.Name == args[0] {
			list = append(list, settingInfo{s.Key.Name, s.Value, s.Source.String(), s.Fixed})
		}
	}
	if asJSON {
		return writeJSON(e.Stdout, list)
	}
	if len(args) == 1 {
		_, err := fmt.Fprintln(e.Stdout, list[0].Value)
		return err
	}
	rows := [][]string{{"KEY", "VALUE", "FROM"}}
	for _, s := range list {
		from := s.Source
		if s.Fixed {
			from += " (fixed there)"
		}
		rows = append(rows, []string{s.Key, strings.TrimSpace(s.Value), from})
	}
	return writeTable(e, rows)
}
