package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"nestbox/test/raw"
)

// A keeper appends to a mailbox of its own and expunges what is there, and
// has it restored at times. Each message that was acknowledged is in the
// mailbox or can be restored, and never both.
type keeper struct {
	account string
	board   *board
	random  *rand.Rand
	serial  int
	number  int             // of its mailbox
	acked   map[string]bool // sums of the messages that must be there
	sent    map[string]bool // sums of those that may be there
}

// keeperMax messages are enough; then another mailbox is taken.
const keeperMax = 300

func newKeeper(account string, b *board, seed uint64) *keeper {
	return &keeper{account: account, board: b, random: rand.New(rand.NewPCG(seed, 4)), acked: map[string]bool{}, sent: map[string]bool{}}
}

func (k *keeper) mailbox() string { return fmt.Sprintf("keeper%d", k.number) }

func (k *keeper) work(c *raw.Conn, stop <-chan struct{}) error {
	for !closed(stop) {
		err := k.step(c)
		var status *raw.StatusError
		if errors.As(err, &status) {
			return fmt.Errorf("keeper: %w", err)
		}
		if err != nil {
			return nil // the server was killed
		}
	}
	return nil
}

func (k *keeper) step(c *raw.Conn) error {
	for range 1 + k.random.IntN(5) {
		k.serial++
		body := makeMessage(k.random, fmt.Sprintf("keeper.%d", k.serial), 200+k.random.IntN(3000))
		k.sent[sum(body)] = true
		if err := c.Append(k.mailbox(), "", body); err != nil {
			return err
		}
		delete(k.sent, sum(body))
		k.acked[sum(body)] = true
	}
	n, err := c.Select(k.mailbox())
	if err != nil || n == 0 {
		return err
	}
	k.board.begin(k.account, "expunge to restore")
	defer k.board.end(k.account, "expunge to restore")
	if err := c.Do(fmt.Sprintf(`STORE %d:* +FLAGS.SILENT (\Deleted)`, min(n, 1+k.random.IntN(3))), nil); err != nil {
		return err
	}
	return c.Do("EXPUNGE", nil)
}

// restore has all restored that is kept.
func (s *scene) restore(ctx context.Context) error {
	s.board.begin(s.keeper.account, "undelete")
	defer s.board.end(s.keeper.account, "undelete")
	_, err := s.n.Run(ctx, "", "restore", "--account", s.keeper.account, "--mailbox", s.keeper.mailbox())
	return err
}

// restoreLoad: expunged messages are restored while the clients work.
func (s *scene) restoreLoad(r *round) error {
	if err := s.begin(r); err != nil {
		return s.unlessKilled(r, err)
	}
	ctx, cancel := r.alive()
	defer cancel()
	for ctx.Err() == nil {
		_ = s.restore(ctx) // what is killed with the server, or finds none, may fail
	}
	return nil
}

// settleKeeper restores what is kept and looks whether all is there, once.
func (s *scene) settleKeeper(c *raw.Conn) error {
	k := s.keeper
	if err := s.restore(context.Background()); err != nil {
		return err
	}
	box, err := readMailbox(c, k.mailbox(), true)
	if err != nil {
		return err
	}
	times := map[string]int{}
	for _, m := range box.messages {
		times[m.sum]++
	}
	for m := range k.sent {
		if times[m] > 0 {
			k.acked[m] = true
		}
	}
	clear(k.sent)
	lost, twice := 0, 0
	for m := range k.acked {
		switch {
		case times[m] == 0:
			lost++
		case times[m] > 1:
			twice++
		}
		delete(times, m)
	}
	if lost+twice+len(times) > 0 {
		return fmt.Errorf("%s: of %d messages %d are lost and %d there twice; %d were never sent", k.mailbox(), len(k.acked), lost, twice, len(times))
	}
	if len(k.acked) < keeperMax {
		return nil
	}
	k.number++
	clear(k.acked)
	return c.Recreate(k.mailbox())
}
