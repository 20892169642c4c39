package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNoMailbox     = errors.New("no such mailbox")
	ErrMailboxExists = errors.New("a mailbox of that name exists")
	ErrInbox         = errors.New("INBOX cannot be deleted")
	ErrUseTaken      = errors.New("another mailbox has that special use")
	ErrNoMessage     = errors.New("no such message")
	ErrNoAccount     = errors.New("no such account")
	ErrAccountExists = errors.New("an account of that name exists")
	ErrNoAddress     = errors.New("no such address")
	ErrAddressExists = errors.New("that address exists")
	ErrTooBig        = errors.New("the message is larger than the limit")
	ErrDiskFull      = errors.New("disk full")
	ErrOverQuota     = errors.New("quota exceeded")
	ErrReadOnly      = errors.New("the account is read-only after a failed check")
	ErrExpunged      = errors.New("some of the messages are expunged")
	ErrUnavailable   = errors.New("data not available at the moment")
	ErrHeld          = errors.New("a legal hold forbids it")
	ErrClosed        = errors.New("the store is closed")
	ErrCorrupt       = errors.New("stored data fails its checksum")
)

// A LimitError says which limit a request would pass.
type LimitError struct {
	What string // "keywords in a mailbox"
	Max  int64
}

func (e *LimitError) Error() string { return fmt.Sprintf("limit of %d %s", e.Max, e.What) }

// A NameError says why a name can't be a mailbox's, an account's or an address's.
type NameError struct {
	Name string
	Why  string
}

func (e *NameError) Error() string { return fmt.Sprintf("name %.60q %s", e.Name, e.Why) }

// A LockedError says who has the data folder open.
type LockedError struct {
	Dir     string
	PID     int
	Version string
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is in use by nestbox %s, process %d", e.Dir, e.Version, e.PID)
}

// A FormatError says that a file was made by a later nestbox.
type FormatError struct {
	File             string
	MinReader, Known int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s needs a nestbox that reads format %d; this one reads up to %d", e.File, e.MinReader, e.Known)
}

// mapError gives the errors of the system their meaning for callers.
func mapError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, berrors.ErrMaxSizeReached):
		return &LimitError{What: "bytes in an account's index on this machine", Max: processMaps().limits.index}
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, fs.ErrNotExist), isDiskTrouble(err), errors.Is(err, syscall.ENOMEM), errors.Is(err, berrors.ErrInvalidMapping):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// isDiskTrouble tells what a disk says that is broken, gone, or was made
// read-only because of that.
func isDiskTrouble(err error) bool {
	for _, trouble := range []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ENODEV, syscall.ENXIO, syscall.ESTALE, syscall.ENOTCONN} {
		if errors.Is(err, trouble) {
			return true
		}
	}
	return false
}

// Is lets an account that needs a later nestbox answer as one whose data is
// not available.
func (e *FormatError) Is(target error) bool { return target == ErrUnavailable }

// A StrayError says that a file in an account's folder is another account's.
type StrayError struct {
	File      string
	Has, Want string // ids of accounts
}

func (e *StrayError) Error() string {
	return fmt.Sprintf("%s belongs to account %s, not to %s: it was put here by hand; put the right file back", e.File, e.Has, e.Want)
}

// Is lets the account answer as one whose data is not available.
func (e *StrayError) Is(target error) bool { return target == ErrUnavailable }
