package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
)

// Exit codes, those of sysexits.h where it has one.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNoServer   = 69
	exitIO         = 74
	exitTryAgain   = 75
	exitNotAllowed = 77
	exitUnfit      = 78 // configuration or data
)

// exitCodes documents the codes, in docs/cli.md and the manual pages.
var exitCodes = []struct {
	code int
	text string
}{
	{exitDone, "done"},
	{exitFailed, "failed"},
	{exitUsage, "wrong use: unknown command, flag or argument"},
	{exitNoServer, "no server answers"},
	{exitIO, "a file could not be read or written"},
	{exitTryAgain, "not possible now, try again: data or port in use, interrupted"},
	{exitNotAllowed, "not allowed"},
	{exitUnfit, "the configuration or the data folder can't be used"},
}

// A usageError is a wrong command line.
type usageError struct{ command, text string }

func (e *usageError) Error() string {
	if e.command == "" {
		return e.text
	}
	return e.command + ": " + e.text
}

// A codedError has its exit code said where it arises.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func failWith(code int, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

// errReported marks errors of which the user has read already.
var errReported = errors.New("see above")

// exitCode tells how the process ends after err.
func exitCode(err error) int {
	var coded *codedError
	var usage *usageError
	if errors.As(err, &coded) {
		return coded.code
	}
	if errors.As(err, &usage) {
		return exitUsage
	}
	for _, c := range []struct {
		code int
		is   func(error) bool
	}{
		{exitUnfit, isUnfit}, {exitTryAgain, isTryAgain}, {exitNotAllowed, isNotAllowed},
		{exitNoServer, isNoServer}, {exitIO, isIO},
	} {
		if c.is(err) {
			return c.code
		}
	}
	return exitFailed
}

func isUnfit(err error) bool {
	var format *storage.FormatError
	var foreign *storage.ForeignError
	var order *storage.ByteOrderError
	var stray *storage.StrayError
	var problems config.Problems
	var unfit *storage.UnfitError
	return errors.As(err, &unfit) || errors.As(err, &problems) || errors.As(err, &format) || errors.As(err, &foreign) || errors.As(err, &order) || errors.As(err, &stray) ||
		errors.Is(err, storage.ErrNoStore) || errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrReadOnly)
}

func isTryAgain(err error) bool {
	var locked *storage.LockedError
	return errors.As(err, &locked) || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrClosed) ||
		errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, context.Canceled)
}

func isNotAllowed(err error) bool { return errors.Is(err, fs.ErrPermission) }

func isNoServer(err error) bool { return errors.Is(err, admin.ErrNoServer) }

func isIO(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	return errors.As(err, &path) || errors.As(err, &link) || errors.As(err, &call) ||
		errors.Is(err, storage.ErrDiskFull) || errors.Is(err, io.ErrUnexpectedEOF)
}

// exitHint says what can be done about an error.
func exitHint(err error) string {
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		if usage.command == "" {
			return "`nestbox help` lists the commands"
		}
		return "see `nestbox " + usage.command + " --help`"
	case errors.Is(err, storage.ErrNoStore):
		return "is the disk mounted? If it is, and a new data folder is wanted there, `nestbox init --data DIR` makes one"
	}
	return ""
}
