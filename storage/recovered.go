package storage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// Bytes of a message that no mailbox refers to are never swept when they may
// have been acknowledged mail (DESIGN §5): they get a message in the mailbox
// Recovered. Flags and INTERNALDATE are lost with the row; Date stands in.

// recoveredName is the name of that mailbox, unless something else has it.
const recoveredName = "Recovered"

// recoverBatch is how many messages one transaction recovers: each touches the
// block of its record and the rows of its identity.
const recoverBatch = 100

// A strayBlob is a blob without a message: bytes without a row in "blobs", or
// with one that no message row refers to.
type strayBlob struct {
	volume uint16
	id     BlobID
}

// recoveredBlob is what became of one.
type recoveredBlob struct {
	strayBlob
	uid   imap.UID // in the mailbox, 0 if there is no need or it failed
	known bool     // the account has the same bytes under another id
	err   error    // why it can't be recovered
}

// recoverBlobs gives stray blobs a message each in the mailbox Recovered, and
// calls tell with what became of them. It can be repeated after a crash: what
// has its message by then is passed over by who looks for strays.
func (a *Account) recoverBlobs(ctx context.Context, strays []strayBlob, tell func(mailbox string, r recoveredBlob)) error {
	for len(strays) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(strays), recoverBatch)
		if err := a.recoverSome(strays[:n], tell); err != nil {
			return err
		}
		strays = strays[n:]
	}
	return nil
}

func (a *Account) recoverSome(strays []strayBlob, tell func(string, recoveredBlob)) error {
	f, err := a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	r := &recoverRequest{}
	for _, s := range strays {
		read, err := f.readStray(s)
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil {
			tell("", recoveredBlob{strayBlob: s, err: err})
			continue
		}
		r.blobs = append(r.blobs, read)
	}
	if len(r.blobs) == 0 {
		return nil
	}
	if err := a.do(r); err != nil {
		return err
	}
	for i := range r.done {
		if d := &r.done[i]; d.err == errIDTaken {
			d.uid, d.known, d.err = a.recoverCopy(f, d.strayBlob, r.mailbox.ID)
		}
		tell(r.mailbox.Name, r.done[i])
	}
	return nil
}

// A strayBytes is a stray blob that was read from its first to its last octet.
type strayBytes struct {
	strayBlob
	row    blobRow // as it is to be, without references
	record mail.Record
}

// readStray reads a stray blob, whose size and identity its bytes tell.
func (f *files) readStray(s strayBlob) (*strayBytes, error) {
	r := &strayBytes{strayBlob: s}
	var err error
	if r.row, err = f.strayRow(s); err != nil {
		return nil, fmt.Errorf("blob %d: %w", s.id, err)
	}
	p := parsers.Get().(*mail.Parser)
	defer parsers.Put(p)
	p.Reset()
	sum := sha256.New()
	if err := f.copyStray(r, func(piece []byte) error {
		_, _ = p.Write(piece)
		sum.Write(piece)
		return nil
	}); err != nil {
		return nil, err
	}
	r.row.email, r.record = emailOf(f.secret, sum.Sum(nil)), p.Finish()
	return r, nil
}

// emailOf is the EMAILID of a message with this SHA-256.
func emailOf(secret, sum []byte) (e EmailID) {
	mac := hmac.New(sha256.New, secret)
	mac.Write(sum)
	copy(e[:], mac.Sum(nil))
	return e
}

// copyStray gives fn a stray blob's bytes.
func (f *files) copyStray(r *strayBytes, fn writeFunc) error {
	b := &Blob{f: f, id: r.id, row: r.row, at: -1}
	_, err := b.WriteRange(fn, 0, r.row.size)
	if b.buf != nil {
		decodeBuffers.Put(b.buf)
	}
	return err
}

type writeFunc func(p []byte) error

func (w writeFunc) Write(p []byte) (int, error) { return len(p), w(p) }

// strayRow learns a stray blob's row, but for its EMAILID, from its chunks.
func (f *files) strayRow(s strayBlob) (row blobRow, err error) {
	row.volume = s.volume
	head, last := storedBuffers.Get().(*[]byte), storedBuffers.Get().(*[]byte)
	defer storedBuffers.Put(head)
	defer storedBuffers.Put(last)
	chunks := uint32(0) // besides the first
	err = f.viewVolume(s.volume, func(tx *bolt.Tx) (err error) {
		if *head, err = copyChunk((*head)[:0], tx, s.id, 0); err != nil {
			return err
		}
		if runs := tx.Bucket(bucketRuns); runs != nil && s.volume != 0 {
			row.run = runOf(runs, s.id)
		}
		b := tx.Bucket(bucketChunks).Bucket(keyBlob(s.id))
		if b == nil {
			return nil
		}
		if err := guardBucket(tx, b); err != nil {
			return err
		}
		k, v := b.Cursor().Last()
		if len(k) != 4 {
			return fmt.Errorf("%w: its chunks", ErrCorrupt)
		}
		chunks = binary.BigEndian.Uint32(k)
		*last = append((*last)[:0], v...)
		return nil
	})
	if err != nil {
		return row, err
	}
	n, err := decodedSize(*head, place{kind: placeBlob, id: uint64(s.id)})
	if err != nil {
		return row, err
	}
	row.head, row.size = uint32(n), int64(n)
	if chunks > 0 {
		if n, err = decodedSize(*last, place{placeBlob, uint64(s.id), chunks}); err != nil {
			return row, err
		}
		row.size += int64(chunks-1)*chunkBytes + int64(n)
	}
	return row, nil
}

