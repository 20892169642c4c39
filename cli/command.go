package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A command is one line of the table from which the program's help, docs/cli.md,
// the manual pages and the shell completion are printed.
type command struct {
	name     string // "account add"
	args     string // "NAME", "[KEY [VALUE]]"; brackets may be left out
	short    string // one line, without a full stop
	long     string // paragraphs, separated by an empty line
	examples []example
	// setup declares the flags and returns what runs with their values.
	setup  func(*pflag.FlagSet) runFunc
	hidden bool
}

// An example is a command line that works, and what it does.
type example struct{ line, what string }

type runFunc func(ctx context.Context, e *env, args []string) error

// A table is all commands in the order of the help.
type table []*command

// commands is the program's table. It is a function, and commands get it
// through their env: help and the generators are commands in it themselves.
func commands() table {
	return table{
		&cmdServe, &cmdInit,
		&cmdAccountAdd, &cmdAccountImport, &cmdAccountList, &cmdAccountPasswd,
		&cmdAccountInvite, &cmdAccountDisable, &cmdAccountEnable, &cmdAccountDelete, &cmdAccountUndelete,
		&cmdACLList, &cmdACLSet, &cmdACLSeen, &cmdGroupAdd, &cmdGroupList, &cmdGroupDelete,
		&cmdAddressAdd, &cmdAddressList, &cmdAddressDelete,
		&cmdCertStatus, &cmdCertRenew, &cmdCertCA, &cmdCertCAExport, &cmdCertCAImport,
		&cmdDomainAdd, &cmdDomainList, &cmdDomainDelete,
		&cmdAppPasswordAdd, &cmdAppPasswordList, &cmdAppPasswordRevoke,
		&cmdActAsAdd, &cmdActAsList, &cmdActAsDelete,
		&cmdBanList, &cmdBanLift, &cmdAudit,
		&cmdImport, &cmdExport, &cmdBackup, &cmdRestore, &cmdCheck, &cmdSalvage,
		&cmdKept, &cmdPurge, &cmdQuota,
		&cmdRetentionAdd, &cmdRetentionList, &cmdRetentionDelete, &cmdRetentionRun,
		&cmdHoldAdd, &cmdHoldList, &cmdHoldDelete,
		&cmdStatus,
		&cmdSet, &cmdConfigCheck,
		&cmdVersion, &cmdHelp, &cmdCompletion, &cmdDocs, &cmdHooks,
	}
}

// find returns the command that args begin with, and the arguments
// after its name. It is nil when args name none; rest is then what follows
// the words that are the beginning of one.
func (t table) find(args []string) (c *command, rest []string, err error) {
	longest := 0 // `cert ca` is a command, and so is `cert ca export`
	for _, known := range t {
		words := strings.Fields(known.name)
		if len(words) > longest && len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			c, rest, longest = known, args[len(words):], len(words)
		}
	}
	if c != nil {
		return c, rest, nil
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil, args, nil
	}
	for _, c := range t {
		if strings.HasPrefix(c.name, args[0]+" ") {
			return nil, args[1:], nil
		}
	}
	text := "there is no command " + quoteWord(args[0])
	if near := t.nearest(args[0]); near != "" {
		text += "; did you mean " + quoteWord(near) + "?"
	}
	return nil, nil, &usageError{text: text}
}

// nearest is the command whose name is at most two letters away from word.
func (t table) nearest(word string) string {
	best, most := "", 3
	for _, c := range t {
		first, _, _ := strings.Cut(c.name, " ")
		if d := editDistance(word, first); !c.hidden && d < most {
			best, most = first, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, last+1)
		}
	}
	return row[len(b)]
}

func (c *command) minArgs() int {
	n := 0
	for _, w := range strings.Fields(c.args) {
		if !strings.HasPrefix(w, "[") {
			n++
		}
	}
	return n
}

func (c *command) maxArgs() int {
	if strings.HasSuffix(c.args, "...]") {
		return 1 << 30
	}
	return len(strings.Fields(c.args))
}

func (c *command) argsText() string {
	if c.args == "" {
		return "no arguments"
	}
	return c.args
}

// flags lists the flags of a command for its documentation.
func (c *command) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	fs.SortFlags = false
	c.setup(fs)
	return fs
}

func (c *command) usage() string {
	line := "nestbox " + c.name
	if c.flags().HasFlags() {
		line += " [flags]"
	}
	if c.args != "" {
		line += " " + c.args
	}
	return line
}

func quoteWord(s string) string { return `"` + s + `"` }
