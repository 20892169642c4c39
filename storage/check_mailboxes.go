package storage

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// mailboxes: each row can be read and has a name, each name leads to the
// mailbox that has it, no two share a space.
func (c *check) mailboxes() error {
	return c.view(func() error {
		named, spaces := map[MailboxID]bool{}, map[Space]MailboxID{}
		_ = c.tx.Bucket(bucketNames).ForEach(func(name, id []byte) error {
			m, err := c.named(id)
			switch {
			case err != nil && err != ErrNoMailbox:
				named[MailboxID(id)] = true // told below
				return nil
			case err != nil:
				c.find("name %q leads to no mailbox", name)
			case m.Name != string(name):
				c.find("name %q leads to mailbox %q", name, m.Name)
			default:
				named[m.ID] = true
			}
			return nil
		})
		_ = c.tx.Bucket(bucketMailboxes).ForEach(func(id, v []byte) error {
			if len(id) != 16 {
				c.find("mailbox row %x: its key is damaged", id)
				return nil
			}
			m, err := c.f.mailboxRow(c.tx, MailboxID(id))
			if err != nil {
				c.find("%v", err)
				return nil
			}
			if !named[m.ID] {
				c.find("mailbox %s (%q) can't be found by its name", m.ID, m.Name)
			}
			if name, err := MailboxName(m.Name); err != nil || name != m.Name {
				c.find("mailbox %s: its name %q can't be one", m.ID, m.Name)
			}
			if m.UIDValidity == 0 || m.UIDNext == 0 || m.HighestModSeq == 0 || m.Space == 0 {
				c.find("%s: UIDVALIDITY %d, UIDNEXT %d, HIGHESTMODSEQ %d, space %d", m.Name, m.UIDValidity, m.UIDNext, m.HighestModSeq, m.Space)
			}
			if other, ok := spaces[m.Space]; ok {
				c.find("space %d belongs to two mailboxes, %s and %s", m.Space, other, m.ID)
			}
			spaces[m.Space] = m.ID
			return nil
		})
		if c.tx.Bucket(bucketNames).Get([]byte("INBOX")) == nil {
			c.find("there is no INBOX")
		}
		_ = c.tx.Bucket(bucketSubs).ForEach(func(name, _ []byte) error {
			if n, err := MailboxName(string(name)); err != nil || n != string(name) {
				c.find("%q is subscribed and can't be a name", name)
			}
			return nil
		})
		return c.intents(spaces)
	})
}

// named is the mailbox that a value of "names" leads to.
func (c *check) named(id []byte) (Mailbox, error) {
	if len(id) != 16 {
		return Mailbox{}, ErrNoMailbox
	}
	return c.f.mailboxRow(c.tx, MailboxID(id))
}

func (c *check) intents(spaces map[Space]MailboxID) error {
	return c.tx.Bucket(bucketIntents).ForEach(func(k, v []byte) error {
		if _, ok := decodeDeleted(k, v); ok {
			if id, ok := spaces[Space(binary.BigEndian.Uint32(k))]; ok {
				c.find("space %d belongs to mailbox %s and to a deleted one", binary.BigEndian.Uint32(k), id)
			}
			return nil
		}
		if !intentSound(k, v) {
			c.find("unfinished work of space %x: damaged", k)
		}
		return nil
	})
}

func intentSound(k, v []byte) bool {
	_, deleted := decodeDeleted(k, v)
	_, moved := decodeMoved(k, v)
	copied, staged := len(v) == 5 && v[0] == intentCopy, len(v) == 1 && v[0] == intentStage
	return len(k) == 4 && (deleted || moved || copied || staged)
}

// owners: rows, kept rows, blocks and change log belong to a mailbox, or to a
// deleted one.
func (c *check) owners() error {
	c.spaces = nil
	return c.view(func() error {
		owned, err := c.ownedSpaces()
		if err != nil {
			return err
		}
		for _, b := range []struct {
			bucket []byte
			what   string
		}{{bucketRows, "messages"}, {bucketKept, "kept messages"}, {bucketBlocks, "UID blocks"}, {bucketLog, "a change log"}} {
			cur := c.tx.Bucket(b.bucket).Cursor()
			for k, _ := cur.First(); k != nil; {
				if len(k) < 8 {
					c.find("%s: key %x is damaged", b.bucket, k)
					k, _ = cur.Next()
					continue
				}
				space := Space(binary.BigEndian.Uint32(k))
				if !owned[space] {
					c.find("space %d has %s and belongs to no mailbox", space, b.what)
					if !slices.Contains(c.spaces, space) {
						c.spaces = append(c.spaces, space)
					}
				}
				if space == ^Space(0) {
					break
				}
				k, _ = cur.Seek(keyUID(space+1, 0))
			}
		}
		return nil
	})
}

