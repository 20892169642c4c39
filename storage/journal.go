package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// flags.journal holds flag changes that mail.db lacks. A commit of bbolt is
// two syncs and 25-45 KB even for one flag; a journal record is one write
// into space that the file already has, and one sync.
//
//	record  "NBFJ", length of the payload u32, epoch u64, CRC-32C u32, payload
//	payload entries of 24 bytes: space u32, UID u32, MODSEQ u64, flags u64
//
// The checksum covers length, epoch and payload and starts from the checksum
// of the record before, so that a record is never taken for the follower of
// another one than it was written after. A record whose epoch is not mail.db's
// "journal" is in mail.db already, or of another time: the journal starts
// again at its beginning (journalfile.go).
//
// Epochs are random, and a run (runs.go) that finds the journal empty begins
// with a new one, so that no record is taken for one of a mail.db that it
// wasn't written for. A commit that leaves records in the journal notes where
// they end: if it doesn't come so far, it is another one than mail.db's.
const (
	journalSize   = 1 << 20
	journalHeader = 20
	journalEntry  = 24
	// journalSoft is how many messages' flags wait in the journal before they
	// are moved to mail.db at a quiet moment.
	journalSoft = 8192
	// foldWithCommit is how many are moved along with any other commit.
	foldWithCommit = 256
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journalFile is what the journal needs of its file; tests put a recorder
// there.
type journalFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

type journal struct {
	path    string
	account AccountID
	opts    *Options
	file    journalFile // nil until the first flag change
	start   int64       // of the first record
	renew   bool        // the file is to be made anew when it is empty
	epoch   uint64
	next    uint64 // the epoch after this
	own     bool   // the epoch began in this run
	end     int64  // where the next record goes
	crc     uint32 // of the last record
	buf     []byte
	mended  bool // a byte of a record that was loaded had changed
	back    bool // and it was written back
	torn    bool // the last record was not whole
}

func newEpoch() uint64 { return rand.Uint64() }

// A journalMark is where the journal ended at a commit: meta "journal_end".
type journalMark struct {
	end int64
	crc uint32
}

func (m journalMark) encode() []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, uint64(m.end)), m.crc)
}

func decodeJournalMark(v []byte) (m journalMark) {
	if len(v) == 12 {
		m = journalMark{int64(binary.LittleEndian.Uint64(v)), binary.LittleEndian.Uint32(v[8:])}
	}
	return m
}

// errOtherJournal says that the journal is not the one that mail.db knows.
var errOtherJournal = errors.New("flags.journal is older than mail.db, or of another time")

type flagEntry struct {
	space Space
	uid   imap.UID
	flagState
}

// load calls f with the entries of each sound record of the epoch and finds
// the end. A record that a power cut left half written ends the journal: it
// was never acknowledged. Records that mail.db has seen and that are not there
// are errOtherJournal, and f is not called then.
func (j *journal) load(epoch uint64, known journalMark, f func([]flagEntry) error) error {
	j.epoch, j.end, j.crc = epoch, j.start, 0
	var all []byte
	if j.file != nil {
		all = make([]byte, journalSize)
		n, err := j.file.ReadAt(all, 0)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s: %w", j.path, err)
		}
		all = all[:n]
	}
	reached := known.end == 0
	each := func(f func([]flagEntry) error) error {
		j.end, j.crc = j.start, 0
		for j.end <= int64(len(all)) {
			entries, size, crc, ok := parseRecord(all[j.end:], epoch, j.crc)
			if !ok {
				damaged, mended := mendRecord(all[j.end:], epoch, j.crc)
				j.torn, j.mended = j.torn || damaged && !mended, j.mended || mended
				if !mended {
					return nil
				}
				continue
			}
			if err := f(entries); err != nil {
				return err
			}
			j.end += int64(size)
			j.crc = crc
			reached = reached || (journalMark{j.end, j.crc} == known)
		}
		return nil
	}
	if !reached {
		_ = each(func([]flagEntry) error { return nil })
	}
	if !reached {
		j.end, j.crc = j.start, 0
		return errOtherJournal
	}
	if err := each(f); err != nil {
		return err
	}
	j.putBack(all)
	return nil
}

func parseRecord(b []byte, epoch uint64, before uint32) (entries []flagEntry, size int, crc uint32, ok bool) {
	le := binary.LittleEndian
	if len(b) < journalHeader || [4]byte(b) != journalMagic || le.Uint64(b[8:]) != epoch {
		return nil, 0, 0, false
	}
	n := int(le.Uint32(b[4:]))
	if n > len(b)-journalHeader || n%journalEntry != 0 {
		return nil, 0, 0, false
	}
	payload := b[journalHeader : journalHeader+n]
	if crc = recordSum(b[4:16], payload, before); crc != le.Uint32(b[16:]) {
		return nil, 0, 0, false
	}
	for ; len(payload) > 0; payload = payload[journalEntry:] {
		entries = append(entries, flagEntry{Space(le.Uint32(payload)), imap.UID(le.Uint32(payload[4:])),
			flagState{ModSeq(le.Uint64(payload[8:])), Flags(le.Uint64(payload[16:]))}})
	}
	return entries, journalHeader + n, crc, true
}

func recordSum(header, payload []byte, before uint32) uint32 {
	return crc32.Update(crc32.Update(before, castagnoli, header), castagnoli, payload)
}

// room is how many entries still fit.
func (j *journal) room() int {
	return int(journalSize-j.end-journalHeader) / journalEntry
}

