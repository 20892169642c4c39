package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// An opening is one that failed.
type opening struct {
	err  error
	at   time.Time
	file os.FileInfo // mail.db
}

// A file that can't be opened is not tried again at each request: bbolt leaves
// the map of a damaged one behind. It is when it was replaced, or after a while.
const (
	retryDamaged = 5 * time.Minute
	retryOther   = time.Second
)

// vain returns the last failure if trying again would be in vain.
func (o *opening) vain(file os.FileInfo) error {
	wait := retryOther
	if errors.Is(o.err, ErrCorrupt) {
		wait = retryDamaged
	}
	if o.err == nil || time.Since(o.at) > wait || file == nil || o.file == nil || !os.SameFile(file, o.file) ||
		file.Size() != o.file.Size() || !file.ModTime().Equal(o.file.ModTime()) {
		return nil
	}
	return o.err
}

// open opens the account's files. a.mu is held.
func (a *Account) open() error {
	file, err := os.Stat(filepath.Join(a.dir, "mail.db"))
	if err != nil {
		file = nil // openFiles says so
	}
	if err := a.trouble.vain(file); err != nil {
		return err
	}
	f, err := openFiles(a)
	if noSpace := new(mapSpaceError); errors.As(err, &noSpace) || errors.Is(err, syscall.ENOMEM) {
		return fmt.Errorf("open account %s: %w", a.id, mapError(err)) // there may be some at any moment
	}
	if err != nil {
		a.trouble = opening{fmt.Errorf("open account %s: %w", a.id, mapError(err)), time.Now(), file}
		return a.trouble.err
	}
	a.f, a.trouble = f, opening{}
	return nil
}

// leaveFiles closes the account's files as soon as nobody uses them. The next
// acquire opens them again, if it can.
func (a *Account) leaveFiles() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil {
		return
	}
	a.stray = true
	if a.users == 0 {
		a.closeLeft()
	}
}

// unfit reports whether the open files are of no use any more: their folder
// went away, or bbolt gave the index up. a.mu is held.
func (a *Account) unfit() bool {
	return a.f != nil && (a.stray || a.f.mail.broken.Load())
}

// stale is unfit for who works on and on and never lets the files go.
func (a *Account) stale() bool {
	if a.st.available() != nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unfit()
}

// renewFiles closes unfit files. While somebody uses them, others wait for
// later. a.mu is held.
func (a *Account) renewFiles() error {
	if !a.unfit() {
		return nil
	}
	if a.users > 0 {
		return fmt.Errorf("%w: the files of account %s are about to be opened anew", ErrUnavailable, a.id)
	}
	a.closeLeft()
	return nil
}

// closeLeft closes files that are unfit. What went wrong with them was said.
func (a *Account) closeLeft() {
	if !a.f.mail.broken.Load() {
		a.f.lastNote()
	}
	a.st.quietly(string(a.id), errors.Join(a.index.close(), a.f.close()))
	a.watch.replaced()
	a.f, a.stray, a.left = nil, false, left{} // another may write to them now
}
