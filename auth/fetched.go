package auth

import (
	"context"
	"sync"
	"time"
)

// A fetched is something that another machine has, kept for a while. One fetch is
// under way at a time, and they come so far apart that no client can have us send
// many.
type fetched[T any] struct {
	fetch        func(context.Context) (T, error)
	fresh, stale time.Duration // it is good without, and with another fetch under way
	now          func() time.Time

	mu      sync.Mutex
	value   T
	at      time.Time // of value; zero: there is none
	tried   time.Time
	err     error         // of the last try
	running chan struct{} // closed when the fetch that is under way has ended
}

const (
	// fetchTime bounds a fetch with all its requests.
	fetchTime = 15 * time.Second
	// fetchAgain is how far fetches are apart, afterFailure when the last one failed.
	fetchAgain   = time.Minute
	afterFailure = 10 * time.Second
)

// get gives a value that is good to have. ok is false when even the newest isn't;
// an error says that it could not be fetched.
func (f *fetched[T]) get(ctx context.Context, good func(T) bool) (value T, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	have := f.usable(f.stale) && good(f.value)
	if have && f.usable(f.fresh) {
		return f.value, true, nil
	}
	f.start()
	if have {
		return f.value, true, nil
	}
	if done := f.running; done != nil {
		f.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			err = ctx.Err()
		}
		f.mu.Lock()
		if err != nil {
			return value, false, err
		}
	}
	switch {
	case f.usable(f.stale) && good(f.value):
		return f.value, true, nil
	case f.err != nil:
		return value, false, f.err
	}
	return value, false, nil
}

func (f *fetched[T]) usable(most time.Duration) bool {
	return !f.at.IsZero() && f.now().Sub(f.at) < most
}

// start begins a fetch unless one is under way, or was a moment ago.
func (f *fetched[T]) start() {
	again := fetchAgain
	if f.err != nil {
		again = afterFailure
	}
	if f.running != nil || (!f.tried.IsZero() && f.now().Sub(f.tried) < again) {
		return
	}
	f.running, f.tried = make(chan struct{}), f.now()
	go func() {
		// Whoever asked first may go away: the others want the answer.
		ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
		defer cancel()
		value, err := f.fetch(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err = err; err == nil {
			f.value, f.at = value, f.now()
		}
		close(f.running)
		f.running = nil
	}()
}

// outdate has the next get fetch again.
func (f *fetched[T]) outdate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.at.IsZero() {
		f.at = f.at.Add(-f.fresh)
	}
}
