package imap

import (
	"log/slog"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/auth"
	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// A session is what the server knows of one client: who it is, what it
// enabled, what it has selected. Only the connection's goroutine touches it.
type session struct {
	srv *Server
	c   *conn
	d   *wire.Decoder
	w   *wire.Encoder
	log *slog.Logger

	login   auth.Identity
	account *storage.Account // nil before login
	hold    *storage.Login   // with it
	audit   storage.AuditRef // of it
	// How many messages it expunged, and how many of them are in the audit log.
	expunged, noted int
	client          string // what it says of itself (ID)
	off             extSet // extensions switched off, for server and account
	enabled         extSet // by ENABLE
	isRev2          bool   // IMAP4rev2 is among them
	bad             int    // bad commands before login
	tag             string // of the running command
	// language is that of texts; nil for the default.
	language *language

	// How changes are told: what the client enabled.
	modSeqs  bool // FETCH responses that it didn't ask for have UID and MODSEQ
	vanished bool // VANISHED instead of EXPUNGE
	uidOnly  bool // UIDFETCH instead of FETCH, no sequence numbers in either direction
	resyncs  bool // it goes on from the last MODSEQ when it comes back

	// What it takes: UTF-8 in quoted strings and names, and message/global.
	utf8       bool
	utf8Header bool // header fields too: it may store such, and names no charset in SEARCH

	sel *selection // nil: nothing selected

	idle *request // the IDLE that runs, or nil

	wishes wishes    // of what the client is told unasked
	made   []ownWork // what the running command did, of which the client knows

	scratch *batch // of the command that runs; see batch

	notes map[string]any // what extensions keep of the session, by their names
	atEnd []func()       // they do when it ends
}

// A selection is the selected mailbox.
type selection struct {
	// box is the mailbox row as of the last sync. Its Space and Keywords
	// belong to the view: use them for what the view holds.
	box      storage.Mailbox
	view     *view.View
	home                    // its account
	rights   storage.Rights // what the login may do in it, as of the last look
	readOnly bool
	examined bool // readOnly whatever the rights
	// recent are the messages that are \Recent in this session.
	recent view.Ranges
	// saved is the result of SEARCH RETURN (SAVE), "$" (RFC 5182). Expunged
	// messages leave it by leaving the view.
	saved view.Ranges
	// skip are the MODSEQs of this session's own changes, of which the client
	// was told by the command's answer; the next sync passes over them.
	skip []storage.ModSeq
	// held, if any, is up to which MODSEQ the client was told of flags, when it
	// doesn't want to be.
	held storage.ModSeq
	// keywords is how many of box.Keywords the client has been told.
	keywords int
	// gaveModSeqs: the client was given MODSEQs since its last tagged response.
	gaveModSeqs bool
	urlKeys     uint64 // how often the key for URLs into the mailbox had changed when the client was told
	stop        func() // ends the watch
}

func (s *session) state() state {
	switch {
	case s.account == nil:
		return notAuthenticated
	case s.sel == nil:
		return authenticated
	}
	return selected
}

// rev2 reports whether the client enabled IMAP4rev2: no \Recent, ESEARCH
// instead of SEARCH, UTF-8 names.
func (s *session) rev2() bool { return s.isRev2 }

// enableUTF8: names and quoted strings are UTF-8 from here on.
func (s *session) enableUTF8() {
	s.utf8 = true
	s.d.SetUTF8(true)
	s.w.SetUTF8(true)
}

// has reports whether x is there for this session.
func (s *session) has(x *extension) bool { return s.off&x.bit == 0 }

// resolve is set as UIDs of the selected mailbox, "$" included.
func (s *session) resolve(set imap.NumSet) (view.Ranges, error) {
	if imap.IsSearchRes(uidSet(set)) {
		return s.sel.saved, nil
	}
	return s.sel.view.Resolve(set)
}

func uidSet(set imap.NumSet) imap.UIDSet {
	uids, _ := set.(imap.UIDSet)
	return uids
}

// isRecent reports whether uid is \Recent for this session.
func (s *session) isRecent(uid imap.UID) bool { return s.sel.recent.Has(uid) }

// told notes that the client knows of its own change with that MODSEQ.
func (s *session) told(m storage.ModSeq) {
	if m != 0 {
		s.sel.skip = append(s.sel.skip, m)
	}
}

// announceKeywords tells of keywords that the mailbox got since the client was
// told last, before flags that may have them are written.
func (s *session) announceKeywords(box *storage.Mailbox) {
	if len(box.Keywords) == s.sel.keywords {
		return
	}
	s.writeFlagTable(box)
	s.writePermanentFlags(box)
	s.sel.keywords = len(box.Keywords)
}

// progress is called once a batch by commands that may take long. An error
// says that there is nobody to go on for.
func (s *session) progress() error {
	if s.c.pending(newsShutdown) {
		return &byeError{"", "the server is shutting down"}
	}
	if s.c.pending(newsLogin) {
		return s.loggedOut()
	}
	return s.w.Err()
}

// end is the end of the session.
func (s *session) end() {
	s.endAudit()
	s.unselect()
	s.endOwn()
	if s.hold != nil {
		s.hold.Close()
	}
	s.dropBatch()
}

// endOwn ends what extensions have begun.
func (s *session) endOwn() {
	for _, f := range s.atEnd {
		f()
	}
	s.notes, s.atEnd = nil, nil
}

// keep keeps v for an extension. end is done when the session ends.
func (s *session) keep(x string, v any, end func()) {
	if s.notes == nil {
		s.notes = map[string]any{}
	}
	s.notes[x] = v
	s.atEnd = append(s.atEnd, end)
}

// now is the house's clock, or the machine's where there is no house.
func (s *session) now() time.Time {
	if s.srv.o.Store == nil {
		return time.Now()
	}
	return s.srv.o.Store.Now()
}

// reset makes the session that of a new connection (RFC 8437 §3, §4.1): all that
// login and ENABLE brought is gone.
func (s *session) reset() {
	s.endAudit()
	s.unselect()
	s.endOwn()
	if s.hold != nil {
		s.hold.Close()
		s.c.seen(newsLogin) // of a login that is over anyway
	}
	*s = session{srv: s.srv, c: s.c, d: s.d, w: s.w, log: s.c.log, client: s.client, off: extSet(s.srv.tables.off.Load()), scratch: s.scratch}
	s.d.SetUTF8(false)
	s.w.SetUTF8(false)
	s.d.SetLoggedIn(false)
	s.c.loggedIn = false
	s.c.born = time.Now()
}

// unselect leaves the selected mailbox.
func (s *session) unselect() {
	if s.sel != nil {
		s.sel.stop()
		s.sel = nil
		if s.wishes.listens {
			s.c.Wake() // it is one of the others now
		}
	}
}
