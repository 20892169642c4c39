package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// A flagWriter is where a flag change goes: a transaction, or the journal.
type flagWriter interface {
	mailbox(id MailboxID) (*Mailbox, error)
	row(space Space, uid imap.UID) (Row, bool)
	next() ModSeq
	addKeywords(m *Mailbox, names []string) error
	setFlags(m *Mailbox, r *Row, flags Flags, at ModSeq) error
}

// A txn is one transaction on mail.db with the state that its requests share:
// mailbox rows and UID blocks are changed in memory and written once.
type txn struct {
	f       *files
	tx      *bolt.Tx
	modseq  ModSeq
	used    Usage     // what the account holds more
	kept    KeptCount // and of expunged messages
	boxes   map[MailboxID]*boxState
	blocks  map[blockKey]Block
	buckets map[string]*bolt.Bucket
	settled []rowKey // rows whose journaled state is in mail.db now
	folded  bool     // the whole journal is
	dirty   bool     // there is something to commit
	subs    bool     // the subscriptions changed
}

type boxState struct {
	Mailbox
	changed bool // write it
	touched bool // and wake its watchers
	deleted bool
}

type blockKey struct {
	space Space
	index uint32
}

type rowKey struct {
	space Space
	uid   imap.UID
}

// fatalError marks a failure in the middle of a request's writes: the whole
// transaction must go.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

func fatal(err error) error {
	if err == nil {
		return nil
	}
	return fatalError{err}
}

func isFatal(err error) bool {
	var f fatalError
	return errors.As(err, &f)
}

func newTxn(f *files, tx *bolt.Tx) *txn {
	return &txn{f: f, tx: tx, modseq: f.modseq, boxes: map[MailboxID]*boxState{},
		blocks: map[blockKey]Block{}, buckets: map[string]*bolt.Bucket{}}
}

// bucket is the named bucket; those with growing keys are filled well.
func (w *txn) bucket(name []byte) *bolt.Bucket {
	b := w.buckets[string(name)]
	if b == nil {
		b = w.tx.Bucket(name)
		switch string(name) {
		case "rows", "log", "kept", "blobs":
			b.FillPercent = fillAppend
		}
		w.buckets[string(name)] = b
	}
	return b
}

// next gives out a MODSEQ.
func (w *txn) next() ModSeq {
	w.modseq++
	return w.modseq
}

// mailbox is the mailbox's row, to be changed in place (see change).
func (w *txn) mailbox(id MailboxID) (*Mailbox, error) {
	s, err := w.box(id)
	if err != nil {
		return nil, err
	}
	return &s.Mailbox, nil
}

func (w *txn) box(id MailboxID) (*boxState, error) {
	if s := w.boxes[id]; s != nil {
		if s.deleted {
			return nil, ErrNoMailbox
		}
		return s, nil
	}
	m, err := w.f.mailboxRow(w.tx, id)
	if err != nil {
		return nil, err
	}
	s := &boxState{Mailbox: m}
	w.boxes[id] = s
	return s, nil
}

// change notes that m, which came from mailbox, changed at MODSEQ at.
func (w *txn) change(m *Mailbox, at ModSeq) {
	s := w.boxes[m.ID]
	s.changed, s.touched, w.dirty = true, true, true
	m.HighestModSeq = max(m.HighestModSeq, at)
}

func (w *txn) row(space Space, uid imap.UID) (Row, bool) {
	v := w.bucket(bucketRows).Get(keyUID(space, uid))
	if v == nil {
		return Row{}, false
	}
	r, err := decodeRow(uid, v)
	if err != nil {
		return Row{}, false
	}
	w.f.overlay.apply(space, &r)
	return r, true
}

// addRow adds the mailbox's next message and counts it.
func (w *txn) addRow(m *Mailbox, r *Row) error {
	w.dirty = true
	m.count(r)
	w.used = w.used.plus(Usage{Octets: r.Size, Messages: 1})
	if err := w.bucket(bucketRows).Put(keyUID(m.Space, r.UID), encodeRow(r)); err != nil {
		return fatal(err)
	}
	return nil
}

// show makes the rows from lo to hi, already added, part of the mailbox.
func (w *txn) show(m *Mailbox, lo, hi imap.UID, at ModSeq) error {
	m.UIDNext = hi + 1
	w.change(m, at)
	for uid := lo; uid <= hi; {
		last := min(hi, imap.UID(BlockIndex(uid)*BlockUIDs+BlockUIDs-1))
		b, err := w.block(m.Space, BlockIndex(uid))
		if err != nil {
			return fatal(err)
		}
		w.blocks[blockKey{m.Space, BlockIndex(uid)}] = b.AddRange(uid, last)
		uid = last + 1
	}
	return w.log(m.Space, at, lo, append([]byte{logAdd}, le32(uint32(hi))...))
}

func (w *txn) block(space Space, index uint32) (Block, error) {
	if b, ok := w.blocks[blockKey{space, index}]; ok {
		return b, nil
	}
	v := w.bucket(bucketBlocks).Get(keyUID(space, imap.UID(index)))
	if v == nil {
		return Block{Index: index}, nil
	}
	b, ok := decodeBlock(index, v)
	if !ok {
		return b, fmt.Errorf("%w: UID block %d of space %d", ErrCorrupt, index, space)
	}
	return b, nil
}

