// Package view is a session's picture of a mailbox: which UIDs it holds, in
// which order, and how far in the change log the client has been told. It does
// no I/O and has no locks; one session owns one View.
//
// The picture is a list of storage's UID blocks, shared with the store and
// with other sessions until an expunge copies one, and prefix sums over their
// counts, so that a sequence number is a prefix sum and a popcount away.
//
// Two cursors into the change log: all flag changes up to Head have been told,
// and all expunges up to Expunged (Expunged <= Head). They differ while
// expunges are withheld (RFC 9051 §7.5.1).
package view

import (
	"errors"
	"slices"
	"sort"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// A Seq is a message sequence number. 0 is none.
type Seq uint32

// ErrRange says that a sequence number is beyond the messages of the view.
var ErrRange = errors.New("there are not that many messages")

// A View is the messages that the client knows.
type View struct {
	blocks []storage.Block // ascending, none empty
	shared bool            // blocks belongs to the store: copied before the first change
	before []Seq           // before[i]: messages in blocks[:i]; one longer than blocks
	next   imap.UID        // the UIDs below it have been looked at

	head, expunged storage.ModSeq
}

// New is the view of a mailbox as it was read by storage's Snapshot.
func New(box storage.Mailbox, blocks storage.Blocks) *View {
	v := &View{
		blocks: blocks, shared: true, next: box.UIDNext,
		head: box.HighestModSeq, expunged: box.HighestModSeq,
	}
	v.sum(0)
	return v
}

// sum recomputes the prefix sums from blocks[from] on.
func (v *View) sum(from int) {
	if cap(v.before) < len(v.blocks)+1 {
		v.before = append(make([]Seq, 0, len(v.blocks)+8), v.before[:min(from+1, len(v.before))]...)
	}
	v.before = v.before[:len(v.blocks)+1]
	if from == 0 {
		v.before[0] = 0
	}
	for i := from; i < len(v.blocks); i++ {
		v.before[i+1] = v.before[i] + Seq(v.blocks[i].Count)
	}
}

// Messages is the number of messages, which is also the highest Seq.
func (v *View) Messages() Seq { return v.before[len(v.blocks)] }

// Next is the UID from which on nothing is known.
func (v *View) Next() imap.UID { return v.next }

// Head is the MODSEQ up to which the client knows of flag changes.
func (v *View) Head() storage.ModSeq { return v.head }

// Expunged is the MODSEQ up to which the client knows of expunges.
func (v *View) Expunged() storage.ModSeq { return v.expunged }

// find is the block that holds or would hold uid.
func (v *View) find(uid imap.UID) (i int, ok bool) {
	index := storage.BlockIndex(uid)
	i = sort.Search(len(v.blocks), func(i int) bool { return v.blocks[i].Index >= index })
	return i, i < len(v.blocks) && v.blocks[i].Index == index
}

// Has reports whether the view holds uid.
func (v *View) Has(uid imap.UID) bool {
	i, ok := v.find(uid)
	return ok && v.blocks[i].Has(uid)
}

// Seq is uid's sequence number, or 0 when the view doesn't hold it.
func (v *View) Seq(uid imap.UID) Seq {
	i, ok := v.find(uid)
	if !ok || !v.blocks[i].Has(uid) {
		return 0
	}
	return v.before[i] + Seq(v.blocks[i].Rank(uid)) + 1
}

// UID is the UID of a sequence number, or 0 when there are not that many.
func (v *View) UID(seq Seq) imap.UID {
	if seq == 0 || seq > v.Messages() {
		return 0
	}
	i := sort.Search(len(v.blocks), func(i int) bool { return v.before[i+1] >= seq })
	return v.blocks[i].Nth(int(seq - v.before[i] - 1))
}

// Last is the highest UID, or 0 in an empty view.
func (v *View) Last() imap.UID { return v.UID(v.Messages()) }

// Add appends messages: uids are ascending and not below Next; next is the
// mailbox's UIDNEXT, which becomes Next.
func (v *View) Add(uids []imap.UID, next imap.UID) {
	from := len(v.blocks)
	for len(uids) > 0 {
		index := storage.BlockIndex(uids[0])
		n := 1 // messages of this block
		for n < len(uids) && storage.BlockIndex(uids[n]) == index {
			n++
		}
		block := storage.Block{Index: index}
		if last := len(v.blocks) - 1; last >= 0 && v.blocks[last].Index == index {
			block = v.blocks[last]
		} else {
			v.own()
			v.blocks = append(v.blocks, storage.Block{})
		}
		v.own()
		for i := 0; i < n; { // runs of neighbours
			j := i + 1
			for j < n && uids[j] == uids[j-1]+1 {
				j++
			}
			block = block.AddRange(uids[i], uids[j-1])
			i = j
		}
		v.blocks[len(v.blocks)-1] = block
		from = min(from, len(v.blocks)-1)
		uids = uids[n:]
	}
	v.next = max(v.next, next)
	v.sum(from)
}

// Remove takes out messages; uids are ascending, those that the view doesn't
// hold are ignored.
func (v *View) Remove(uids []imap.UID) {
	from, gone := len(v.blocks), false
	for len(uids) > 0 {
		index := storage.BlockIndex(uids[0])
		n := 1
		for n < len(uids) && storage.BlockIndex(uids[n]) == index {
			n++
		}
		if i, ok := v.find(uids[0]); ok {
			v.own()
			v.blocks[i] = v.blocks[i].Remove(uids[:n])
			gone = gone || v.blocks[i].Count == 0
			from = min(from, i)
		}
		uids = uids[n:]
	}
	if gone {
		v.blocks = slices.DeleteFunc(v.blocks, func(b storage.Block) bool { return b.Count == 0 })
		from = 0
	}
	v.sum(from)
}

// own makes the list of blocks the view's own. The blocks stay shared: they
// are immutable.
func (v *View) own() {
	if v.shared {
		v.blocks = append(make([]storage.Block, 0, len(v.blocks)+1), v.blocks...)
		v.shared = false
	}
}

// Advance moves the cursors: the client knows of all flag changes up to head
// and of all expunges up to expunged.
func (v *View) Advance(head, expunged storage.ModSeq) {
	v.head = max(v.head, head)
	v.expunged = min(max(v.expunged, expunged), v.head)
}
