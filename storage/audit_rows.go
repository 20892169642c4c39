package storage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// An eventsBatch is what one commit of events.db writes.
type eventsBatch struct {
	entries []*auditEntry
	was     []AuditEvent // entries as they are written
	seqs    []uint64
	gone    []*auditEntry
	bans    map[string]*BanRow
}

// take is all that isn't on the disk yet, the oldest first.
func (g *events) take() *eventsBatch {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &eventsBatch{gone: g.gone, bans: g.bans}
	g.gone, g.bans, g.due = nil, nil, time.Time{}
	for _, entry := range g.entries {
		if entry.dirty {
			b.entries = append(b.entries, entry)
		}
	}
	slices.SortFunc(b.entries, func(x, y *auditEntry) int {
		return cmp.Or(x.event.First.Compare(y.event.First), cmp.Compare(x.event.Kind, y.event.Kind))
	})
	for _, entry := range b.entries {
		entry.dirty = false
		b.was = append(b.was, entry.event)
	}
	return b
}

func (b *eventsBatch) empty() bool {
	return len(b.entries) == 0 && len(b.gone) == 0 && len(b.bans) == 0
}

// write is the commit.
func (b *eventsBatch) write(tx *bolt.Tx) error {
	b.seqs = b.seqs[:0]
	for _, entry := range b.gone {
		if err := tx.Bucket([]byte(entry.event.Kind.class().bucket)).Delete(keyU64(entry.seq)); err != nil {
			return err
		}
	}
	for i, entry := range b.entries {
		rows := tx.Bucket([]byte(b.was[i].Kind.class().bucket))
		rows.FillPercent = 0.9
		seq := entry.seq
		if seq == 0 || rows.Get(keyU64(seq)) == nil {
			var err error
			if seq, err = rows.NextSequence(); err != nil {
				return err
			}
		}
		b.seqs = append(b.seqs, seq)
		if err := rows.Put(keyU64(seq), sealSystem(keyU64(seq), encodeAudit(&b.was[i]))); err != nil {
			return err
		}
	}
	for _, c := range auditClasses {
		if err := c.trim(tx); err != nil {
			return err
		}
	}
	return b.writeBans(tx)
}

// trim removes the oldest rows.
func (c *auditClass) trim(tx *bolt.Tx) error {
	rows := tx.Bucket([]byte(c.bucket))
	last := rows.Sequence()
	if last <= c.rows {
		return nil
	}
	for {
		k, _ := rows.Cursor().First()
		if len(k) == 8 && binary.BigEndian.Uint64(k) > last-c.rows || k == nil {
			return nil
		}
		if err := rows.Delete(k); err != nil {
			return err
		}
	}
}

// done: what was written is on the disk. The lock is held.
func (b *eventsBatch) done(g *events) {
	g.written = time.Now()
	for i, entry := range b.entries {
		fresh := entry.seq == 0
		entry.seq = b.seqs[i]
		switch {
		case entry.event.Count == 0 && fresh: // AuditClient made it another's meanwhile
			g.gone = append(g.gone, entry)
			continue
		case entry.event.Kind.class().repeats || entry.dirty:
			continue
		}
		if key := entry.event.key(); g.entries[key] == entry {
			delete(g.entries, key)
		}
	}
}

// putBack: it was not. The lock is held.
func (g *events) putBack(b *eventsBatch) {
	for _, entry := range b.entries {
		entry.dirty = true
	}
	g.gone = append(b.gone, g.gone...)
	if len(g.gone) > maxAuditEntries {
		g.gone = g.gone[:maxAuditEntries]
	}
	for address, ban := range b.bans {
		if _, newer := g.bans[address]; !newer {
			g.setBan(address, ban)
		}
	}
}

func keyU64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func encodeAudit(e *AuditEvent) []byte {
	var b []byte
	for i, text := range []string{string(e.Kind), string(e.Account), e.Name, e.Address, e.Client, e.Detail} {
		if text != "" {
			b = appendSystemField(b, byte(1+i), []byte(text))
		}
	}
	for i, n := range []int64{e.First.UnixNano(), e.Last.UnixNano(), int64(e.Count)} {
		b = appendSystemField(b, byte(7+i), binary.LittleEndian.AppendUint64(nil, uint64(n)))
	}
	return b
}

func decodeAudit(data []byte) (e AuditEvent, err error) {
	err = eachSystemField(data, func(tag byte, value []byte) {
		number := int64(0)
		if len(value) == 8 {
			number = int64(binary.LittleEndian.Uint64(value))
		}
		switch tag {
		case 1:
			e.Kind = AuditKind(value)
		case 2:
			e.Account = AccountID(value)
		case 3:
			e.Name = string(value)
		case 4:
			e.Address = string(value)
		case 5:
			e.Client = string(value)
		case 6:
			e.Detail = string(value)
		case 7:
			e.First = time.Unix(0, number).UTC()
		case 8:
			e.Last = time.Unix(0, number).UTC()
		case 9:
			e.Count = int(number)
		}
	})
	return e, err
}

// An AuditFilter says which events are wanted; what is empty wants all.
type AuditFilter struct {
	Account AccountID
	Address func(address string) bool
	Kinds   []AuditKind
	Since   time.Time
}

func (f *AuditFilter) wants(e *AuditEvent) bool {
	return (f.Account == "" || e.Account == f.Account) && (f.Address == nil || f.Address(e.Address)) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) && !e.Last.Before(f.Since)
}

// AuditEvents lists events by the time that they happened last. Rows that fail
// their checksum are passed over.
func (st *Store) AuditEvents(f AuditFilter) ([]AuditEvent, error) {
	if err := st.available(); err != nil {
		return nil, err
	}
	st.flushEvents()
	g := &st.events
	g.using.Lock()
	defer g.using.Unlock()
	var all []AuditEvent
	err := st.useEvents(true, func(db *boltFile) error {
		return mapError(db.View(func(tx *bolt.Tx) error {
			for _, c := range auditClasses {
				all = appendAudit(all, tx.Bucket([]byte(c.bucket)), &f)
			}
			return nil
		}))
	})
	if errors.Is(err, ErrCorrupt) {
		err = nil // the next write sets it aside
	}
	all = append(all, g.unwritten(&f)...)
	slices.SortStableFunc(all, func(x, y AuditEvent) int { return x.Last.Compare(y.Last) })
	return all, err
}

func appendAudit(all []AuditEvent, rows *bolt.Bucket, f *AuditFilter) []AuditEvent {
	c := rows.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		data, err := unsealSystem(k, v)
		if err != nil {
			continue
		}
		if e, err := decodeAudit(bytes.Clone(data)); err == nil && f.wants(&e) {
			all = append(all, e)
		}
	}
	return all
}

// unwritten is what could not be written.
func (g *events) unwritten(f *AuditFilter) (all []AuditEvent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, entry := range g.entries {
		if entry.dirty && entry.seq == 0 && f.wants(&entry.event) {
			all = append(all, entry.event)
		}
	}
	return all
}
