package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/auth"
	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// A reply is the tagged OK of a command. The zero reply reads
// "OK FETCH completed".
type reply struct {
	code string // response code with its arguments, without brackets
	text string
}

// Response codes that go-imap's vocabulary lacks.
const (
	codeBadCharset    = "BADCHARSET"
	codeCapability    = "CAPABILITY"
	codeClosed        = "CLOSED"
	codeHighestModSeq = "HIGHESTMODSEQ" // RFC 7162 §3.1.2.1
	codeModified      = "MODIFIED"      // RFC 7162 §3.1.3
	codeMessageLimit  = "MESSAGELIMIT"  // RFC 9738 §3.1
	codeExpungeIssued = "EXPUNGEISSUED" // RFC 5530 §3, RFC 9051 §7.1
	codeNotSaved      = "NOTSAVED"      // RFC 5182 §2.1
	codeUIDRequired   = "UIDREQUIRED"   // RFC 9586 §3
	codeUseAttr       = "USEATTR"       // RFC 6154 §6
	codeUnknownCTE    = "UNKNOWN-CTE"   // RFC 3516 §4.3
	codeReadOnly      = "READ-ONLY"
	codeReadWrite     = "READ-WRITE"
)

// A replyError is a tagged NO or BAD.
type replyError struct {
	kind imap.StatusResponseType
	code imap.ResponseCode // with its arguments, or ""
	text string
}

func (e *replyError) Error() string {
	if e.code == "" {
		return string(e.kind) + " " + e.text
	}
	return string(e.kind) + " [" + string(e.code) + "] " + e.text
}

// no makes the error of a tagged NO; code may be "".
func no(code imap.ResponseCode, format string, args ...any) error {
	return &replyError{imap.StatusResponseTypeNo, code, fmt.Sprintf(format, args...)}
}

// bad makes the error of a tagged BAD: the command was wrong in itself.
func bad(format string, args ...any) error {
	return &replyError{imap.StatusResponseTypeBad, "", fmt.Sprintf(format, args...)}
}

// badCode is bad with a response code.
func badCode(code imap.ResponseCode, format string, args ...any) error {
	return &replyError{imap.StatusResponseTypeBad, code, fmt.Sprintf(format, args...)}
}

var errUIDRequired = badCode(codeUIDRequired, "sequence numbers are not allowed once UIDONLY is enabled")

// A byeError ends the connection with an untagged BYE.
type byeError struct {
	code imap.ResponseCode
	text string
}

func (e *byeError) Error() string { return "BYE " + e.text }

// errClosed ends the sessions of an account that is deleted or closed.
var errClosed = &byeError{imap.ResponseCodeUnavailable, "the account is closed"}

// storageReplies says how the errors of storage, view and auth are answered.
var storageReplies = []struct {
	err  error
	code imap.ResponseCode
}{
	{storage.ErrNoMailbox, imap.ResponseCodeNonExistent},
	{storage.ErrMailboxExists, imap.ResponseCodeAlreadyExists},
	{storage.ErrInbox, imap.ResponseCodeCannot},
	{storage.ErrUseTaken, codeUseAttr},
	{storage.ErrNoMessage, imap.ResponseCodeNonExistent},
	{storage.ErrTooBig, imap.ResponseCodeTooBig},
	{storage.ErrDiskFull, imap.ResponseCodeUnavailable},
	{storage.ErrTooManyAnnotations, "METADATA TOOMANY"},
	{storage.ErrOverQuota, imap.ResponseCodeOverQuota},
	{storage.ErrReadOnly, imap.ResponseCodeUnavailable},
	{storage.ErrExpunged, codeExpungeIssued},
	{storage.ErrUnavailable, imap.ResponseCodeUnavailable},
	{storage.ErrClosed, imap.ResponseCodeUnavailable},
	{storage.ErrCorrupt, imap.ResponseCodeCorruption},
	{auth.ErrBadLogin, imap.ResponseCodeAuthenticationFailed},
	{auth.ErrNotAllowed, imap.ResponseCodeAuthorizationFailed},
	{auth.ErrUnavailable, imap.ResponseCodeUnavailable},
}

// isTrouble reports whether err is the machine's fault, and for the log.
func isTrouble(err error) bool {
	return errors.Is(err, storage.ErrDiskFull) || errors.Is(err, storage.ErrReadOnly) ||
		errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrCorrupt)
}

// asReply turns any error of a command into the tagged line that answers it.
// ok is false for an error that nobody foresaw; it is logged, and the client
// is told no more than that it happened.
func asReply(err error) (e *replyError, ok bool) {
	var syntax *wire.SyntaxError
	var tooLong *wire.LimitError
	var limit *storage.LimitError
	var name *storage.NameError
	var throttled *auth.ThrottledError
	var space *storage.SpaceError
	switch {
	case errors.As(err, &e):
		return e, true
	case errors.As(err, &syntax):
		return &replyError{imap.StatusResponseTypeBad, "", syntax.Error()}, true
	case errors.As(err, &tooLong):
		code := imap.ResponseCodeLimit
		if strings.HasSuffix(tooLong.What, "literal") {
			code = imap.ResponseCodeTooBig // a message: RFC 4469 §4.2, RFC 7888 §5
		}
		return &replyError{imap.StatusResponseTypeBad, code, tooLong.Error()}, true
	case errors.As(err, &limit):
		return &replyError{imap.StatusResponseTypeNo, imap.ResponseCodeLimit, limit.Error()}, true
	case errors.As(err, &name):
		return &replyError{imap.StatusResponseTypeNo, imap.ResponseCodeCannot, name.Error()}, true
	case errors.As(err, &throttled):
		return &replyError{imap.StatusResponseTypeNo, imap.ResponseCodeUnavailable, throttled.Error()}, true
	case errors.As(err, &space):
		return &replyError{imap.StatusResponseTypeNo, imap.ResponseCodeUnavailable, space.Error()}, true
	case errors.Is(err, context.Canceled):
		return &replyError{imap.StatusResponseTypeNo, imap.ResponseCodeUnavailable, "the server is shutting down"}, true
	case errors.Is(err, view.ErrRange):
		// RFC 9051 §9, seq-number: BAD for a number beyond the mailbox.
		return &replyError{imap.StatusResponseTypeBad, "", err.Error()}, true
	}
	for _, known := range storageReplies {
		if errors.Is(err, known.err) {
			// Paths and what the system said are for the log.
			return &replyError{imap.StatusResponseTypeNo, known.code, known.err.Error()}, true
		}
	}
	return &replyError{imap.StatusResponseTypeNo, imap.ResponseCodeServerBug, "internal error, see the server's log"}, false
}

// tryCreate is err as the answer of APPEND, COPY and MOVE to a mailbox: one that
// doesn't exist is the client's to make, if it can have that name (RFC 9051
// §6.3.12, §6.4.7).
func tryCreate(name string, err error) error {
	if !errors.Is(err, storage.ErrNoMailbox) {
		return err
	}
	if _, err := storage.MailboxName(name); err != nil {
		return err
	}
	return no(imap.ResponseCodeTryCreate, "no such mailbox")
}
