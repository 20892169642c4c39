package storage

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// countdown is a context that ends when it was looked at so many times: long
// work looks at it between its steps, so each number is another place to die.
type countdown struct {
	context.Context
	left int
	done chan struct{}
}

func newCountdown(n int) *countdown {
	return &countdown{context.Background(), n, make(chan struct{})}
}

func (c *countdown) Done() <-chan struct{} { return c.done }

func (c *countdown) Err() error {
	if c.left--; c.left == 0 {
		close(c.done)
	}
	if c.left <= 0 {
		return context.Canceled
	}
	return nil
}

// TestInterrupted ends a purge, a restore, an expiry and a run of retention at
// each of their steps, starts again, and sees that nothing is half done and
// that the second run finishes it.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	const messages = 1200 // three pages
	for _, work := range []struct {
		name string
		run  func(ctx context.Context, a *Account) error
		// left is how many messages must be live and kept at the end.
		live, kept int
	}{
		{"purge", func(ctx context.Context, a *Account) error {
			_, err := a.Purge(ctx, Criteria{From: "ann"}, false)
			return errors.Join(err, ctx.Err())
		}, 0, 0},
		{"restore", func(ctx context.Context, a *Account) error {
			_, err := a.RestoreKept(ctx, KeptFilter{})
			return err
		}, messages + messages/2, 0},
		{"expire", func(ctx context.Context, a *Account) error {
			_, _, err := a.expireKept(ctx, a.now().Add(20*24*time.Hour))
			return err
		}, messages, 0},
		{"retention", func(ctx context.Context, a *Account) error {
			_, err := a.RunRetention(ctx, false)
			return err
		}, 10, messages + messages/2 - 10},
	} {
		t.Run(work.name, func(t *testing.T) {
			t.Parallel()
			ended := false
			for n := 1; !ended; n++ {
				st, a, clock := keptStore(t)
				box := inbox(t, a)
				for i := 0; i < messages+messages/2; i += 100 {
					var msgs []NewMessage
					for j := range 100 {
						msgs = append(msgs, NewMessage{Upload: upload(t, a, message((i+j)%40)+fmt.Sprint(i%3))})
					}
					_, err := a.Append(box.ID, msgs)
					must(t, err)
				}
				expungeAll(t, a, box.ID, uidsOf(t, a, "INBOX")[:messages/2]...)
				_, err := st.AddRetention(a.id, RetentionRule{Mailbox: "INBOX", Messages: 10})
				must(t, err)
				clock.pass(25 * time.Hour)
				err = work.run(newCountdown(n), a)
				if ended = err == nil; err != nil && !errors.Is(err, context.Canceled) {
					t.Fatalf("interrupted at step %d: %v", n, err)
				}
				dir := st.dir
				must(t, st.Close())
				st = openKept(t, dir, clock)
				a = accountOf(t, st, a.id)
				sound(t, a)
				must(t, work.run(context.Background(), a))
				must(t, func() error { _, err := a.finishPurge(context.Background()); return err }())
				if m := inbox(t, a); int(m.Messages) != work.live {
					t.Errorf("step %d: %d messages, want %d", n, m.Messages, work.live)
				}
				wantKept(t, a, work.kept)
				if work.name == "purge" {
					if in := found(t, a.dir, "ann@example"); len(in) > 0 {
						t.Errorf("step %d: left in %v", n, in)
					}
				}
				sound(t, a)
				must(t, st.Close())
			}
		})
	}
}
