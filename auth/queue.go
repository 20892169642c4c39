package auth

import (
	"context"
	"sync"
	"time"
)

const (
	// maxHashing is how many hashes are computed at a time, so that a storm
	// of logins leaves the other cores to the mail.
	maxHashing = 2
	// maxQueue is how many logins wait for a hash or out a delay. Each is a
	// connection and a password in memory. Suspects get no more than suspectQueue of
	// the places, and one of the hashes at a time: the others don't wait for them.
	maxQueue     = 256
	suspectQueue = 192
)

// A queue is the logins that wait.
type queue struct {
	hashing  chan struct{} // one token a computation
	suspects chan struct{} // one of a suspect

	mu     sync.Mutex
	queued int
	from   map[string]int // by the address
}

func newQueue() *queue {
	return &queue{
		hashing: make(chan struct{}, maxHashing), suspects: make(chan struct{}, 1), from: map[string]int{},
	}
}

// enqueue gives a login a place among those that wait. A suspect is one from an
// address that guessed wrong lately, or that has another login waiting.
func (a *Authenticator) enqueue(c *claim) bool {
	q := a.queue
	failing := a.addresses.failing(c.prefix)
	q.mu.Lock()
	defer q.mu.Unlock()
	places := maxQueue
	if c.suspect = failing || q.from[c.prefix] > 0; c.suspect {
		places = suspectQueue
	}
	if q.queued >= places {
		return false
	}
	q.queued++
	q.from[c.prefix]++
	return true
}

func (a *Authenticator) dequeue(c *claim) {
	q := a.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queued--
	if q.from[c.prefix]--; q.from[c.prefix] == 0 {
		delete(q.from, c.prefix)
	}
}

// turn waits until a hash may be computed; done says that it was.
func (q *queue) turn(ctx context.Context, suspect bool) (done func(), err error) {
	timeout := time.NewTimer(maxHold)
	defer timeout.Stop()
	gates := []chan struct{}{q.hashing}
	if suspect {
		gates = []chan struct{}{q.suspects, q.hashing}
	}
	for i, gate := range gates {
		select {
		case gate <- struct{}{}:
			continue
		case <-timeout.C:
			err = &ThrottledError{Wait: maxHold}
		case <-ctx.Done():
			err = ctx.Err()
		}
		for _, passed := range gates[:i] {
			<-passed
		}
		return nil, err
	}
	return func() {
		for _, gate := range gates {
			<-gate
		}
	}, nil
}
