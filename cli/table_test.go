package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each command is documented, and its examples are command lines that parse.
func TestTable(t *testing.T) {
	t.Parallel()
	all := commands()
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.name] || c.name == "" {
			t.Errorf("command %q is there twice", c.name)
		}
		seen[c.name] = true
		if c.short == "" || strings.HasSuffix(c.short, ".") || c.long == "" || !strings.HasSuffix(c.long, ".") && !strings.HasSuffix(c.long, ").") {
			t.Errorf("%s: short has no full stop, long has one: %q, %q", c.name, c.short, c.long)
		}
		if len(c.examples) == 0 {
			t.Errorf("%s: no example", c.name)
		}
		for _, x := range c.examples {
			checkExample(t, all, c, x.line)
		}
		var help bytes.Buffer
		if err := c.writeHelp(&help); err != nil || !strings.Contains(help.String(), "Usage: nestbox "+c.name) {
			t.Errorf("%s: help %q, %v", c.name, help.String(), err)
		}
	}
}

func checkExample(t *testing.T, all table, c *command, line string) {
	_, line, _ = strings.Cut(line, "nestbox ")
	line, _, _ = strings.Cut(line, "|")
	line, _, _ = strings.Cut(line, ">")
	found, rest, err := all.find(strings.Fields(strings.TrimRight(line, ")")))
	if err != nil || found == nil || found.name != c.name {
		t.Errorf("%s: the example %q is one of another command: %v", c.name, line, err)
		return
	}
	fs := c.flags()
	if err := fs.Parse(rest); err != nil {
		t.Errorf("%s: the example %q: %v", c.name, line, err)
	}
	if n := fs.NArg(); n < c.minArgs() || n > c.maxArgs() && !strings.Contains(line, `"`) {
		t.Errorf("%s: the example %q has %d arguments", c.name, line, n)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}, {"help", "import"}, {"import", "--help"}, {"account", "--help"}, {"help", "account"}, {"help", "account", "add"}} {
		if got := must(t, "", args...); !strings.Contains(got, "Usage: nestbox ") {
			t.Errorf("nestbox %s: %q", strings.Join(args, " "), got)
		}
	}
	for _, args := range [][]string{{"version"}, {"--version"}, {"version", "--json"}} {
		if got := must(t, "", args...); !strings.Contains(got, Version) {
			t.Errorf("nestbox %s: %q", strings.Join(args, " "), got)
		}
	}
	wantCode(t, 2, "no command", "help", "nothing")
	wantCode(t, 2, "name a command")
}

func TestManPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, "", "docs", "man", dir)
	for _, c := range commands() {
		text, err := os.ReadFile(filepath.Join(dir, manPage(c)+".1"))
		if c.hidden {
			continue
		}
		if err != nil || !strings.HasPrefix(string(text), ".TH ") {
			t.Errorf("%s: %v, %.40q", c.name, err, text)
		}
	}
}

func TestBashCompletion(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	script := must(t, "", "completion", "bash")
	for words, want := range map[string]string{
		"acc":                 "account",
		"account ":            "add import list passwd invite disable enable delete undelete",
		"account add --pass":  "--password-stdin",
		"import --account x ": "--account",
		"import --mailb":      "--mailbox",
	} {
		list := append([]string{"nestbox"}, strings.Split(words, " ")...)
		cmd := exec.Command(bash, "--norc", "-c", script+`
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nestbox; echo "${COMPREPLY[*]}"`, "bash")
		cmd.Args = append(cmd.Args, list...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%q completes to %q, want %q: %v", words, out, want, err)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if got := must(t, "", "completion", shell); !strings.Contains(got, "nestbox") {
			t.Errorf("%s: %q", shell, got)
		}
	}
}
