package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"nestbox/test/raw"
	"nestbox/test/tap"
)

// A shredder fills a mailbox of accounts[1], where nothing that is expunged is
// kept, and has it emptied: by EXPUNGE and the server's work in the
// background, or by purge.
type shredder struct {
	s      *scene
	random *rand.Rand
	serial int
	purged bool // the last purge was acknowledged: nothing is there, or kept
}

const (
	shredMailbox = "shred"
	// shredMessages are as many as make the storage open a sealed volume.
	shredMessages = 120
)

func (h *shredder) fill(c *raw.Conn, n int) error {
	h.purged = false
	last := ""
	for range n {
		h.serial++
		var err error
		body := makeMessage(h.random, fmt.Sprintf("shred.%d", h.serial), 500+h.random.IntN(4000))
		if last, err = c.SendAppend(shredMailbox, "", body); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return err
	}
	return c.Wait(last, nil)
}

// expireLoad: no client waits for anything while what was expunged goes.
func (s *scene) expireLoad(r *round) error {
	goOn := s.trigger.hold()
	c, err := r.server.Connect(accounts[1], password)
	if err != nil {
		return s.unlessKilled(r, err)
	}
	if err := s.shredder.fill(c, shredMessages); err != nil {
		return s.unlessKilled(r, err)
	}
	_, err1 := c.Select(shredMailbox)
	err2 := c.Do(`STORE 1:* +FLAGS.SILENT (\Deleted)`, nil)
	goOn()
	err3 := c.Do("EXPUNGE", nil)
	return s.unlessKilled(r, errors.Join(err1, err2, err3))
}

// expiring is in the folder of the account whose messages go.
func expiring(s *scene, e tap.Event) bool {
	dir, _, ok := strings.Cut(strings.TrimPrefix(e.Path, "accounts/"), "/")
	return ok && s.names[dir] == accounts[1]
}

// purgeLoad: messages are erased while the clients work.
func (s *scene) purgeLoad(r *round) error {
	if err := s.begin(r); err != nil {
		return s.unlessKilled(r, err)
	}
	ctx, cancel := r.alive()
	defer cancel()
	c, err := r.server.Connect(accounts[1], password)
	if err != nil {
		return s.unlessKilled(r, err)
	}
	defer c.Close()
	for ctx.Err() == nil {
		if err := s.shredder.fill(c, 20); err != nil {
			return s.unlessKilled(r, err)
		}
		if err := s.shredder.purge(ctx); err != nil {
			return s.unlessKilled(r, err)
		}
	}
	return nil
}

func (h *shredder) purge(ctx context.Context) error {
	h.s.board.begin(accounts[1], "purge")
	defer h.s.board.end(accounts[1], "purge")
	_, err := h.s.n.Run(ctx, "", "purge", "--account", accounts[1], "--mailbox", shredMailbox, "--all", "--yes")
	h.purged = err == nil
	return err
}

// settle looks that nothing came back, and has all go that is left.
func (h *shredder) settle(c *raw.Conn) error {
	n, err := c.Select(shredMailbox)
	if err != nil {
		return err
	}
	if h.purged && n > 0 {
		return fmt.Errorf("%s: %d messages are there that were purged", shredMailbox, n)
	}
	if n == 0 {
		return nil
	}
	if err := h.purge(context.Background()); err != nil {
		return err
	}
	if n, err = c.Select(shredMailbox); err == nil && n > 0 {
		err = fmt.Errorf("%s: %d messages are left after purge", shredMailbox, n)
	}
	return err
}
