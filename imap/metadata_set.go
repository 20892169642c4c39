package imap

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// SETMETADATA, and the responses that tell others of it (RFC 5464 §4.3, §4.4.2).

type setMetadataCmd struct {
	mailbox string
	set     []storage.Annotation
}

// errAnnotationTooLong is of a value that is longer than any may be.
var errAnnotationTooLong = no("METADATA MAXSIZE 65536", "a value has at most %d octets", storage.MaxAnnotation)

func parseSetMetadata(d *wire.Decoder, _ *request) runner {
	c := new(setMetadataCmd)
	d.SP()
	c.mailbox = d.Mailbox()
	d.SP()
	d.List(func() {
		an := storage.Annotation{Entry: parseEntry(d, true)}
		d.SP()
		value, ok := d.NString8(storage.MaxAnnotation, errAnnotationTooLong)
		if ok {
			an.Value = append([]byte{}, value...)
		}
		c.set = append(c.set, an)
	})
	if len(c.set) == 0 {
		d.Fail("an entry")
	}
	d.End()
	return c
}

func (c *setMetadataCmd) run(s *session, _ *request) (reply, error) {
	box, err := s.annotated(c.mailbox)
	if err != nil {
		return reply{}, err
	}
	if err := c.check(s); err != nil {
		return reply{}, err
	}
	r, account := &storage.AnnotationRequest{}, s.account
	if box == nil {
		if done, err := c.setServer(s); done || err != nil {
			return reply{}, err
		}
	} else {
		r.Mailbox, account = box.ID, box.account.Account
	}
	for _, an := range c.set {
		lower := strings.ToLower(an.Entry)
		if lower == storage.SpecialUseEntry && box != nil {
			if !s.has(&extSpecialUse) || box.who != nil {
				return reply{}, no(codeUseAttr, "the mailbox can have no special use here")
			}
			uses, err := usesOf(an.Value)
			if err != nil {
				return reply{}, err
			}
			r.SetUses, r.Uses = true, uses
			continue
		}
		if strings.HasPrefix(lower, "/private/") {
			an.Login = s.login.Account
		}
		r.Set = append(r.Set, an)
	}
	if err := account.SetAnnotations(r); err != nil {
		return reply{}, err
	}
	if m := s.metadataNews(); m != nil && r.ModSeq != 0 {
		m.told(account, r.ModSeq)
	}
	for i := range r.Lost { // RFC 6154 §5.4
		an := storage.Annotation{Entry: storage.SpecialUseEntry}
		if uses := specialUseValue(&r.Lost[i]); len(uses) > 0 {
			an.Value = uses
		}
		s.writeMetadata(r.Lost[i].Name, []storage.Annotation{an})
	}
	return reply{}, nil
}

