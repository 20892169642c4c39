package imap

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// grow doubles INBOX by COPY onto itself until it has n messages.
func (r *fetchRig) grow(n int) {
	r.t.Helper()
	r.fill(min(n, 400))
	for {
		box := r.inbox()
		have := int(box.Messages)
		if have == n {
			return
		}
		var uids []imap.UID
		for uid := imap.UID(1); int(uid) <= min(have, n-have); uid++ {
			uids = append(uids, uid)
		}
		_, err := r.account.Copy(box.ID, uids, box.ID, false)
		must(r.t, err)
	}
}

var highestModSeq = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)

// TestQResyncCost: to come back to a big mailbox costs what changed, not what
// there is: rows read and octets sent, for some numbers of changes.
func TestQResyncCost(t *testing.T) {
	messages := 200_000
	if testing.Short() {
		messages = 20_000
	}
	r := newFetchRig(t)
	r.grow(messages)
	c := r.login()
	c.ok("ENABLE QRESYNC")
	for _, k := range []int{0, 10, 1000} {
		lines := c.ok("SELECT INBOX")
		at := highestModSeq.FindStringSubmatch(strings.Join(lines, "\n"))[1]
		box := r.inbox()
		// Half of the changes are flags, half expunges, all over the mailbox.
		var flag, expunge []imap.UID
		for i := range k {
			uid := imap.UID(1 + i*(messages/1100) + k/100)
			if i%2 == 0 {
				flag = append(flag, uid)
			} else {
				expunge = append(expunge, uid)
			}
		}
		if k > 0 {
			_, err := r.account.StoreFlags(box.ID, storage.StoreRequest{UIDs: flag, Mode: storage.StoreAdd, Flags: []imap.Flag{imap.Flag(fmt.Sprint("k", k))}})
			must(t, err)
			_, err = r.account.StoreFlags(box.ID, storage.StoreRequest{UIDs: expunge, Mode: storage.StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}})
			must(t, err)
			_, err = r.account.Expunge(box.ID, expunge)
			must(t, err)
		}
		before, begun := r.account.RowsRead(), time.Now()
		lines = c.ok(fmt.Sprintf("SELECT INBOX (QRESYNC (%d %s))", box.UIDValidity, at))
		took, rows := time.Since(begun), int(r.account.RowsRead()-before)
		fetches, octets := 0, 0
		for _, line := range lines {
			octets += len(line) + 2
			if strings.Contains(line, " FETCH ") {
				fetches++
			}
		}
		t.Logf("%d messages, %d changes: %d rows read, %d octets, %v", messages, k, rows, octets, took)
		if fetches != len(flag) {
			t.Errorf("%d changes: %d FETCH, want %d", k, fetches, len(flag))
		}
		// One more is that of the first unseen message, for SELECT's UNSEEN.
		if rows > len(flag)+1 {
			t.Errorf("%d changes: %d rows read", k, rows)
		}
		if octets > 1000+70*k {
			t.Errorf("%d changes: %d octets sent", k, octets)
		}
		if gone := vanishedIn(t, lines); len(gone) != len(expunge) {
			t.Errorf("%d changes: %d vanished, want %d", k, len(gone), len(expunge))
		}
	}
}

// vanishedIn are the UIDs of all VANISHED lines.
func vanishedIn(t testing.TB, lines []string) (gone []imap.UID) {
	t.Helper()
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "* VANISHED ")
		if !ok {
			continue
		}
		gone = append(gone, expand(t, strings.TrimPrefix(rest, "(EARLIER) "))...)
	}
	return gone
}

// expand lists the numbers of a uid-set.
func expand(t testing.TB, set string) (uids []imap.UID) {
	t.Helper()
	for part := range strings.SplitSeq(set, ",") {
		var lo, hi imap.UID
		if n, _ := fmt.Sscanf(part, "%d:%d", &lo, &hi); n == 1 {
			hi = lo
		} else if n != 2 {
			t.Fatalf("%q is no uid-set", set)
		}
		for uid := lo; uid <= hi; uid++ {
			uids = append(uids, uid)
		}
	}
	return uids
}