// write appends one record and returns when it is on disk.
func (j *journal) write(entries []flagEntry) error {
	if j.file == nil || j.renew && j.end == j.start {
		if err := j.make(); err != nil {
			return err
		}
	}
	le := binary.LittleEndian
	b := append(j.buf[:0], journalMagic[:]...)
	b = le.AppendUint32(b, uint32(len(entries)*journalEntry))
	b = le.AppendUint64(b, j.epoch)
	b = append(b, 0, 0, 0, 0)
	for _, e := range entries {
		b = le.AppendUint32(b, uint32(e.space))
		b = le.AppendUint32(b, uint32(e.uid))
		b = le.AppendUint64(b, uint64(e.modseq))
		b = le.AppendUint64(b, uint64(e.flags))
	}
	crc := recordSum(b[4:16], b[journalHeader:], j.crc)
	le.PutUint32(b[16:], crc)
	j.buf = b
	if _, err := j.file.WriteAt(b, j.end); err != nil {
		return err
	}
	if !j.opts.NoSync {
		if err := syncData(j.file); err != nil {
			return err
		}
	}
	j.end += int64(len(b))
	j.crc = crc
	return nil
}

// restart begins the next epoch, after all of this one is in mail.db.
func (j *journal) restart() {
	j.epoch, j.next, j.own = j.next, newEpoch(), true
	j.end, j.crc = j.start, 0
}

// ownJournal makes sure that the journal's epoch is this run's, or that there
// is a record in it that was written for mail.db as it is.
func (f *files) ownJournal() error {
	if f.journal.own || f.overlay.len() > 0 {
		return nil
	}
	return f.mail.Update(func(tx *bolt.Tx) error {
		tx.OnCommit(f.journal.restart)
		return errors.Join(tx.Bucket(bucketMeta).Delete([]byte("journal_end")), putUint64(tx.Bucket(bucketMeta), "journal", f.journal.next),
			f.blobs.stamp(tx))
	})
}

// flagBatch collects the flag changes of one journal record.
type flagBatch struct {
	f       *files
	tx      *bolt.Tx
	modseq  ModSeq
	boxes   map[MailboxID]*Mailbox
	states  map[rowKey]flagState
	entries []flagEntry
	old     map[MailboxID]bool // touched
}

// errNeedsCommit says that a change can't go into the journal.
var errNeedsCommit = errors.New("needs a commit")

func (b *flagBatch) mailbox(id MailboxID) (*Mailbox, error) {
	if m := b.boxes[id]; m != nil {
		return m, nil
	}
	m, err := b.f.mailboxRow(b.tx, id)
	if err != nil {
		return nil, err
	}
	b.boxes[id] = &m
	return &m, nil
}

func (b *flagBatch) row(space Space, uid imap.UID) (r Row, ok bool) {
	_ = b.f.rowsFrom(b.tx, space, []imap.UID{uid}, func(got Row) { r, ok = got, !got.Expunged })
	if st, changed := b.states[rowKey{space, uid}]; ok && changed {
		r.ModSeq, r.Flags = st.modseq, st.flags
	}
	return r, ok
}

func (b *flagBatch) next() ModSeq {
	b.modseq++
	return b.modseq
}

func (b *flagBatch) addKeywords(_ *Mailbox, names []string) error {
	if len(names) > 0 {
		return errNeedsCommit
	}
	return nil
}

func (b *flagBatch) setFlags(m *Mailbox, r *Row, flags Flags, at ModSeq) error {
	if len(b.entries) >= b.f.journal.room() {
		return errNeedsCommit
	}
	m.recount(r, flags)
	r.Flags, r.ModSeq = flags, at
	m.HighestModSeq = at
	st := flagState{at, flags}
	b.states[rowKey{m.Space, r.UID}] = st
	b.entries = append(b.entries, flagEntry{m.Space, r.UID, st})
	b.old[m.ID] = true
	return nil
}

// writeJournal does the batch with one journal record, if it has nothing but
// small flag changes. Otherwise it reports false and has done nothing.
func (f *files) writeJournal(batch []*job) bool {
	rows := 0
	for _, j := range batch {
		if _, ok := j.req.(flagRequest); !ok {
			return false
		}
		rows += j.req.rows()
	}
	if rows > batchRows || rows > f.journal.room() {
		return false
	}
	b := &flagBatch{f: f, modseq: f.modseq, boxes: map[MailboxID]*Mailbox{}, states: map[rowKey]flagState{}, old: map[MailboxID]bool{}}
	errs := make([]error, len(batch))
	err := survive(func() error {
		return f.mail.View(func(tx *bolt.Tx) error {
			b.tx = tx
			for i, j := range batch {
				if _, errs[i] = j.req.(flagRequest).applyFlags(b); errors.Is(errs[i], errNeedsCommit) {
					return errs[i]
				}
			}
			return nil
		})
	})
	if err == nil && len(b.entries) > 0 {
		if err = f.ownJournal(); err == nil {
			err = f.journal.write(b.entries)
		}
		if errors.Is(mapError(err), ErrDiskFull) {
			err = errNeedsCommit // mail.db may have free pages
		}
	}
	if errors.Is(err, errNeedsCommit) {
		for _, j := range batch {
			j.req.rewind()
		}
		return false
	}
	for i, j := range batch {
		j.err = errs[i]
		if err != nil {
			j.err = mapError(err)
		}
	}
	if err == nil {
		f.publish(b)
	}
	return true
}

// publish shows a journal record that is on disk.
func (f *files) publish(b *flagBatch) {
	f.modseq = b.modseq
	o := f.overlay
	o.mu.Lock()
	for _, e := range b.entries {
		o.put(e.space, e.uid, e.flagState)
	}
	for id := range b.old {
		o.boxes[id] = *b.boxes[id]
	}
	o.mu.Unlock()
	f.a.watch.committed(slices.Collect(maps.Keys(b.old)), false)
}
