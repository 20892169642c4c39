package imap

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

func TestErrorsBecomeReplies(t *testing.T) {
	for _, tt := range []struct {
		err   error
		want  string // of the tagged line
		known bool
	}{
		{fmt.Errorf("%w: %w", storage.ErrDiskFull, &os.PathError{Op: "write", Path: "/secret", Err: syscall.ENOSPC}), "NO [UNAVAILABLE] disk full", true},
		{fmt.Errorf("%w in UID 7", storage.ErrCorrupt), "NO [CORRUPTION] stored data fails its checksum", true},
		{storage.ErrOverQuota, "NO [OVERQUOTA] quota exceeded", true},
		{&storage.LimitError{What: "keywords in a mailbox", Max: 59}, "NO [LIMIT] limit of 59 keywords in a mailbox", true},
		{&wire.SyntaxError{Offset: 10, Want: "SP", Near: "(bad"}, `BAD want SP at offset 10 near "(bad"`, true},
		{&wire.LimitError{What: "line", Max: 8192}, "BAD [LIMIT] line of more than 8192 bytes", true},
		{&wire.LimitError{What: "non-synchronizing literal", Max: 4096}, "BAD [TOOBIG] non-synchronizing literal of more than 4096 bytes", true},
		{view.ErrRange, "BAD there are not that many messages", true},
		{tryCreate("new", storage.ErrNoMailbox), "NO [TRYCREATE] no such mailbox", true},
		{io.ErrUnexpectedEOF, "NO [SERVERBUG] internal error, see the server's log", false},
		{syscall.EIO, "NO [SERVERBUG] internal error, see the server's log", false},
	} {
		e, known := asReply(tt.err)
		if e.Error() != tt.want || known != tt.known {
			t.Errorf("%v: %q %v, want %q %v", tt.err, e, known, tt.want, tt.known)
		}
		if ends(tt.err) != nil {
			t.Errorf("%v ends the connection", tt.err)
		}
	}
	if e, _ := asReply(tryCreate("", storage.ErrNoMailbox)); e.code == "TRYCREATE" {
		t.Error("a mailbox without a name can't be created")
	}
	if got := plain("a\r\nb\u00fc"); got != "a??b?" {
		t.Errorf("%q", got)
	}
}