func (c *check) ownedSpaces() (map[Space]bool, error) {
	owned := map[Space]bool{}
	err := c.tx.Bucket(bucketMailboxes).ForEach(func(id, v []byte) error {
		if m, err := c.f.mailboxRow(c.tx, MailboxID(id)); err == nil {
			owned[m.Space] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return owned, c.tx.Bucket(bucketIntents).ForEach(func(k, _ []byte) error {
		if len(k) == 4 {
			owned[Space(binary.BigEndian.Uint32(k))] = true
		}
		return nil
	})
}

// messages: the rows of each mailbox, and what is kept of them as counts,
// blocks and change log. One mailbox in one view.
func (c *check) messages() error {
	var all []MailboxID
	err := c.view(func() error {
		return c.tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
			if len(id) == 16 {
				all = append(all, MailboxID(id))
			}
			return nil
		})
	})
	c.boxes = nil
	for _, id := range all {
		if err != nil {
			return err
		}
		before := c.n
		err = c.view(func() error {
			m, err := c.f.mailboxRow(c.tx, id)
			if err == nil {
				c.mailbox(&m)
			}
			return ignoreCorrupt(err) // told already, or deleted meanwhile
		})
		if c.n > before {
			c.boxes = append(c.boxes, id)
		}
	}
	return err
}

// mailbox counts one mailbox's rows again.
func (c *check) mailbox(m *Mailbox) {
	again := Mailbox{FirstUnseen: m.UIDNext}
	hidden := hiddenFrom(c.tx, m.Space)
	blocks := &blockCheck{c: c, m: m, index: ^uint32(0)}
	cur := c.tx.Bucket(bucketRows).Cursor()
	prefix := keyUID(m.Space, 0)[:4]
	turn := 0
	for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix) && len(k) == 8; k, v = cur.Next() {
		pace(&turn)
		uid := imap.UID(binary.BigEndian.Uint32(k[4:]))
		if uid >= hidden {
			break // rows of a copy under way, which nobody sees
		}
		blocks.add(uid)
		r, err := decodeRow(uid, v)
		if err != nil {
			c.find("%s: %v", m.Name, err)
			continue
		}
		stored := r.ModSeq
		c.f.overlay.apply(m.Space, &r)
		again.count(&r)
		c.row(m, &r, stored)
		if c.failed != nil || c.ctx.Err() != nil {
			return
		}
	}
	if got, want := countsOf(&again), countsOf(m); got != want {
		c.find("%s: the row says %s, its messages are %s", m.Name, want, got)
	}
	blocks.end()
	c.log(m, again.Messages)
}

func (c *check) row(m *Mailbox, r *Row, stored ModSeq) {
	switch {
	case r.UID == 0 || r.UID >= m.UIDNext:
		c.find("%s: UID %d is not below UIDNEXT %d", m.Name, r.UID, m.UIDNext)
	case r.ModSeq == 0 || r.ModSeq > m.HighestModSeq:
		c.find("%s: UID %d has MODSEQ %d above HIGHESTMODSEQ %d", m.Name, r.UID, r.ModSeq, m.HighestModSeq)
	case r.Flags&FlagSeen == 0 && r.UID < m.FirstUnseen:
		c.find("%s: UID %d is unseen and below the first unseen %d", m.Name, r.UID, m.FirstUnseen)
	case r.Flags>>systemFlags>>len(m.Keywords) != 0:
		c.find("%s: UID %d has keywords without a name", m.Name, r.UID)
	}
	if row, err := readBlobRow(c.tx, r.Blob); err == nil && (row.email != r.Email || row.size != r.Size) {
		c.find("%s: UID %d has other octets or another EMAILID than its blob %d", m.Name, r.UID, r.Blob)
	}
	if stored > m.Floor && len(c.tx.Bucket(bucketLog).Get(keyLog(m.Space, stored, r.UID))) == 0 && !c.added(m.Space, stored, r.UID) {
		c.find("%s: MODSEQ %d of UID %d is not in the change log", m.Name, stored, r.UID)
	}
}

// added reports whether the log says that uid was added at MODSEQ at.
func (c *check) added(space Space, at ModSeq, uid imap.UID) bool {
	cur := c.tx.Bucket(bucketLog).Cursor()
	prefix := keyLog(space, at, 0)[:12]
	for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		if len(v) == 5 && v[0] == logAdd && binary.BigEndian.Uint32(k[12:]) <= uint32(uid) && uint32(uid) <= binary.LittleEndian.Uint32(v[1:]) {
			return true
		}
	}
	return false
}

func countsOf(m *Mailbox) string { return m.counts().String() }

