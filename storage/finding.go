package storage

import (
	"context"
	"fmt"
)

// States of a finding.
const (
	Found  = "found"
	Did    = "repair" // what a repair does or did
	Mended = "mended" // the findings of that kind are no more
	Left   = "left"   // a repair didn't help
)

// A Finding is a line of Check's: something that isn't as it should be, or
// what was done about it.
type Finding struct {
	Account string `json:"account,omitempty"` // its name, "" for the household
	ID      string `json:"id,omitempty"`
	Kind    string `json:"kind"`  // what was looked at: "pages", "mailboxes", "references", ...
	State   string `json:"state"` // Found, Did, Mended or Left
	Text    string `json:"text"`
}

// String is the finding as a line for people.
func (f Finding) String() string {
	s := f.Text
	if f.State != Found {
		s = f.State + ": " + s
	}
	if f.ID != "" {
		s = fmt.Sprintf("account %s (%s): %s", f.Account, f.ID, s)
	}
	return s
}

// CheckOptions say what to check, and what to do about it.
type CheckOptions struct {
	Account string // only this one, by name or address
	// Quick leaves out what every chunk of every message says.
	Quick bool
	// Repair mends what is derived from other data, and gives what has no
	// owner to the mailbox Recovered. It throws no mail away.
	Repair bool
}

// findingsEach is how many findings of one kind are told one by one.
const findingsEach = 1000

// A checkStep looks at one kind of thing. mend repairs what look finds; both
// go in slices and can be repeated at any time.
type checkStep struct {
	kind string
	look func() error
	mend func() error // nil if nothing can
}

// A checkReport runs steps and tells what they find.
type checkReport struct {
	ctx    context.Context
	repair bool
	name   string
	id     AccountID
	tell   func(Finding) error

	kind   string // of the step that runs
	state  string
	n      int   // findings of this look
	failed error // of tell
	lines  []Finding
	left   int // findings that stay, of all steps
}

func (c *checkReport) line(state, format string, args ...any) {
	c.lines = append(c.lines, Finding{Account: c.name, ID: string(c.id), Kind: c.kind, State: state, Text: fmt.Sprintf(format, args...)})
}

// flush tells the lines. Who reads them may be slow: never within a
// transaction, nor in the writer's goroutine.
func (c *checkReport) flush() {
	for _, f := range c.lines {
		if c.failed == nil {
			c.failed = c.tell(f)
		}
	}
	c.lines = c.lines[:0]
}

// find tells a finding of the step that runs.
func (c *checkReport) find(format string, args ...any) {
	if c.n++; c.n <= findingsEach {
		c.line(c.state, format, args...)
	}
}

// did tells what a repair did.
func (c *checkReport) did(format string, args ...any) { c.line(Did, format, args...) }

// look runs the step's look, whose failing is a finding too, and says how many
// there are.
func (c *checkReport) look(s *checkStep, state string) (n int, err error) {
	c.kind, c.state, c.n = s.kind, state, 0
	err = survive(s.look)
	if stop := c.stopped(err); stop != nil {
		c.flush()
		return c.n, stop
	}
	if err != nil {
		c.find("%v", err)
	}
	if c.n > findingsEach {
		c.line(state, "and %d more of this kind", c.n-findingsEach)
	}
	c.flush()
	return c.n, c.failed
}

// run does a step: look, and if there is something to repair, mend and look again.
func (c *checkReport) run(s *checkStep) error {
	n, err := c.look(s, Found)
	if n == 0 || err != nil || !c.repair || s.mend == nil {
		c.left += n
		return err
	}
	if err := survive(s.mend); err != nil {
		if stop := c.stopped(err); stop != nil {
			return stop
		}
		c.line(Left, "the repair failed: %v", err)
	}
	rest, err := c.look(s, Left)
	if rest == 0 && err == nil {
		c.line(Mended, "%d findings", n)
	}
	c.flush()
	c.left += rest
	return errorOr(err, c.failed)
}

// stopped is the error that ends all steps.
func (c *checkReport) stopped(err error) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if isClosed(err) {
		return err
	}
	return c.failed
}

func errorOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
