package imap

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/mail"
	"nestbox/storage"
)

// A fetcher writes the FETCH responses of one command.
type fetcher struct {
	c *fetchCmd
	s *session
	w *wire.Encoder
	// box names the flags of the rows at hand.
	box  storage.Mailbox
	rev2 bool
	peek bool // \Seen is not set

	m       fetched
	lastSeq view.Seq // of lastUID, to count on from
	lastUID imap.UID
	marked  []imap.UID // messages of the portion that this command marked \Seen
	failed  error      // of the first message that could not be answered
	missing int        // messages that are gone without a kept row
	broken  error      // the connection is out of step

	scratch []byte // what the items of one message prepared
	unseen  []imap.UID
	blobs   []storage.BlobID
	records []mail.Record // of a portion, in recordBytes
	held    []byte
}

// A fetched is the message whose response is being written.
type fetched struct {
	seq    view.Seq
	row    *storage.Row
	rec    mail.Record
	header []byte
	body   []byte        // if it is in memory
	blob   *storage.Blob // if open
}

var fetchers = sync.Pool{New: func() any { return new(fetcher) }}

// keepScratch is how much memory a pooled fetcher may keep.
const keepScratch = 512 << 10

func newFetcher(s *session, c *fetchCmd) *fetcher {
	f := fetchers.Get().(*fetcher)
	*f = fetcher{
		c: c, s: s, w: s.w, box: s.sel.box, rev2: s.rev2(), peek: !c.seen || s.sel.readOnly || s.sel.rights&storage.RightSeen == 0,
		scratch: f.scratch, unseen: f.unseen, blobs: f.blobs, records: f.records, held: f.held, marked: f.marked[:0],
	}
	return f
}

func (f *fetcher) free() {
	if cap(f.scratch) > keepScratch {
		f.scratch = nil
	}
	if cap(f.held) > keepScratch {
		f.held = nil
	}
	f.c, f.s, f.w, f.m, f.box, f.failed, f.broken = nil, nil, nil, fetched{}, storage.Mailbox{}, nil, nil
	fetchers.Put(f)
}