// log: each entry of the change log is one, and tombstones are those of
// messages that are gone; until some are forgotten, every message has one.
func (c *check) log(m *Mailbox, messages uint32) {
	cur := c.tx.Bucket(bucketLog).Cursor()
	rows := c.tx.Bucket(bucketRows)
	prefix := keyUID(m.Space, 0)[:4]
	gone := uint64(0)
	turn := 0
	for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		pace(&turn)
		e, ok := decodeLog(k, v)
		switch {
		case !ok:
			c.find("%s: change log: entry %x is damaged", m.Name, k)
			continue
		case e.at > m.HighestModSeq || e.last >= m.UIDNext:
			c.find("%s: change log: MODSEQ %d, UID %d is above HIGHESTMODSEQ %d or UIDNEXT %d", m.Name, e.at, e.last, m.HighestModSeq, m.UIDNext)
			continue
		case e.kind == logFlags:
			if r, err := decodeRow(e.uid, rows.Get(keyUID(m.Space, e.uid))); err != nil || r.ModSeq != e.at {
				c.find("%s: change log: UID %d at MODSEQ %d", m.Name, e.uid, e.at)
			}
			continue
		case e.kind == logAdd:
			continue
		}
		gone += uint64(e.last-e.uid) + 1
		if next, _ := rows.Cursor().Seek(keyUID(m.Space, e.uid)); bytes.HasPrefix(next, prefix) && imap.UID(binary.BigEndian.Uint32(next[4:])) <= e.last {
			c.find("%s: UID %d has a tombstone and is there", m.Name, binary.BigEndian.Uint32(next[4:]))
		}
	}
	if m.Floor == 0 && gone+uint64(messages) != uint64(m.UIDNext)-1 {
		c.find("%s: %d messages and %d tombstones for %d UIDs", m.Name, messages, gone, m.UIDNext-1)
	}
}

// A logEntry is an entry of the change log.
type logEntry struct {
	space     Space
	at        ModSeq
	uid, last imap.UID
	kind      byte
}

func decodeLog(k, v []byte) (e logEntry, ok bool) {
	if len(k) != 16 || len(v) == 0 {
		return e, false
	}
	be := binary.BigEndian
	e = logEntry{Space(be.Uint32(k)), ModSeq(be.Uint64(k[4:])), imap.UID(be.Uint32(k[12:])), imap.UID(be.Uint32(k[12:])), v[0]}
	switch {
	case (e.kind == logFlags || e.kind == logExpunge) && len(v) == 1:
	case (e.kind == logAdd || e.kind == logGone) && len(v) == 5:
		e.last = imap.UID(binary.LittleEndian.Uint32(v[1:]))
	default:
		return e, false
	}
	return e, e.uid > 0 && e.last >= e.uid
}

// threads: the index of Message-IDs.
func (c *check) threads() error {
	return c.view(func() error {
		top := getUint64(c.tx.Bucket(bucketMeta), "thread")
		return paced(c.tx.Bucket(bucketThreads), func(k, v []byte) error {
			if !threadSound(k, v, top) {
				c.find("thread of Message-ID %x: damaged", k)
			}
			return nil
		})
	})
}

func threadSound(k, v []byte, top uint64) bool {
	return len(k) == 8 && len(v) == 8 && binary.LittleEndian.Uint64(v) > 0 && binary.LittleEndian.Uint64(v) <= top
}

// kept: the rows of expunged messages.
func (c *check) kept() error {
	return c.view(func() error {
		live := c.tx.Bucket(bucketRows)
		return paced(c.tx.Bucket(bucketKept), func(k, v []byte) error {
			e, err := decodeKept(k, v)
			switch {
			case err != nil:
				c.find("kept row %x: damaged", k)
			case live.Get(k) != nil:
				c.find("row %x is kept and live", k)
			case e.why > keptMoved:
				c.find("kept row %x: reason %d", k, e.why)
			}
			return c.failed
		})
	})
}

// counts: those of the whole account.
func (c *check) counts() error {
	return c.view(func() error {
		want, err := c.f.recountKept(c.tx)
		if err != nil {
			return err
		}
		if got, _ := readKeptCount(c.tx); got != want {
			c.find("kept messages are counted as %d of %d octets, there are %d of %d", got.Messages, got.Octets, want.Messages, want.Octets)
		}
		if used := c.usage(); used != c.f.used {
			c.find("the account's usage is counted as %+v, its mailboxes have %+v", c.f.used, used)
		}
		if octets := bodyOctets(c.tx); octets != c.v.bodies {
			c.find("mail.db has %d octets of bodies, counted as %d", octets, c.v.bodies)
		}
		return nil
	})
}

func (c *check) usage() (u Usage) {
	_ = c.tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
		if m, err := c.f.mailboxRow(c.tx, MailboxID(id)); err == nil {
			u = u.plus(usageOf(&m))
		}
		return nil
	})
	return u
}

// bodyOctets are those of the chunks in a volume.
func bodyOctets(tx *bolt.Tx) (octets int64) {
	sum := func(_, v []byte) error {
		octets += int64(len(v))
		return nil
	}
	_ = paced(tx.Bucket(bucketHeads), sum)
	all := tx.Bucket(bucketChunks)
	_ = paced(all, func(k, _ []byte) error {
		if b := all.Bucket(k); b != nil {
			return paced(b, sum)
		}
		return nil
	})
	return octets
}
