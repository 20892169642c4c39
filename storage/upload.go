package storage

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"sync"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// stagedMax is how much of a message's compressed chunks waits in memory;
// more goes to the disk at once, under an id that nothing refers to yet.
const stagedMax = 256 << 10

var errUploadClosed = errors.New("the upload is closed")

var chunkBuffers = sync.Pool{New: func() any { b := make([]byte, 0, chunkBytes); return &b }}

// An Upload takes a message's bytes as they come. After Close it goes into
// Append, or away with Abort. It holds no more than about 0.5 MB of memory
// however large the message.
type Upload struct {
	a      *Account
	parser *mail.Parser
	hash   hash.Hash
	size   int64
	expect int64 // announced size, -1 for unknown
	closed bool

	buf    *[]byte // the chunk that is filling
	inBody bool    // chunk 0 is complete
	head   uint32
	email  EmailID
	record mail.Record

	chunks  [][]byte // stored forms that wait
	held    int64    // their octets
	flushed uint32   // how many chunks are on disk
	blob    BlobID   // 0 until the first flush or the commit
	volume  uint16
	// promised is what its volume keeps room for.
	promised int64
	put      bool // the blob's row is written, in a transaction that may fail yet
	done     bool // the message is in mail.db, or the upload dropped
}

// NewUpload starts a message of size octets, -1 if not known.
func (a *Account) NewUpload(size int64) (*Upload, error) {
	if size > a.st.opts.MaxMessage {
		return nil, ErrTooBig
	}
	p := parsers.Get().(*mail.Parser)
	p.Reset()
	return &Upload{a: a, parser: p, hash: sha256.New(), expect: size, buf: chunkBuffers.Get().(*[]byte)}, nil
}

var parsers = sync.Pool{New: func() any { return mail.NewParser() }}

// Write takes the next bytes of the message.
func (u *Upload) Write(p []byte) (int, error) {
	if u.closed || u.buf == nil {
		return 0, errUploadClosed
	}
	if u.size += int64(len(p)); u.size > u.a.st.opts.MaxMessage {
		return 0, ErrTooBig
	}
	u.parser.Write(p)
	u.hash.Write(p)
	for rest := p; len(rest) > 0; {
		n, err := u.fill(rest)
		if err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// fill puts bytes into the present chunk, and seals it when it is full or the
// header ends.
func (u *Upload) fill(p []byte) (int, error) {
	buf := *u.buf
	n := min(len(p), chunkBytes-len(buf))
	end := -1
	if !u.inBody {
		end = headerEnd(append(buf, p[:n]...), len(buf))
	}
	if end >= 0 {
		n = end - len(buf)
	}
	*u.buf = append(buf, p[:n]...)
	if end >= 0 || len(*u.buf) == chunkBytes {
		return n, u.seal()
	}
	return n, nil
}

// headerEnd finds the end of the empty line that ends the header, at or
// after from.
func headerEnd(b []byte, from int) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	if bytes.HasPrefix(b, []byte("\n")) {
		return 1
	}
	from = max(0, from-3)
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		if from < len(b) && b[from] == '\n' {
			return from + 1
		}
		if from+1 < len(b) && b[from] == '\r' && b[from+1] == '\n' {
			return from + 2
		}
	}
}

// seal compresses the present chunk.
func (u *Upload) seal() error {
	c := bodyCodec
	if !u.inBody {
		u.inBody, u.head, c = true, uint32(len(*u.buf)), headerCodec
	}
	v := c.encode(nil, *u.buf)
	u.chunks = append(u.chunks, v)
	u.held += int64(len(v))
	*u.buf = (*u.buf)[:0]
	if u.held < stagedMax {
		return nil
	}
	return u.a.exec(func(f *files) error { return f.blobs.flush(u) })
}

// flush writes the chunks that wait to the disk. In the writer's goroutine.
func (b *blobStore) flush(u *Upload) error {
	if u.blob == 0 {
		if err := b.place(u); err != nil {
			return err
		}
	}
	if u.volume != 0 {
		return b.volumes.write([]*Upload{u})
	}
	err := b.f.mail.Update(func(tx *bolt.Tx) error {
		n, err := putChunks(tx, u)
		if err != nil {
			return err
		}
		b.bodies += n
		if err := tx.Bucket(bucketOpen).Put(keyBlob(u.blob), nil); err != nil {
			return err
		}
		return b.stamp(tx)
	})
	if err == nil {
		u.flushed += uint32(len(u.chunks))
		u.chunks, u.held = nil, 0
	}
	return err
}

// Close ends the message.
func (u *Upload) Close() error {
	if u.closed {
		return nil
	}
	if u.buf == nil {
		return errUploadClosed
	}
	if len(*u.buf) > 0 || !u.inBody {
		if err := u.seal(); err != nil {
			return err
		}
	}
	u.closed = true
	u.record = u.parser.Finish()
	f, err := u.a.acquire()
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, f.secret)
	f.release()
	mac.Write(u.hash.Sum(nil))
	copy(u.email[:], mac.Sum(nil))
	u.giveBack()
	return nil
}

func (u *Upload) giveBack() {
	if u.buf != nil {
		*u.buf = (*u.buf)[:0]
		chunkBuffers.Put(u.buf)
		parsers.Put(u.parser)
		u.buf, u.parser = nil, nil
	}
}

// Abort forgets the upload and what it has on disk.
func (u *Upload) Abort() {
	u.giveBack()
	u.closed = true
	u.chunks = nil
	if u.blob == 0 || u.done {
		return
	}
	u.done = true
	err := u.a.exec(func(f *files) error { return f.blobs.drop(u) })
	if err != nil && !errors.Is(err, ErrClosed) { // freed at the next open
		u.a.st.log.Warn("abort_failed", "account", string(u.a.id), "error", err)
	}
}

// drop removes the chunks of an upload without a row.
func (b *blobStore) drop(u *Upload) error {
	db := b.f.mail
	if u.volume != 0 {
		v := b.volumes.writable(u.volume)
		if v == nil {
			return nil // the account was closed and opened since: it is gone
		}
		db = v.db
	}
	var err error
	if u.flushed > 0 {
		err = db.Update(func(tx *bolt.Tx) error { return closeBlobs(tx, []BlobID{u.blob}, nil) })
	}
	if u.volume != 0 {
		err = errors.Join(err, b.volumes.done(u.volume, u.promised))
	}
	return err
}

// Size is the number of octets so far.
func (u *Upload) Size() int64 { return u.size }

// announced is the size that the volume must have room for.
func (u *Upload) announced() int64 {
	if u.expect < 0 && !u.closed {
		return u.a.st.opts.MaxMessage
	}
	return max(u.expect, u.size)
}

// staged is the number of octets that wait in memory.
func (u *Upload) staged() int64 { return u.held }

// EmailID is the message's EMAILID, after Close.
func (u *Upload) EmailID() EmailID { return u.email }

// Record is what was learned of the message, after Close.
func (u *Upload) Record() mail.Record { return u.record }