// setFlags gives the row, which came from row, new flags at MODSEQ at.
func (w *txn) setFlags(m *Mailbox, r *Row, flags Flags, at ModSeq) error {
	key := keyUID(m.Space, r.UID)
	if err := w.unlog(m.Space, r.UID, key); err != nil {
		return err
	}
	m.recount(r, flags)
	r.Flags, r.ModSeq = flags, at
	if err := w.bucket(bucketRows).Put(key, encodeRow(r)); err != nil {
		return fatal(err)
	}
	w.settled = append(w.settled, rowKey{m.Space, r.UID})
	w.change(m, at)
	return w.log(m.Space, at, r.UID, []byte{logFlags})
}

// unlog removes the log entry of the row as mail.db has it.
func (w *txn) unlog(space Space, uid imap.UID, key []byte) error {
	w.dirty = true
	v := w.bucket(bucketRows).Get(key)
	if len(v) < 8 {
		return nil
	}
	entry := keyLog(space, ModSeq(binary.LittleEndian.Uint64(v)), uid)
	log := w.bucket(bucketLog)
	if kind := log.Get(entry); len(kind) == 1 && kind[0] == logFlags {
		return fatal(log.Delete(entry))
	}
	return nil
}

func (w *txn) log(space Space, at ModSeq, uid imap.UID, entry []byte) error {
	return fatal(w.bucket(bucketLog).Put(keyLog(space, at, uid), entry))
}

// expunge moves the rows, ascending, to kept, and logs their tombstones.
func (w *txn) expunge(m *Mailbox, rows []Row, at ModSeq, why keptReason) error {
	when := w.f.a.now().Unix()
	live := w.bucket(bucketRows)
	uids := make([]imap.UID, len(rows))
	for i := range rows {
		r := &rows[i]
		uids[i] = r.UID
		key := keyUID(m.Space, r.UID)
		if err := w.unlog(m.Space, r.UID, key); err != nil {
			return err
		}
		m.uncount(r)
		w.used = w.used.plus(Usage{Octets: -r.Size, Messages: -1})
		w.settled = append(w.settled, rowKey{m.Space, r.UID})
		r.ModSeq = at
		if err := w.keep(m.Space, r, when, why); err != nil {
			return err
		}
		if err := live.Delete(key); err != nil {
			return fatal(err)
		}
	}
	for len(uids) > 0 {
		n := 1
		for n < len(uids) && uids[n] == uids[0]+imap.UID(n) {
			n++
		}
		entry := []byte{logExpunge}
		if n > 1 {
			entry = append([]byte{logGone}, le32(uint32(uids[n-1]))...)
		}
		if err := w.log(m.Space, at, uids[0], entry); err != nil {
			return err
		}
		if err := w.clear(m.Space, uids[0], uids[n-1]); err != nil {
			return err
		}
		uids = uids[n:]
	}
	w.change(m, at)
	return nil
}

// clear removes the UIDs from lo to hi from their blocks.
func (w *txn) clear(space Space, lo, hi imap.UID) error {
	for uid := lo; uid <= hi; {
		index := BlockIndex(uid)
		last := min(hi, imap.UID(index*BlockUIDs+BlockUIDs-1))
		b, err := w.block(space, index)
		if err != nil {
			return fatal(err)
		}
		w.blocks[blockKey{space, index}] = b.RemoveRange(uid, last)
		uid = last + 1
	}
	return nil
}

// addKeywords adds names to the mailbox's keyword table; the caller checked
// that there is room.
func (w *txn) addKeywords(m *Mailbox, names []string) error {
	if len(names) > 0 {
		m.Keywords = append(slices.Clip(m.Keywords), names...)
		w.change(m, 0)
	}
	return nil
}

// flush writes what the requests changed in memory, the last step of a
// transaction.
func (w *txn) flush() error {
	if err := w.foldSmall(); err != nil {
		return err
	}
	blocks := w.bucket(bucketBlocks)
	for k, b := range w.blocks {
		key := keyUID(k.space, imap.UID(k.index))
		var err error
		if b.Count == 0 {
			err = blocks.Delete(key)
		} else {
			err = blocks.Put(key, b.encode())
		}
		if err != nil {
			return err
		}
	}
	for id, s := range w.boxes {
		if !s.changed || s.deleted {
			continue
		}
		s.RecentUID = w.f.a.recent.get(id, s.RecentUID)
		if err := w.bucket(bucketMailboxes).Put(id[:], encodeMailbox(&s.Mailbox)); err != nil {
			return err
		}
	}
	if err := w.flushKept(); err != nil {
		return err
	}
	meta := w.bucket(bucketMeta)
	if err := meta.Put([]byte("modseq"), binary.LittleEndian.AppendUint64(nil, uint64(w.modseq))); err != nil {
		return err
	}
	if w.f.blobs == nil { // the account is being made
		return nil
	}
	return w.f.blobs.stamp(w.tx)
}

// publish shows the committed transaction to readers and wakes the watchers.
func (w *txn) publish() {
	f := w.f
	f.modseq = w.modseq
	f.nowUsed(w.used)
	f.overlay.settle(w)
	if w.folded {
		f.journal.restart()
	}
	var touched []MailboxID
	for id, s := range w.boxes {
		if s.touched {
			touched = append(touched, id)
		}
	}
	f.a.watch.committed(touched, w.subs)
}

func le32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
