package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/emersion/go-imap/v2"
)

// A blockCheck compares the UID blocks of a mailbox with its rows, one block
// in memory.
type blockCheck struct {
	c     *check
	m     *Mailbox
	index uint32 // of the block that fills, ^0 for none
	bits  *[64]uint64
	done  map[uint32]bool // blocks that have rows
}

func (b *blockCheck) add(uid imap.UID) {
	if i := BlockIndex(uid); i != b.index {
		b.compare()
		b.index, b.bits = i, new([64]uint64)
	}
	off := blockOffset(uid)
	b.bits[off/64] |= 1 << (off % 64)
}

// compare compares the block that is complete.
func (b *blockCheck) compare() {
	if b.bits == nil {
		return
	}
	if b.done == nil {
		b.done = map[uint32]bool{}
	}
	b.done[b.index] = true
	want := blockOf(b.index, b.bits)
	v := b.c.tx.Bucket(bucketBlocks).Get(keyUID(b.m.Space, imap.UID(b.index)))
	got, ok := decodeBlock(b.index, v)
	switch {
	case v == nil:
		b.c.find("%s: UID block %d is missing", b.m.Name, b.index)
	case !ok:
		b.c.find("%s: UID block %d is damaged", b.m.Name, b.index)
	case string(got.encode()) != string(want.encode()):
		b.c.find("%s: UID block %d has %d UIDs, the rows %d", b.m.Name, b.index, got.Count, want.Count)
	}
	b.bits = nil
}

// end looks for blocks without rows.
func (b *blockCheck) end() {
	b.compare()
	for _, index := range b.c.blockIndexes(b.m.Space) {
		if !b.done[index] {
			b.c.find("%s: UID block %d has no rows", b.m.Name, index)
		}
	}
}

// boxCounts are what a mailbox row counts.
type boxCounts struct {
	messages, unseen, deleted uint32
	octets, deletedOctets     int64
}

func (m *Mailbox) counts() boxCounts {
	return boxCounts{m.Messages, m.Unseen, m.Deleted, m.Octets, m.DeletedOctets}
}

// String lists the counts.
func (n boxCounts) String() string {
	return fmt.Sprintf("%d messages, %d unseen, %d deleted, %d octets, %d deleted octets", n.messages, n.unseen, n.deleted, n.octets, n.deletedOctets)
}

// blockIndexes are the blocks that a space has.
func (c *check) blockIndexes(space Space) (all []uint32) {
	cur := c.tx.Bucket(bucketBlocks).Cursor()
	prefix := keyUID(space, 0)[:4]
	for k, _ := cur.Seek(prefix); bytes.HasPrefix(k, prefix) && len(k) == 8; k, _ = cur.Next() {
		all = append(all, binary.BigEndian.Uint32(k[4:]))
	}
	return all
}
