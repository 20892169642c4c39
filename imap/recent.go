package imap

import (
	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/storage"
)

// \Recent, RFC 3501 §2.3.2: a message is recent for the first session that is
// told of it. Each session that SELECTs claims those that none has; EXAMINE
// and STATUS only look. IMAP4rev2 has none of it.

// recentFrom is the first UID of the messages below box.UIDNext that are recent
// for this session: claimed for it, if it may write.
func (s *session) recentFrom(box *storage.Mailbox) imap.UID {
	if s.rev2() {
		return box.UIDNext
	}
	if s.sel.readOnly {
		return s.sel.account.PeekRecent(box)
	}
	return s.sel.account.ClaimRecent(box)
}

// addRecent makes the messages from first on, of those below next, recent.
func (sel *selection) addRecent(first, next imap.UID) {
	if first < next {
		sel.recent = sel.recent.Union(view.Ranges{{Lo: first, Hi: next - 1}})
	}
}

// writeRecent tells how many messages are recent.
func (s *session) writeRecent() {
	if !s.rev2() {
		s.w.Raw("* ").Number(uint32(s.sel.view.Count(s.sel.recent))).Raw(" RECENT").CRLF()
	}
}

// recentIn counts for STATUS how many messages would be recent.
func (s *session) recentIn(p *place) (uint32, error) {
	box := &p.Mailbox
	first := p.account.PeekRecent(box)
	n := uint32(0)
	for first < box.UIDNext {
		uids, err := p.account.UIDs(box.Space, first, box.UIDNext-1, s.batch().uids)
		if err != nil {
			return 0, err
		}
		n += uint32(len(uids))
		if len(uids) < batchSize {
			break
		}
		first = uids[len(uids)-1] + 1
	}
	return n, nil
}
