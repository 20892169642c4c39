package storage

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A pin keeps the state of a bbolt file readable for as long as a copy takes,
// and holds no transaction for longer than a moment: it begins a new one before
// it ends the last. bbolt never writes on a page that an open transaction can
// see, so every page that is in both states has the same bytes in both; what
// is new was written on pages that the older state had free, or lacked
// (docs/decisions/0005-backup.md has the proof).
//
// A writer that must map the file anew waits for all transactions, and a new
// one waits for that writer. It is noticed by that: the pin lets go, and has
// then lost the file's state.
type pin struct {
	name  string
	begin func() (*pinned, error)
	now   *pinned
	lost  int // how many times
}

// pinned is one transaction of a pin.
type pinned struct {
	tx    *bolt.Tx
	file  pageFile
	since time.Time
	// waited reports whether a writer waits for tx, or is about to: one that
	// has to map the file anew.
	waited func() bool
	end    func() // gives back what belongs to tx
}

func (p *pinned) close() {
	if p == nil {
		return
	}
	_ = survive(p.tx.Rollback) // a read transaction: nothing can be lost
	p.end()
}

const (
	// pinTime is how long a transaction of a pin stays before the next.
	pinTime = 8 * time.Millisecond
	// pinPatience is how long beginning one may take while a writer may be
	// waiting for the last to end.
	pinPatience = 20 * time.Millisecond
	// pinCalm is that while none should: the machine is slow. Somebody else
	// may close the file.
	pinCalm = 5 * time.Second
)

var errPinLost = errors.New("the state of the file was lost")

// roll moves the pin to the present state when it is time to. moved is called
// while both states are held.
func (p *pin) roll(moved func(from, to *pinned) error) error {
	if p.now != nil && time.Since(p.now.since) < pinTime {
		return nil
	}
	if p.now == nil {
		next, err := p.begin()
		p.now = next
		return err
	}
	type result struct {
		next *pinned
		err  error
	}
	began := make(chan result, 1)
	go func() {
		next, err := p.begin()
		began <- result{next, err}
	}()
	tick := time.NewTicker(pinPatience)
	defer tick.Stop()
	for start := time.Now(); !p.impatient(start); {
		select {
		case r := <-began:
			if r.err != nil {
				return r.err
			}
			return p.move(r.next, moved)
		case <-tick.C:
		}
	}
	p.lost++
	ended := p.now.closing()
	r := <-began
	p.now = r.next
	if r.err == nil {
		r.err = p.alone(ended)
	}
	if r.err == nil {
		r.err = errPinLost
	}
	return r.err
}

func (p *pin) move(next *pinned, moved func(from, to *pinned) error) error {
	from := p.now
	p.now = next
	err := moved(from, next)
	lost := p.lost
	if gone := p.alone(from.closing()); gone != nil {
		return gone
	}
	if p.lost != lost {
		return errPinLost
	}
	return err
}

// impatient reports whether the pin has waited so long that it must let go.
func (p *pin) impatient(since time.Time) bool {
	patience := pinCalm
	if p.now.waited() {
		patience = min(pinPatience<<min(p.lost, 4), 8*pinPatience)
	}
	return time.Since(since) >= patience
}

// closing is close for who holds another transaction: bbolt wants a lock at
// the end of one that a beginning one may hold while it waits for the writer,
// and the writer may wait for that other transaction.
func (p *pinned) closing() (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		p.close()
	}()
	return ended
}

// alone waits until the former transaction has ended. If it doesn't, the
// present one is begun anew.
func (p *pin) alone(ended chan struct{}) (err error) {
	tick := time.NewTicker(pinPatience)
	defer tick.Stop()
	for start := time.Now(); !p.impatient(start); {
		select {
		case <-ended:
			return nil
		case <-tick.C:
		}
	}
	p.lost++
	p.now.close()
	<-ended
	p.now, err = p.begin()
	return err
}

func (p *pin) close() {
	p.now.close()
	p.now = nil
}

// beginPin begins a transaction that a pin holds.
func (b *boltFile) beginPin(end func()) (*pinned, error) {
	h, err := b.use()
	if err != nil {
		end()
		return nil, err
	}
	var tx *bolt.Tx
	b.reading.Add(1)
	ended := func() {
		b.reading.Add(-1)
		b.done(h)
		end()
	}
	panicked, err := survived(func() (err error) {
		tx, err = h.db.Begin(false)
		return err
	})
	if err != nil {
		if panicked {
			b.failed(h, true)
		}
		ended()
		return nil, mapError(err)
	}
	return &pinned{tx: tx, file: pageFile{b.path, h.file}, since: time.Now(), waited: b.remaps.Load, end: ended}, nil
}

// metaPages are the first two pages of the file as the transaction has them.
func (p *pinned) metaPages() (both []byte, err error) {
	w := firstPages{}
	if _, err := p.tx.WriteTo(&w); len(w) < 2*pageBytes {
		return nil, fmt.Errorf("%s: %w", p.file.name, err)
	}
	return w, nil
}

// firstPages takes the first two pages that a transaction writes, and ends
// the writing.
type firstPages []byte

func (w *firstPages) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	if len(*w) >= 2*pageBytes {
		return 0, errNothing
	}
	return len(p), nil
}