func decodedSize(v []byte, at place) (int, error) {
	buf := decodeBuffers.Get().(*[]byte)
	defer decodeBuffers.Put(buf)
	var err error
	*buf, err = decodeChunk((*buf)[:0], v, at)
	if err == nil && len(*buf) > chunkBytes {
		err = fmt.Errorf("%w: chunk of %d octets", ErrCorrupt, len(*buf))
	}
	return len(*buf), err
}

// errIDTaken says that mail.db has another blob of the same id: the bytes need
// a new one.
var errIDTaken = errors.New("the id belongs to another message")

// recoverCopy stores a stray blob's bytes again, under a new id.
func (a *Account) recoverCopy(f *files, s strayBlob, to MailboxID) (uid imap.UID, known bool, err error) {
	r, err := f.readStray(s)
	if err != nil {
		return 0, false, err
	}
	err = a.exec(func(f *files) error {
		known, err = f.blobs.known(r.row.email)
		return err
	})
	if known || err != nil {
		return 0, known, err
	}
	u, err := a.NewUpload(r.row.size)
	if err != nil {
		return 0, false, err
	}
	defer u.Abort()
	err = f.copyStray(r, func(p []byte) error {
		_, err := u.Write(p)
		return err
	})
	if err == nil {
		err = u.Close()
	}
	if err != nil {
		return 0, false, err
	}
	res, err := a.Append(to, []NewMessage{{Upload: u, Date: strayDate(r.record, a.now())}})
	if err != nil {
		return 0, false, err
	}
	return res.UIDs[0], false, nil
}

// recoverRequest makes messages of blobs that were read.
type recoverRequest struct {
	blobs   []*strayBytes
	done    []recoveredBlob
	mailbox Mailbox
}

func (r *recoverRequest) bodies() []*Upload { return nil }
func (r *recoverRequest) rows() int         { return len(r.blobs) }
func (r *recoverRequest) rewind()           { r.done = nil }
func (r *recoverRequest) frees() bool       { return false }

func (r *recoverRequest) apply(w *txn) (bool, error) {
	r.done = make([]recoveredBlob, len(r.blobs))
	var todo []int
	taken := false
	for i, b := range r.blobs {
		d := &r.done[i]
		d.strayBlob = b.strayBlob
		switch has, err := readBlobRow(w.tx, b.id); {
		case err == nil && (has.volume != b.volume || has.run != b.row.run):
			d.err, taken = errIDTaken, true
		default:
			if id, _, ok := w.f.blobs.find(w.tx, b.row.email); ok && id != b.id {
				d.known = true
				continue
			}
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 && !taken {
		return false, nil
	}
	m, err := w.recoveredMailbox()
	if err != nil {
		return false, err
	}
	if uint64(m.UIDNext)+uint64(len(todo)) > 1<<32-1 {
		return false, fatal(&LimitError{What: "UIDs in a mailbox", Max: 1<<32 - 1})
	}
	if len(todo) > 0 {
		err = r.show(w, m, todo)
	}
	r.mailbox = *m
	return false, err
}

func (r *recoverRequest) show(w *txn, m *Mailbox, todo []int) error {
	at, first := w.next(), m.UIDNext
	now := w.f.a.now()
	for n, i := range todo {
		b := r.blobs[i]
		if err := w.adopt(b); err != nil {
			return fatal(err)
		}
		thread, err := w.thread(b.record, b.row.email)
		if err != nil {
			return fatal(err)
		}
		date := strayDate(b.record, now)
		_, zone := date.Zone()
		row := Row{UID: first + imap.UID(n), ModSeq: at, Date: date.Unix(), Zone: int16(zone / 60), SaveDate: now.Unix(),
			Size: b.row.size, Blob: b.id, Email: b.row.email, Thread: thread}
		if err := w.addRow(m, &row); err != nil {
			return err
		}
		r.done[i].uid = row.UID
	}
	return w.show(m, first, first+imap.UID(len(todo)-1), at)
}

// adopt makes the bytes a blob of the account, with one reference more.
func (w *txn) adopt(b *strayBytes) error {
	blobs := w.bucket(bucketBlobs)
	key := keyBlob(b.id)
	row := b.row
	row.refs = 0
	if has, err := readBlobRow(w.tx, b.id); err == nil {
		row.refs = has.refs // the recount of references corrects it
	}
	if err := blobs.Put(key, row.encode()); err != nil {
		return err
	}
	w.f.blobs.next = max(w.f.blobs.next, b.id)
	if err := w.bucket(bucketEmails).Put(append([]byte(nil), row.email[:]...), key); err != nil {
		return err
	}
	if err := w.bucket(bucketOpen).Delete(key); err != nil {
		return err
	}
	if err := w.f.blobs.putRecord(w.tx, b.id, b.record); err != nil {
		return err
	}
	return w.f.blobs.link(w.tx, b.id, 1)
}

// recoveredMailbox finds the mailbox for what has no owner, or makes it.
func (w *txn) recoveredMailbox() (*Mailbox, error) {
	var found *Mailbox
	err := w.bucket(bucketNames).ForEach(func(name, id []byte) error {
		if found != nil || string(name) != recoveredName && !strings.HasPrefix(string(name), recoveredName+" ") {
			return nil
		}
		m, err := w.mailbox(MailboxID(id))
		if err == nil && m.Recovered {
			found = m
		}
		return nil // a damaged one is none of ours
	})
	if found != nil || err != nil {
		return found, err
	}
	name := w.freeName()
	m := w.newMailbox(name)
	m.Recovered = true
	if err := w.bucket(bucketSubs).Put([]byte(name), nil); err != nil {
		return nil, fatal(err)
	}
	return m, w.putName(m)
}

// strayDate is an INTERNALDATE for a message whose own is lost.
func strayDate(rec mail.Record, now time.Time) time.Time {
	if t, ok := rec.SentDate(); ok && t.Year() >= 1980 && t.Before(now) {
		return t
	}
	return now
}
