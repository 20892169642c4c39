package crash

import (
	"errors"
	"fmt"
	"strings"

	"nestbox/test/raw"
)

// bulkMessages is more than the storage changes in one transaction.
const bulkMessages = 3000

// A bulk copies, moves, marks and expunges thousands of messages by single
// commands. COPY must happen whole or not at all; the others may have happened
// for some of the messages, and a moved one is in one of the two mailboxes
// (docs/decisions/0002-move-in-slices.md).
type bulk struct {
	name  string
	steps int // acknowledged

	account string
	board   *board
}

const (
	bulkCopied = iota + 1
	bulkMoved
	bulkMarked
	bulkExpunged
)

func (b *bulk) source() string { return b.name + "-source" }
func (b *bulk) first() string  { return b.name + "-first" }
func (b *bulk) second() string { return b.name + "-second" }

// prepare fills the source.
func (b *bulk) prepare(c *raw.Conn) error {
	if err := c.Recreate(b.source()); err != nil {
		return err
	}
	if err := c.Append(b.source(), "", []byte("Subject: bulk\r\n\r\nbulk\r\n")); err != nil {
		return err
	}
	if _, err := c.Select(b.source()); err != nil {
		return err
	}
	for n := 1; n < bulkMessages; n *= 2 {
		if err := c.Do(fmt.Sprintf("COPY 1:%d %s", min(n, bulkMessages-n), b.source()), func([]byte) {}); err != nil {
			return err
		}
	}
	return b.again(c)
}

// again empties the other mailboxes.
func (b *bulk) again(c *raw.Conn) error {
	b.steps = 0
	return errors.Join(c.Recreate(b.first()), c.Recreate(b.second()))
}

func (b *bulk) work(c *raw.Conn, stop <-chan struct{}) error {
	for !closed(stop) {
		err := b.step(c)
		var status *raw.StatusError
		if errors.As(err, &status) {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if err != nil {
			return nil // the server was killed
		}
	}
	return nil
}

// step does the next of the commands, or begins anew after the last.
func (b *bulk) step(c *raw.Conn) error {
	steps := []struct{ kind, mailbox, command string }{
		{"bulk copy", b.source(), "COPY 1:* " + b.first()},
		{"bulk move", b.first(), "MOVE 1:* " + b.second()},
		{"bulk flags", b.second(), `STORE 1:* +FLAGS.SILENT (\Deleted)`},
		{"bulk expunge", b.second(), "EXPUNGE"},
	}
	if b.steps == len(steps) {
		return b.again(c)
	}
	kind := steps[b.steps].kind
	b.board.begin(b.account, kind)
	defer b.board.end(b.account, kind)
	if _, err := c.Select(steps[b.steps].mailbox); err != nil {
		return err
	}
	if err := c.Do(steps[b.steps].command, func([]byte) {}); err != nil {
		return err
	}
	b.steps++
	return nil
}

func (b *bulk) settle(c *raw.Conn) error {
	first, _, err1 := b.count(c, b.first())
	second, marked, err2 := b.count(c, b.second())
	source, _, err3 := b.count(c, b.source())
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	const n = bulkMessages
	sound := map[int]bool{
		0:            second == 0 && (first == 0 || first == n),
		bulkCopied:   first+second == n,
		bulkMoved:    first == 0 && second == n,
		bulkMarked:   first == 0 && second <= n && marked == second,
		bulkExpunged: first == 0 && second == 0,
	}[b.steps]
	if b.steps < bulkMoved {
		sound = sound && marked == 0
	}
	if !sound || source != n {
		return fmt.Errorf("%s: after %d acknowledged steps there are %d, %d and %d messages, %d marked", b.name, b.steps, source, first, second, marked)
	}
	return b.again(c)
}

// count counts a mailbox's messages and those with \Deleted. One that is not
// there has none: work makes both anew.
func (b *bulk) count(c *raw.Conn, name string) (messages, marked int, err error) {
	n, err := c.Select(name)
	var status *raw.StatusError
	if errors.As(err, &status) && strings.Contains(status.Text, "NONEXISTENT") && name != b.source() {
		return 0, 0, nil
	}
	if err != nil || n == 0 {
		return 0, 0, err
	}
	err = c.Do("FETCH 1:* (UID FLAGS RFC822.SIZE)", func(line []byte) {
		messages++
		if strings.Contains(string(line), `\Deleted`) {
			marked++
		}
	})
	if messages != n {
		err = errors.Join(err, fmt.Errorf("%s: EXISTS %d, FETCH %d", name, n, messages))
	}
	return messages, marked, err
}
