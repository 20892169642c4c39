package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

var cmdCompletion = command{
	name:  "completion",
	args:  "SHELL",
	short: "Print completion for a shell",
	long:  "Prints a script that makes a shell complete the names of commands and flags: SHELL is bash, zsh or fish.",
	examples: []example{
		{"source <(nestbox completion bash)", "in ~/.bashrc"},
		{"nestbox completion fish > ~/.config/fish/completions/nestbox.fish", "for fish"},
	},
	setup: func(*pflag.FlagSet) runFunc {
		return func(_ context.Context, e *env, args []string) error {
			switch args[0] {
			case "bash":
				return e.table.writeBash(e.Stdout)
			case "zsh":
				// zsh understands bash's completion functions.
				if _, err := io.WriteString(e.Stdout, "autoload -U +X bashcompinit && bashcompinit\n"); err != nil {
					return err
				}
				return e.table.writeBash(e.Stdout)
			case "fish":
				return e.table.writeFish(e.Stdout)
			}
			return &usageError{command: "completion", text: "wants bash, zsh or fish"}
		}
	},
}

// completionWords are what can follow the words of a command line: the next words of
// the names of commands, and of a whole name the flags.
func (t table) completionWords() (order []string, next map[string][]string) {
	next = map[string][]string{}
	add := func(before, word string) {
		if _, ok := next[before]; !ok {
			order = append(order, before)
		}
		for _, w := range next[before] {
			if w == word {
				return
			}
		}
		next[before] = append(next[before], word)
	}
	for _, c := range t {
		if c.hidden {
			continue
		}
		before := ""
		for _, w := range strings.Fields(c.name) {
			add(before, w)
			before = strings.TrimSpace(before + " " + w)
		}
		c.flags().VisitAll(func(f *pflag.Flag) { add(c.name, "--"+f.Name) })
		add(c.name, "--help")
	}
	return order, next
}

func (t table) writeBash(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`_nestbox() {
	local before="" word i words
	for ((i = 1; i < COMP_CWORD; i++)); do
		word="${COMP_WORDS[i]}"
		[[ "$word" == -* ]] && break
		case "${before:+$before }$word" in
`)
	order, next := t.completionWords()
	fmt.Fprintf(&b, "\t\t%s) before=\"${before:+$before }$word\" ;;\n\t\t*) break ;;\n\t\tesac\n\tdone\n\tcase \"$before\" in\n", `"`+strings.Join(order[1:], `"|"`)+`"`)
	for _, before := range order {
		fmt.Fprintf(&b, "\t%q) words=%q ;;\n", before, strings.Join(next[before], " "))
	}
	b.WriteString(`	esac
	local current="${COMP_WORDS[COMP_CWORD]}"
	COMPREPLY=($(compgen -W "$words" -- "$current"))
	[[ "$current" != -* && ${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _nestbox nestbox
`)
	_, err := io.WriteString(w, b.String())
	return err
}

func (t table) writeFish(w io.Writer) error {
	var b strings.Builder
	seen := map[string]bool{}
	for _, c := range t {
		if c.hidden {
			continue
		}
		words := strings.Fields(c.name)
		what := fishQuote(c.short)
		if len(words) > 1 {
			what = "''"
		}
		if !seen[words[0]] {
			fmt.Fprintf(&b, "complete -c nestbox -n __fish_use_subcommand -a %s -d %s\n", words[0], what)
		}
		seen[words[0]] = true
		when := "__fish_seen_subcommand_from " + words[0]
		if len(words) > 1 {
			fmt.Fprintf(&b, "complete -c nestbox -n '%s' -a %s -d %s\n", when, words[1], fishQuote(c.short))
			when += "; and __fish_seen_subcommand_from " + words[1]
		}
		c.flags().VisitAll(func(f *pflag.Flag) {
			fmt.Fprintf(&b, "complete -c nestbox -n '%s' -l %s -d %s\n", when, f.Name, fishQuote(f.Usage))
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
