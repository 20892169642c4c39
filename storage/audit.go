package storage

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// The audit log says who logged in, who was refused, and who changed what. It is
// gathered in memory and written to events.db (events.go) with one commit, a
// minute after the first event that isn't there yet, or at once if the event is
// one that must not be lost. A login alone thus writes nothing; a power cut
// costs the logins of a minute. Never is a password, a token, or a login name
// that isn't an account's in it.

// An AuditKind is what happened.
type AuditKind string

// The events. Those of logins that repeat within an hour are counted in one.
const (
	AuditLogin       AuditKind = "login"
	AuditRefused     AuditKind = "login-refused"
	AuditBan         AuditKind = "ban"         // begun or lifted
	AuditPassword    AuditKind = "password"    // made, changed or revoked
	AuditAdmin       AuditKind = "admin"       // what nestbox's commands and the web page change
	AuditACL         AuditKind = "acl"         // rights on mailboxes
	AuditDeletion    AuditKind = "deletion"    // of much mail at once
	AuditExport      AuditKind = "export"      // of mail, by those who run the box
	AuditCertificate AuditKind = "certificate" // issued, renewed, failed
)

// AuditKinds lists them.
func AuditKinds() []AuditKind {
	return []AuditKind{AuditLogin, AuditRefused, AuditBan, AuditPassword, AuditAdmin, AuditACL, AuditDeletion, AuditExport, AuditCertificate}
}

// MassDeletion is how many messages at once are much: an AuditDeletion.
const MassDeletion = 100

// An auditClass is a list in events.db. Each is bounded apart, so that many
// guesses push out older guesses, but nothing else.
type auditClass struct {
	bucket string
	rows   uint64 // that are kept
	// repeats: an event within an hour of one like it is counted there.
	repeats bool
	// urgent: it is written at once.
	urgent bool
}

var (
	auditRefusals = &auditClass{bucket: "refused", rows: 8192, repeats: true}
	auditLogins   = &auditClass{bucket: "logins", rows: 8192, repeats: true}
	auditChanges  = &auditClass{bucket: "changes", rows: 8192, urgent: true}

	auditClasses = []*auditClass{auditRefusals, auditLogins, auditChanges}
)

func (k AuditKind) class() *auditClass {
	switch k {
	case AuditRefused:
		return auditRefusals
	case AuditLogin:
		return auditLogins
	}
	return auditChanges
}

// An AuditEvent is a line of the audit log.
type AuditEvent struct {
	Kind    AuditKind
	Account AccountID // whom it is about; "": nobody, or nobody that exists
	Name    string    // of the account, as it was then
	Address string    // where it came from; "": from this machine, by a command
	Client  string    // what the client says that it is
	Detail  string    // what, and by which way

	First, Last time.Time
	Count       int
}

// Limits of an event's texts, in octets. A row is thus 600 at most.
const (
	maxAuditName   = 80
	maxAuditPlace  = 64
	maxAuditClient = 120
	maxAuditDetail = 240
)

// An auditKey tells which events are the same, but for the time.
type auditKey struct {
	kind                          AuditKind
	account                       AccountID
	name, address, client, detail string
}

func (e *AuditEvent) key() auditKey {
	return auditKey{e.Kind, e.Account, e.Name, e.Address, e.Client, e.Detail}
}

// clipAudit bounds a text, at a character's end, and takes out what terminals may obey.
func clipAudit(s string, most int) string {
	clean := make([]rune, 0, min(len(s), most))
	n := 0
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			r = ' '
		}
		if n += len(string(r)); n > most {
			break
		}
		clean = append(clean, r)
	}
	return string(clean)
}

// Audit notes an event; time and count are filled in. It never waits for the
// disk. The reference is for AuditClient.
func (st *Store) Audit(e AuditEvent) AuditRef {
	e.Name, e.Address = clipAudit(e.Name, maxAuditName), clipAudit(e.Address, maxAuditPlace)
	e.Client, e.Detail = clipAudit(e.Client, maxAuditClient), clipAudit(e.Detail, maxAuditDetail)
	if e.Account != "" && e.Name == "" {
		if info, err := st.AccountInfo(e.Account); err == nil {
			e.Name = info.Name
		}
	}
	now := st.now()
	e.First, e.Last, e.Count = now, now, 1
	g := &st.events
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || st.opts.readOnly {
		return AuditRef{}
	}
	ref := AuditRef{g.count(e)}
	g.schedule(st, e.Kind.class().urgent)
	return ref
}

// An AuditRef names an event that was noted.
type AuditRef struct{ key auditKey }

// AuditClient adds to a login that was noted what its client says that it is:
// many say so only after they have logged in.
func (st *Store) AuditClient(ref AuditRef, client string) AuditRef {
	client = clipAudit(client, maxAuditClient)
	g := &st.events
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.entries[ref.key]
	if old == nil || g.closed || ref.key.client == client {
		return ref
	}
	e := old.event
	e.Client, e.Count, e.First = client, 1, e.Last
	old.event.Count--
	old.dirty = true
	key := g.count(e)
	if old.event.Count == 0 {
		delete(g.entries, ref.key)
		if old.seq != 0 {
			g.gone = append(g.gone, old)
		}
	}
	g.schedule(st, false)
	return AuditRef{key}
}

// An auditEntry is an event of which more may come.
type auditEntry struct {
	event AuditEvent
	seq   uint64 // of its row; 0: it has none yet
	dirty bool   // the row isn't as the event is
}

const (
	// auditTogether is for how long repetitions are counted in one row.
	auditTogether = time.Hour
	// maxAuditEntries bounds the memory: 700 KB at worst.
	maxAuditEntries = 1024
	// auditOthers stands for what there was no room to tell apart.
	auditOthers = "and others"
)

// count adds an event to those like it. The lock is held.
func (g *events) count(e AuditEvent) auditKey {
	key := e.key()
	entry := g.entries[key]
	if entry != nil && !entry.dirty && e.Last.Sub(entry.event.First) >= auditTogether {
		entry = nil // its row stays as it is
	}
	if entry == nil {
		if len(g.entries) >= maxAuditEntries && !g.makeRoom() {
			e.Account, e.Name, e.Address, e.Client, e.Detail = "", "", "", "", auditOthers
			key = e.key()
			entry = g.entries[key]
		}
	}
	if entry == nil {
		if g.entries == nil {
			g.entries = map[auditKey]*auditEntry{}
		}
		g.entries[key] = &auditEntry{event: e, dirty: true}
		return key
	}
	entry.event.Count += e.Count
	entry.event.Last = e.Last
	entry.dirty = true
	return key
}

// makeRoom forgets entries that are on the disk: the next event like one of them
// gets a row of its own.
func (g *events) makeRoom() bool {
	for key, entry := range g.entries {
		if len(g.entries) < maxAuditEntries {
			break
		}
		if !entry.dirty {
			delete(g.entries, key)
		}
	}
	return len(g.entries) < maxAuditEntries
}
