package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// Check reads the whole index and the journal, counts again what is kept as
// counts, and returns one line for each finding; none when all is sound. The
// bodies are not read. It runs between two commits.
func (a *Account) Check() (findings []string, err error) {
	err = a.exec(func(f *files) error {
		return f.mail.View(func(tx *bolt.Tx) error {
			c := &check{f: f, tx: tx, refs: map[BlobID]uint32{}}
			for err := range tx.Check() {
				c.find("mail.db: %v", err)
			}
			if len(c.findings) == 0 { // a damaged file could lead anywhere
				c.names()
				c.mailboxes()
				c.orphans()
				c.kept()
				c.keptCount()
				c.annotations()
				c.blobs()
			}
			findings = c.findings
			return nil
		})
	})
	if err == nil {
		findings, err = a.checkVolumes(findings)
	}
	return findings, err
}

type check struct {
	f        *files
	tx       *bolt.Tx
	findings []string
	refs     map[BlobID]uint32
	spaces   map[Space]bool
}

func (c *check) find(format string, args ...any) {
	c.findings = append(c.findings, fmt.Sprintf(format, args...))
}

// names: each name leads to a mailbox that has it, and each mailbox has one.
func (c *check) names() {
	named := map[MailboxID]bool{}
	_ = c.tx.Bucket(bucketNames).ForEach(func(name, id []byte) error {
		m, err := c.f.mailboxRow(c.tx, MailboxID(id))
		switch {
		case err != nil:
			c.find("name %q: %v", name, err)
		case m.Name != string(name):
			c.find("name %q leads to mailbox %q", name, m.Name)
		}
		named[MailboxID(id)] = true
		return nil
	})
	_ = c.tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
		if !named[MailboxID(id)] {
			c.find("mailbox %s has no name", MailboxID(id))
		}
		return nil
	})
}

func (c *check) mailboxes() {
	c.spaces = map[Space]bool{}
	_ = c.tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
		m, err := c.f.mailboxRow(c.tx, MailboxID(id))
		if err != nil {
			c.find("%v", err)
			return nil
		}
		if c.spaces[m.Space] {
			c.find("space %d belongs to two mailboxes", m.Space)
		}
		c.spaces[m.Space] = true
		c.mailbox(&m)
		return nil
	})
}

// mailbox counts one mailbox's rows again.
func (c *check) mailbox(m *Mailbox) {
	again := Mailbox{FirstUnseen: m.UIDNext}
	blocks := map[uint32][]imap.UID{}
	log := c.tx.Bucket(bucketLog)
	c.rows(m.Space, func(r *Row, stored ModSeq) {
		again.count(r)
		blocks[BlockIndex(r.UID)] = append(blocks[BlockIndex(r.UID)], r.UID)
		switch {
		case r.UID >= m.UIDNext:
			c.find("%s: UID %d is not below UIDNEXT %d", m.Name, r.UID, m.UIDNext)
		case r.ModSeq > m.HighestModSeq:
			c.find("%s: UID %d has MODSEQ %d above HIGHESTMODSEQ %d", m.Name, r.UID, r.ModSeq, m.HighestModSeq)
		case r.ModSeq > c.f.modseq:
			c.find("%s: UID %d has MODSEQ %d above the account's %d", m.Name, r.UID, r.ModSeq, c.f.modseq)
		case r.Flags&FlagSeen == 0 && r.UID < m.FirstUnseen:
			c.find("%s: UID %d is unseen and below the first unseen %d", m.Name, r.UID, m.FirstUnseen)
		case r.Flags>>systemFlags>>len(m.Keywords) != 0:
			c.find("%s: UID %d has keywords without a name", m.Name, r.UID)
		}
		if len(log.Get(keyLog(m.Space, stored, r.UID))) == 0 && !c.added(m.Space, stored, r.UID) {
			c.find("%s: MODSEQ %d of UID %d is not in the log", m.Name, stored, r.UID)
		}
		c.refs[r.Blob]++
	})
	if got, want := countsOf(&again), countsOf(m); got != want {
		c.find("%s: the row says %s, its messages are %s", m.Name, want, got)
	}
	c.blocks(m, blocks)
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

func countsOf(m *Mailbox) string {
	return fmt.Sprintf("%d messages, %d unseen, %d deleted, %d octets, %d deleted octets", m.Messages, m.Unseen, m.Deleted, m.Octets, m.DeletedOctets)
}

func (c *check) rows(space Space, fn func(r *Row, stored ModSeq)) {
	cur := c.tx.Bucket(bucketRows).Cursor()
	prefix := keyUID(space, 0)[:4]
	for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		r, err := decodeRow(imap.UID(binary.BigEndian.Uint32(k[4:])), v)
		if err != nil {
			c.find("space %d: %v", space, err)
			continue
		}
		stored := r.ModSeq
		c.f.overlay.apply(space, &r)
		fn(&r, stored)
	}
}

func (c *check) blocks(m *Mailbox, want map[uint32][]imap.UID) {
	blocks, err := readBlocks(c.tx, m.Space, 0, ^uint32(0))
	if err != nil {
		c.find("%s: %v", m.Name, err)
		return
	}
	for i := range blocks {
		b := &blocks[i]
		got := b.Append(make([]imap.UID, 0, BlockUIDs), 0, ^imap.UID(0))
		if !slices.Equal(got, want[b.Index]) {
			c.find("%s: UID block %d has %d UIDs, the rows %d", m.Name, b.Index, len(got), len(want[b.Index]))
		}
		delete(want, b.Index)
	}
	for index := range want {
		c.find("%s: UID block %d is missing", m.Name, index)
	}
}

// orphans: a space without a mailbox must be a deleted mailbox's.
func (c *check) orphans() {
	cur := c.tx.Bucket(bucketRows).Cursor()
	for k, _ := cur.First(); k != nil; {
		space := Space(binary.BigEndian.Uint32(k))
		if !c.spaces[space] {
			if v := c.tx.Bucket(bucketIntents).Get(k[:4]); len(v) == 0 || v[0] != intentDeleted && v[0] != intentStage {
				c.find("space %d has rows and no mailbox", space)
			}
			c.rows(space, func(r *Row, _ ModSeq) { c.refs[r.Blob]++ })
		}
		k, _ = cur.Seek(keyUID(space+1, 0))
	}
}

func (c *check) kept() {
	live := c.tx.Bucket(bucketRows)
	_ = c.tx.Bucket(bucketKept).ForEach(func(k, v []byte) error {
		r, err := decodeRow(imap.UID(binary.BigEndian.Uint32(k[4:])), v)
		switch {
		case err != nil || len(v) < keptBytes:
			c.find("kept row %x: damaged", k)
			return nil
		case live.Get(k) != nil:
			c.find("row %x is kept and live", k)
		}
		c.refs[r.Blob]++
		return nil
	})
}

// blobs: every reference is counted, every blob has its record and its bytes.
func (c *check) blobs() {
	rows := c.tx.Bucket(bucketBlobs)
	_ = rows.ForEach(func(k, v []byte) error {
		id := BlobID(binary.BigEndian.Uint64(k))
		b, err := decodeBlobRow(v)
		if err != nil {
			c.find("blob %d: %v", id, err)
			return nil
		}
		if b.refs != c.refs[id] {
			c.find("blob %d is counted %d times, used %d times", id, b.refs, c.refs[id])
		}
		delete(c.refs, id)
		return nil
	})
	for id, n := range c.refs {
		c.find("blob %d is used %d times and missing", id, n)
	}
}
