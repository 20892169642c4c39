package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"nestbox/test/raw"
)

// An appender appends to a mailbox into which others append as well.
type appender struct {
	name, mailbox string
	random        *rand.Rand
	serial        int
	acked         map[string]bool // sums of the messages that must be there
	sent          map[string]bool // sums of those that may be there
	account       string
	board         *board
}

func newAppender(name, mailbox string, seed uint64) *appender {
	return &appender{name: name, mailbox: mailbox, random: rand.New(rand.NewPCG(seed, 2)), acked: map[string]bool{}, sent: map[string]bool{}}
}

func (a *appender) work(c *raw.Conn, stop <-chan struct{}) error {
	for !closed(stop) {
		a.serial++
		body := makeMessage(a.random, fmt.Sprintf("%s.%d", a.name, a.serial), 200+a.random.IntN(4000))
		a.sent[sum(body)] = true
		a.board.begin(a.account, "append")
		err := c.Append(a.mailbox, `(\Seen) `, body)
		var status *raw.StatusError
		if errors.As(err, &status) {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if err != nil {
			return nil
		}
		a.board.end(a.account, "append")
		delete(a.sent, sum(body))
		a.acked[sum(body)] = true
	}
	return nil
}

// settleAppenders checks what all appenders of one mailbox have left there.
func settleAppenders(c *raw.Conn, mailbox string, appenders []*appender) error {
	box, err := readMailbox(c, mailbox, true)
	if err != nil {
		return err
	}
	times := map[string]int{}
	for uid, m := range box.messages {
		times[m.sum]++
		if m.flags != `\Seen` {
			err = errors.Join(err, fmt.Errorf("%s: UID %d has flags %q", mailbox, uid, m.flags))
		}
	}
	acked := 0
	for _, a := range appenders {
		for s := range a.sent {
			if times[s] > 0 {
				a.acked[s] = true
			}
		}
		clear(a.sent)
		for s := range a.acked {
			if times[s] != 1 {
				err = errors.Join(err, fmt.Errorf("%s: an acknowledged message is there %d times", a.name, times[s]))
			}
		}
		acked += len(a.acked)
	}
	if acked != len(box.messages) {
		err = errors.Join(err, fmt.Errorf("%s: %d messages, %d were sent", mailbox, len(box.messages), acked))
	}
	if acked < 200 {
		return err
	}
	for _, a := range appenders { // begin anew
		clear(a.acked)
	}
	return errors.Join(err, c.Recreate(mailbox))
}
