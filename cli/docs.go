package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

var cmdDocs = command{
	name:   "docs",
	args:   "FORMAT [DIR]",
	short:  "Print the documentation of the commands",
	long:   "Prints the documentation of all commands: FORMAT is markdown (docs/cli.md) or man (one page a command, written into DIR).",
	hidden: true,
	examples: []example{
		{"nestbox docs markdown > docs/cli.md", "after a change of the table of commands"},
		{"nestbox docs man /usr/local/share/man/man1", "for man(1)"},
	},
	setup: func(*pflag.FlagSet) runFunc {
		return func(_ context.Context, e *env, args []string) error {
			switch {
			case args[0] == "markdown" && len(args) == 1:
				return e.table.writeMarkdown(e.Stdout)
			case args[0] == "man" && len(args) == 2:
				return e.table.writeManPages(args[1])
			}
			return &usageError{command: "docs", text: "wants markdown, or man DIR"}
		}
	},
}

// writeMarkdown prints docs/cli.md.
func (t table) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Commands

<!-- Printed by ` + "`nestbox docs markdown`" + ` from the table in cli/command.go; change it there. -->

Results go to standard output, all else to standard error. Commands work on a data folder: they open it themselves, or ask the server that has it open through its
control socket. They read and write files with the rights of who calls them; the server opens no path that a command names.

| exit code | meaning |
|---|---|
`)
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", c.code, c.text)
	}
	for _, c := range t {
		if c.hidden {
			continue
		}
		fmt.Fprintf(&b, "\n## nestbox %s\n\n%s.\n\n    %s\n\n%s\n", c.name, c.short, c.usage(), c.long)
		if fs := c.flags(); fs.HasFlags() {
			b.WriteString("\n| flag | |\n|---|---|\n")
			fs.VisitAll(func(f *pflag.Flag) {
				fmt.Fprintf(&b, "| `%s` | %s |\n", flagForm(f), f.Usage)
			})
		}
		b.WriteString("\n")
		for _, x := range c.examples {
			fmt.Fprintf(&b, "    # %s\n    %s\n", x.what, x.line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// flagForm is a flag as it is typed: "--data string".
func flagForm(f *pflag.Flag) string {
	form := "--" + f.Name
	if f.Shorthand != "" {
		form = "-" + f.Shorthand + ", " + form
	}
	if f.Value.Type() != "bool" {
		kind := f.Value.Type()
		if kind == "stringArray" {
			kind = "string ..."
		}
		form += " " + kind
	}
	return form
}

// writeManPages writes nestbox.1 and a page for each command.
func (t table) writeManPages(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var top strings.Builder
	top.WriteString(manHead("nestbox", "IMAP server for small boxes"))
	top.WriteString(".SH SYNOPSIS\nnestbox COMMAND [flags] [arguments]\n.SH COMMANDS\n")
	for _, c := range t {
		if c.hidden {
			continue
		}
		fmt.Fprintf(&top, ".TP\n.BR %s (1)\n%s.\n", manPage(c), manText(c.short))
		if err := os.WriteFile(filepath.Join(dir, manPage(c)+".1"), []byte(c.man()), 0o644); err != nil {
			return err
		}
	}
	top.WriteString(manExit())
	return os.WriteFile(filepath.Join(dir, "nestbox.1"), []byte(top.String()), 0o644)
}

func manPage(c *command) string { return "nestbox-" + strings.ReplaceAll(c.name, " ", "-") }

func (c *command) man() string {
	var b strings.Builder
	b.WriteString(manHead(manPage(c), strings.ToLower(c.short[:1])+c.short[1:]))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n%s\n.SH DESCRIPTION\n", manText(c.usage()))
	for i, p := range strings.Split(c.long, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(manText(p) + "\n")
	}
	if fs := c.flags(); fs.HasFlags() {
		b.WriteString(".SH OPTIONS\n")
		fs.VisitAll(func(f *pflag.Flag) {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", manText(flagForm(f)), manText(f.Usage))
		})
	}
	b.WriteString(".SH EXAMPLES\n")
	for _, x := range c.examples {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", manText(x.line), manText(x.what))
	}
	b.WriteString(manExit())
	return b.String()
}

func manHead(name, what string) string {
	return fmt.Sprintf(".TH %s 1 \"\" \"nestbox %s\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), Version, name, manText(what))
}

func manExit() string {
	var b strings.Builder
	b.WriteString(".SH EXIT STATUS\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", c.code, manText(c.text))
	}
	return b.String()
}

// manText escapes what roff takes for its own.
func manText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