// check lets extensions refuse what entries of theirs can't be.
func (c *setMetadataCmd) check(s *session) error {
	for _, x := range s.srv.tables.extensions {
		if x.onSetEntry == nil || !s.has(x) {
			continue
		}
		for i := range c.set {
			if err := x.onSetEntry(s, c.mailbox, &c.set[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// setServer sets an entry of the server that all share. That is for those who
// run the box.
func (c *setMetadataCmd) setServer(s *session) (done bool, err error) {
	shared := slices.IndexFunc(c.set, func(an storage.Annotation) bool { return !strings.HasPrefix(strings.ToLower(an.Entry), "/private/") })
	if shared < 0 {
		return false, nil
	}
	an, st := c.set[shared], s.srv.o.Store
	name := strings.ToLower(an.Entry)
	switch {
	case name == entryAdmin:
		return false, no(imap.ResponseCodeNoPerm, "%s can't be set", an.Entry)
	case !s.isAdmin():
		return false, no(imap.ResponseCodeNoPerm, "only those who run the box can set it")
	case len(c.set) > 1: // it is kept elsewhere: two could be half done
		return false, no(imap.ResponseCodeCannot, "set %s alone", an.Entry)
	case len(name) > maxServerEntry || len(an.Value) > maxServerValue:
		return false, no("METADATA MAXSIZE "+imap.ResponseCode(strconv.Itoa(maxServerValue)), "an entry of the server has at most %d octets, its name %d", maxServerValue, maxServerEntry)
	case name == entryComment:
		err = st.SetHouseholdSetting(storage.SettingComment, string(an.Value))
	default:
		err = st.SetServerEntry(name, string(an.Value), an.Value != nil)
	}
	if m := s.metadataNews(); m != nil && err == nil {
		m.server, m.version = s.serverEntries(), st.SettingsVersion()
	}
	return true, err
}

// The server's entries are settings of the household, which are small.
const (
	maxServerEntry = 200
	maxServerValue = 16 << 10
)

// metadataNews is what a session that wants to be told of changes knows.
type metadataNews struct {
	all   bool // of mailboxes too
	homes []*annotatedHome
	waker metadataWaker

	server  map[string]string // its shared entries, as of version of the settings
	version uint64

	// What a client wants that didn't enable METADATA: of some mailboxes, and of
	// the server.
	notified       func(box *place) bool
	enabledServer  bool
	notifiedServer bool
}

// An annotatedHome is an account whose annotations are watched.
type annotatedHome struct {
	home
	at  storage.ModSeq
	own []storage.ModSeq // changes that are the session's
}

// A metadataWaker is woken after each change.
type metadataWaker struct {
	c    *conn
	news atomic.Bool
}

func (w *metadataWaker) Wake() {
	w.news.Store(true)
	w.c.Wake()
}

func (s *session) metadataNews() *metadataNews {
	m, _ := s.notes["METADATA"].(*metadataNews)
	return m
}

// told notes that a change is the session's own.
func (m *metadataNews) told(a *storage.Account, at storage.ModSeq) {
	for _, h := range m.homes {
		if h.account.Account == a {
			h.own = append(h.own, at)
		}
	}
}

// watchMetadata begins to tell of what changes from now on (RFC 5464 §4.1).
func watchMetadata(s *session) *metadataNews {
	m := s.metadataNews()
	if m != nil {
		return m
	}
	m = &metadataNews{}
	m.waker.c = s.c
	m.version, m.server = s.srv.o.Store.SettingsVersion(), s.serverEntries()
	s.keep("METADATA", m, func() {})
	every, _ := newPattern("*")
	homes, err := s.homes([]pattern{every})
	if err != nil {
		s.log.Warn("imap_metadata_unwatched", "error", err)
		homes = []home{s.own()}
	}
	for _, h := range homes {
		m.watch(s, h)
	}
	return m
}

// watch begins to watch the annotations of an account.
func (m *metadataNews) watch(s *session, h home) {
	if slices.ContainsFunc(m.homes, func(known *annotatedHome) bool { return known.account == h.account }) {
		return
	}
	// Watched first, read then: no change can fall between.
	s.atEnd = append(s.atEnd, h.account.Watch(storage.AnnotationsOf, &m.waker))
	w := &annotatedHome{home: h}
	var err error
	if w.at, err = h.account.AnnotationsAt(); err != nil {
		s.log.Warn("imap_metadata_unwatched", "error", err)
	}
	m.homes = append(m.homes, w)
}

// tellMetadata tells which entries others changed, without their values. The
// accounts are those that there were at ENABLE, and that of the selected mailbox.
func tellMetadata(s *session) error {
	m := s.metadataNews()
	if m == nil {
		return nil
	}
	if s.sel != nil && m.all {
		m.watch(s, s.sel.home)
	}
	m.tellServer(s)
	if !m.waker.news.Swap(false) {
		return nil
	}
	for _, h := range m.homes {
		if err := m.tell(s, h); err != nil {
			m.waker.news.Store(true)
			return err
		}
	}
	return nil
}

// tellServer tells of the server's shared entries, which change with settings.
func (m *metadataNews) tellServer(s *session) {
	version := s.srv.o.Store.SettingsVersion()
	if version == m.version {
		return
	}
	now := s.serverEntries()
	var changed []string
	for name, value := range now {
		if was, ok := m.server[name]; !ok || was != value {
			changed = append(changed, name)
		}
	}
	for name := range m.server {
		if _, ok := now[name]; !ok {
			changed = append(changed, name)
		}
	}
	m.server, m.version = now, version
	slices.Sort(changed)
	if m.enabledServer || m.notifiedServer {
		s.writeChanged("", changed)
	}
}

func (m *metadataNews) tell(s *session, h *annotatedHome) error {
	for more := true; more; {
		changes, upTo, rest, err := h.account.AnnotationChanges(h.at, s.login.Account)
		if err != nil {
			return err
		}
		for i := 0; i < len(changes); {
			first, entries := i, []string(nil)
			for ; i < len(changes) && changes[i].Mailbox == changes[first].Mailbox; i++ {
				if !slices.Contains(h.own, changes[i].ModSeq) && !slices.Contains(entries, changes[i].Entry) {
					entries = append(entries, changes[i].Entry)
				}
			}
			m.tellEntries(s, h, changes[first].Mailbox, entries)
		}
		h.at, more = upTo, rest
	}
	h.own = h.own[:0]
	return nil
}

// tellEntries tells of entries of a mailbox, unless it is gone meanwhile, or not
// the login's to know.
func (m *metadataNews) tellEntries(s *session, h *annotatedHome, id storage.MailboxID, entries []string) {
	if id == (storage.MailboxID{}) {
		if h.who == nil && (m.enabledServer || m.notifiedServer) {
			s.writeChanged("", entries)
		}
		return
	}
	row, err := h.account.Mailbox(id)
	if err != nil || !m.all && m.notified == nil {
		return
	}
	at := h.home
	if h.who != nil {
		if at.who, err = s.srv.o.Store.Principal(s.login.Account); err != nil {
			return
		}
	}
	if box := at.at(row); box.needsAnnotation() == nil && (m.all || m.notified(&box)) {
		s.writeChanged(box.Name, entries)
	}
}

func (s *session) writeChanged(mailbox string, entries []string) {
	if len(entries) == 0 {
		return
	}
	s.w.Raw("* METADATA ").Mailbox(mailbox)
	for _, entry := range entries {
		s.w.SP().Astring(entry)
	}
	s.w.CRLF()
}
