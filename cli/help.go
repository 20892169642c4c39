package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

var cmdHelp = command{
	name:  "help",
	args:  "[COMMAND...]",
	short: "Explain a command",
	long:  "Lists the commands, or explains one with its flags and examples.",
	examples: []example{
		{"nestbox help import", "how to import mail"},
	},
	setup: func(*pflag.FlagSet) runFunc {
		return func(_ context.Context, e *env, args []string) error {
			if len(args) == 0 {
				return e.table.writeOverview(e.Stdout, "")
			}
			c, rest, err := e.table.find(args)
			switch {
			case err != nil:
				return err
			case c == nil && len(rest) == 0:
				return e.table.writeOverview(e.Stdout, strings.Join(args, " "))
			case c == nil || len(rest) > 0:
				return &usageError{text: "there is no command " + quoteWord(strings.Join(args, " "))}
			}
			return c.writeHelp(e.Stdout)
		}
	},
}

// writeOverview lists the commands whose names begin with prefix.
func (t table) writeOverview(w io.Writer, prefix string) error {
	var b strings.Builder
	if prefix == "" {
		b.WriteString("nestbox is an IMAP server for small boxes.\n\nUsage: nestbox COMMAND [flags] [arguments]\n\nCommands:\n")
	} else {
		fmt.Fprintf(&b, "Usage: nestbox %s COMMAND [flags] [arguments]\n\nCommands:\n", prefix)
	}
	for _, c := range t {
		if !c.hidden && (prefix == "" || strings.HasPrefix(c.name, prefix+" ")) {
			fmt.Fprintf(&b, "  %-16s %s\n", c.name, c.short)
		}
	}
	b.WriteString("\n`nestbox help COMMAND` explains one.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *command) writeHelp(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nUsage: %s\n\n%s\n", c.short, c.usage(), c.long)
	if fs := c.flags(); fs.HasFlags() {
		b.WriteString("\nFlags:\n")
		fs.VisitAll(func(f *pflag.Flag) {
			fmt.Fprintf(&b, "  %-28s  %s\n", flagForm(f), f.Usage)
		})
	}
	b.WriteString("\nExamples:\n")
	for _, x := range c.examples {
		fmt.Fprintf(&b, "  %s\n      %s\n", x.line, x.what)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