// fetch answers for the messages in ranges, batch by batch.
func (f *fetcher) fetch(ranges view.Ranges) error {
	b := f.s.batch()
	cursor := f.s.sel.view.Cursor(ranges)
	for uids := cursor.Next(b.uids[:0]); len(uids) > 0; uids = cursor.Next(b.uids[:0]) {
		if err := f.s.progress(); err != nil {
			return err
		}
		if err := f.batch(b, uids); err != nil {
			return err
		}
		if err := f.w.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fetcher) batch(b *batch, uids []imap.UID) error {
	if f.c.needs == 0 { // UID alone: the view knows it
		row := new(storage.Row)
		for _, row.UID = range uids {
			f.respond(row)
		}
		return nil
	}
	rows, err := f.s.sel.account.Rows(f.s.sel.box.Space, uids, b.rows[:0])
	if err != nil {
		return err
	}
	f.missing += len(uids) - len(rows)
	if err := f.nameFlags(rows); err != nil {
		return err
	}
	for len(rows) > 0 {
		n := f.portion(rows)
		if err := f.markSeen(rows[:n]); err != nil {
			return err
		}
		if err := f.read(rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// nameFlags reads the mailbox row again when a message has a keyword that came
// after the last sync.
func (f *fetcher) nameFlags(rows []storage.Row) error {
	var all storage.Flags
	for i := range rows {
		all |= rows[i].Flags
	}
	if bits.Len64(uint64(all)) <= 64-storage.MaxKeywords+len(f.box.Keywords) {
		return nil
	}
	box, err := f.s.sel.account.Mailbox(f.box.ID)
	if err != nil {
		return err
	}
	f.box.Keywords = box.Keywords
	f.s.announceKeywords(&box)
	return nil
}

// portion is how many of the rows are read and answered in one go: few when
// memory is needed for each, or when they are marked \Seen, since a client
// that goes away has not seen the rest.
func (f *fetcher) portion(rows []storage.Row) int {
	const few, fewOctets, some = 32, 1 << 20, 100
	switch {
	case !f.peek:
		n, octets := 1, rows[0].Size
		for n < min(few, len(rows)) && octets+rows[n].Size <= fewOctets {
			octets += rows[n].Size
			n++
		}
		return n
	case f.c.needs&(needBlob|needBody) != 0 || f.c.needs&(needRecord|needHeader) == needRecord|needHeader:
		return min(some, len(rows))
	}
	return len(rows)
}

// markSeen sets \Seen on the rows, in the store and here.
func (f *fetcher) markSeen(rows []storage.Row) error {
	f.marked = f.marked[:0]
	if f.peek {
		return nil
	}
	f.unseen = f.unseen[:0]
	for i := range rows {
		if rows[i].Flags&storage.FlagSeen == 0 && !rows[i].Expunged {
			f.unseen = append(f.unseen, rows[i].UID)
		}
	}
	if len(f.unseen) == 0 {
		return nil
	}
	res, err := f.s.sel.account.StoreFlags(f.box.ID, storage.StoreRequest{
		UIDs: f.unseen, Mode: storage.StoreAdd, Flags: []imap.Flag{imap.FlagSeen},
	})
	switch {
	case errors.Is(err, storage.ErrNoMailbox), errors.Is(err, storage.ErrClosed):
		return err
	case err != nil: // a full disk must not keep anyone from reading
		f.s.log.Warn("imap_mark_seen_failed", "error", err)
		f.peek = true
		return nil
	}
	f.s.told(res.ModSeq)
	f.box.Keywords = res.Mailbox.Keywords
	f.s.announceKeywords(&res.Mailbox)
	i := 0
	for _, ch := range res.Changed {
		for i < len(rows) && rows[i].UID < ch.UID {
			i++
		}
		if i < len(rows) && rows[i].UID == ch.UID {
			rows[i].Flags, rows[i].ModSeq = ch.Flags, ch.ModSeq
			f.marked = append(f.marked, ch.UID)
		}
	}
	return nil
}

// read reads what the items need of the rows, and answers.
func (f *fetcher) read(rows []storage.Row) error {
	f.blobs = f.blobs[:0]
	for i := range rows {
		f.blobs = append(f.blobs, rows[i].Blob)
	}
	var err error
	switch f.c.needs & (needRecord | needHeader | needBody) {
	case 0:
		for i := range rows {
			if !f.respond(&rows[i]) {
				break
			}
		}
	case needRecord:
		err = f.s.sel.account.Records(f.blobs, func(i int, rec mail.Record) bool {
			f.m.rec = rec
			return f.respond(&rows[i])
		})
	case needHeader, needHeader | needBody:
		err = f.readHeaders(rows)
	case needBody:
		err = f.readBodies(rows)
	default:
		if err = f.holdRecords(rows); err != nil {
			break
		}
		if f.c.needs&needHeader != 0 {
			err = f.readHeaders(rows)
		} else {
			err = f.readBodies(rows)
		}
	}
	f.m.rec, f.m.header, f.m.body = nil, nil, nil
	if f.broken != nil {
		return f.broken
	}
	return err
}

// holdRecords keeps the records of the rows while something else is read.
func (f *fetcher) holdRecords(rows []storage.Row) error {
	f.held = f.held[:0]
	f.records = slices.Grow(f.records[:0], len(rows))[:len(rows)]
	return f.s.sel.account.Records(f.blobs, func(i int, rec mail.Record) bool {
		start := len(f.held)
		f.held = append(f.held, rec...)
		f.records[i] = mail.Record(f.held[start:len(f.held):len(f.held)])
		return true
	})
}

// hold takes the record of row i, if records are held.
func (f *fetcher) hold(i int) {
	if f.c.needs&needRecord != 0 {
		f.m.rec = f.records[i]
	}
}

func (f *fetcher) readHeaders(rows []storage.Row) error {
	return f.s.sel.account.Headers(f.blobs, func(i int, header []byte) bool {
		f.hold(i)
		f.m.header = header
		return f.respond(&rows[i])
	})
}

func (f *fetcher) readBodies(rows []storage.Row) error {
	return f.s.sel.account.Bodies(f.blobs, func(i int, body []byte) bool {
		f.hold(i)
		f.m.body = nil
		if int64(len(body)) == rows[i].Size {
			f.m.body = body
		}
		return f.respond(&rows[i])
	})
}

// respond writes the response of one message. It returns false when there is
// nobody to write to.
func (f *fetcher) respond(row *storage.Row) bool {
	m := &f.m
	m.row = row
	if row.UID == f.lastUID+1 && f.lastSeq != 0 {
		m.seq = f.lastSeq + 1
	} else {
		m.seq = f.s.sel.view.Seq(row.UID)
	}
	f.lastSeq, f.lastUID = m.seq, row.UID
	if err := f.prepare(); err != nil {
		f.fail(err)
		if slices.Contains(f.marked, row.UID) {
			f.respondFlags(row)
		}
	} else {
		f.write()
	}
	if m.blob != nil {
		m.blob.Close()
		m.blob = nil
	}
	return f.broken == nil && f.w.Err() == nil
}

// prepare prepares the items of the message.
func (f *fetcher) prepare() error {
	if f.c.needs&needRecord != 0 && len(f.m.rec) == 0 {
		return fmt.Errorf("message %d: %w", f.m.seq, storage.ErrUnavailable)
	}
	f.scratch = f.scratch[:0]
	for i := range f.c.items {
		if item := &f.c.items[i]; item.prepare != nil {
			if err := item.prepare(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// fail notes why a message gets no response; the others get theirs, and the
// first reason is the command's.
func (f *fetcher) fail(err error) {
	if f.failed == nil {
		f.failed = err
	}
}

func (f *fetcher) write() {
	f.w.Append(f.appendStart)
	marked := len(f.marked) > 0 && slices.Contains(f.marked, f.m.row.UID)
	for i := range f.c.items {
		if i > 0 {
			f.w.SP()
		}
		if marked && f.c.items[i].seen { // before the first item that set it
			f.writeMarked()
			marked = false
		}
		f.w.Raw(f.c.items[i].label)
		f.c.items[i].write(f)
		if f.broken != nil {
			return
		}
	}
	f.w.Raw(")").CRLF()
}

// writeMarked writes what the client must know of a message that became \Seen,
// and didn't ask for.
func (f *fetcher) writeMarked() {
	if !f.c.flags {
		f.w.Raw("FLAGS ")
		writeFlagsItem(f)
		f.w.SP()
	}
	if !f.s.modSeqs {
		return
	}
	if !f.c.has(itemUID) && !f.s.uidOnly { // RFC 7162 §3.2.4
		f.w.Raw("UID ").Number(uint32(f.m.row.UID)).SP()
	}
	if !f.c.has(itemModSeq) {
		f.s.writeModSeq(f.m.row.ModSeq)
		f.w.SP()
	}
}

// respondFlags tells of \Seen on a message that then turned out unreadable.
func (f *fetcher) respondFlags(row *storage.Row) {
	c := storage.Change{UID: row.UID, Flags: row.Flags, ModSeq: row.ModSeq}
	f.s.writeFlags(&f.box, f.m.seq, c, true)
}
