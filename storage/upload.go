package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"slices"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

const (
	// stagedMax is how many octets of a message's chunks wait in memory; what
	// is more goes to the disk at once, under an id that nothing refers to yet.
	stagedMax = 256 << 10
	// stagedAll is how many octets all uploads of the process hold before
	// even small ones go to the disk early.
	stagedAll = 4 << 20
)

// stagedNow is what all uploads hold. Memory is the process's, so the count is.
var stagedNow atomic.Int64

var (
	errUploadClosed = errors.New("the upload is closed")
	errUploadOpen   = errors.New("the upload is not complete")
)

var (
	chunkBuffers = sync.Pool{New: func() any { b := make([]byte, 0, chunkBytes); return &b }}
	parsers      = sync.Pool{New: func() any { return mail.NewParser() }}
)

// An Upload takes a message's bytes as they come. After Close it goes into
// Append, which uses it up; Abort ends it otherwise. It holds about 0.5 MB of memory at most, however large the message.
// It is for one goroutine.
type Upload struct {
	a      *Account
	parser *mail.Parser
	hash   hash.Hash
	size   int64
	expect int64 // announced size, -1 for unknown
	closed bool
	err    error // the first failure, which ends the upload

	buf    *[]byte // the chunk that is filling
	inBody bool    // chunk 0 is complete
	head   uint32  // octets in chunk 0
	email  EmailID
	record mail.Record

	stage   []byte // chunks that wait for the disk, one after the other
	ends    []int  // where each of them ends
	written uint32 // how many chunks are on disk

	// files that hold chunks of a blob without a row stay open: the next
	// opening would free them.
	hold *files

	// Of the writer's goroutine, which the upload's waits for.
	blob    BlobID // 0 until the first write
	volume  uint16
	promise int64 // octets for which the volume has to have room
	octets  int64 // of the chunks on disk
	whole   bool  // the volume's list of open blobs says that all of it is there
	kept    bool  // the blob has its row
}

// NewUpload starts a message of size octets, -1 if not known.
func (a *Account) NewUpload(size int64) (*Upload, error) {
	if size > a.maxMessage() {
		return nil, ErrTooBig
	}
	if err := a.roomFor(size); err != nil {
		return nil, err
	}
	p := parsers.Get().(*mail.Parser)
	p.Reset()
	return &Upload{a: a, parser: p, hash: sha256.New(), expect: size, buf: chunkBuffers.Get().(*[]byte)}, nil
}

// MaxMessage is the octets of the largest message that the account takes.
func (a *Account) MaxMessage() int64 { return a.maxMessage() }

// maxMessage is the limit of a message, which must fit into a volume twice.
func (a *Account) maxMessage() int64 {
	return min(a.st.opts.MaxMessage, volumeLimit(&a.st.opts)/2)
}

// Write takes the next bytes of the message.
func (u *Upload) Write(p []byte) (int, error) {
	switch {
	case u.err != nil:
		return 0, u.err
	case u.closed:
		return 0, errUploadClosed
	case u.size+int64(len(p)) > u.a.maxMessage():
		u.err = ErrTooBig
		return 0, u.err
	}
	u.size += int64(len(p))
	u.parser.Write(p)
	u.hash.Write(p)
	for rest := p; len(rest) > 0; {
		n, err := u.fill(rest)
		if err != nil {
			u.err = err
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// fill puts bytes into the present chunk, and completes it when it is full or
// the header ends.
func (u *Upload) fill(p []byte) (int, error) {
	old := len(*u.buf)
	b := append(*u.buf, p[:min(len(p), chunkBytes-old)]...)
	end := -1
	if !u.inBody {
		end = headerEnd(b, old)
	}
	if end >= 0 {
		b = b[:end]
	}
	*u.buf = b
	if end >= 0 || len(b) == chunkBytes {
		return len(b) - old, u.complete()
	}
	return len(b) - old, nil
}

// headerEnd is where the empty line after the header ends in b, which is the
// beginning of the message; b was looked at up to seen before. Lines end in
// LF, as the parser has it, and the CR may be missing.
func headerEnd(b []byte, seen int) int {
	for i := max(0, seen-2); i < len(b); {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return -1
		}
		i += lf + 1
		// b[i-1] is an LF: is there nothing before it on its line?
		line := bytes.TrimSuffix(b[:i-1], []byte("\r"))
		if len(line) == 0 || line[len(line)-1] == '\n' {
			return i
		}
	}
	return -1
}

// complete makes a chunk of what the buffer holds.
func (u *Upload) complete() error {
	c := bodyCodec
	if !u.inBody {
		u.inBody, u.head, c = true, uint32(len(*u.buf)), headerCodec
	}
	old := len(u.stage)
	var err error
	if u.stage, err = c.encode(u.stage, *u.buf); err != nil {
		return err
	}
	u.ends = append(u.ends, len(u.stage))
	all := stagedNow.Add(int64(len(u.stage) - old))
	*u.buf = (*u.buf)[:0]
	if len(u.stage) < stagedMax && (all < stagedAll || len(u.stage) < chunkBytes) {
		return nil
	}
	return u.flush()
}

// flush has the staged chunks written to the disk.
func (u *Upload) flush() (err error) {
	if u.hold == nil {
		if u.hold, err = u.a.acquire(); err != nil {
			return err
		}
	}
	return u.a.exec(func(f *files) error {
		if u.blob == 0 {
			if err := f.blobs.place(u); err != nil {
				return err
			}
		}
		if err := f.blobs.write(u.volume, []*Upload{u}); err != nil || u.octets < trimAbove {
			return err
		}
		return f.trim(u.volume)
	})
}

// wrote forgets the staged chunks: they are on disk.
func (u *Upload) wrote() {
	u.written += uint32(len(u.ends))
	u.octets += int64(len(u.stage))
	u.unstage()
}

func (u *Upload) unstage() {
	stagedNow.Add(-int64(len(u.stage)))
	u.stage, u.ends = u.stage[:0], u.ends[:0]
	if u.closed {
		u.stage, u.ends = nil, nil
	}
}

// Close ends the message. Its EMAILID and record are known then.
func (u *Upload) Close() error {
	if u.err != nil || u.closed {
		return u.err
	}
	if u.err = u.finish(); u.err != nil {
		return u.err
	}
	u.closed = true
	u.giveBack()
	return nil
}

func (u *Upload) finish() error {
	if len(*u.buf) > 0 || !u.inBody {
		if err := u.complete(); err != nil {
			return err
		}
	}
	f, err := u.a.acquire()
	if err != nil {
		return err
	}
	u.email = emailOf(f.secret, u.hash.Sum(nil))
	f.release()
	u.record = u.parser.Finish()
	u.stage = slices.Clip(u.stage)
	if stagedNow.Load() > stagedAll {
		return u.flush()
	}
	return nil
}

func (u *Upload) giveBack() {
	if u.buf != nil {
		*u.buf = (*u.buf)[:0]
		chunkBuffers.Put(u.buf)
		parsers.Put(u.parser)
		u.buf, u.parser, u.hash = nil, nil, nil
	}
}

// Abort gives up the upload, with what it has on disk unless a mailbox took
// it. It can be called at any time and more than once.
func (u *Upload) Abort() {
	u.giveBack()
	u.closed = true
	if u.err == nil {
		u.err = errUploadClosed
	}
	if u.blob == 0 {
		u.unstage()
		return
	}
	err := u.a.exec(func(f *files) error { return f.blobs.end(u) })
	if err != nil && !errors.Is(err, ErrClosed) { // the next sweep, or open, frees it
		u.a.st.log.Warn("abort_failed", "account", string(u.a.id), "error", err)
	}
	if u.hold != nil { // end could not run: the files are of no use any more
		u.unstage()
		u.blob = 0
		u.hold.release()
		u.hold = nil
	}
}

// end forgets an upload. What it has on disk is removed, unless it became a
// blob.
func (b *blobStore) end(u *Upload) (err error) {
	u.unstage()
	if u.blob != 0 && !u.kept {
		err = b.drop(u)
	}
	u.blob = 0
	if u.hold != nil {
		u.hold.release()
		u.hold = nil
	}
	return err
}

// drop removes the chunks of an upload that got no row.
func (b *blobStore) drop(u *Upload) error {
	delete(b.live, u.blob)
	if u.written == 0 {
		return nil
	}
	if u.volume != 0 {
		return b.volumes.commit(u.volume, func(tx *bolt.Tx) error {
			_, err := freeChunks(tx, u.blob)
			return err
		})
	}
	return b.f.mail.Update(func(tx *bolt.Tx) error {
		octets, err := freeChunks(tx, u.blob)
		if err != nil {
			return err
		}
		if err := b.addBodies(tx, -octets); err != nil {
			return err
		}
		return b.stamp(tx)
	})
}

// freeChunks removes a blob's chunks from a volume, and from its open blobs.
func freeChunks(tx *bolt.Tx, id BlobID) (octets int64, err error) {
	key := keyBlob(id)
	heads, all := tx.Bucket(bucketHeads), tx.Bucket(bucketChunks)
	octets = int64(len(heads.Get(key)))
	if err := errors.Join(tx.Bucket(bucketOpen).Delete(key), heads.Delete(key), tx.Bucket(bucketMeta).Put(keyFreed, nil)); err != nil {
		return 0, err
	}
	chunks := all.Bucket(key)
	if chunks == nil {
		return octets, nil
	}
	if err := guardBucket(tx, chunks); err != nil {
		return 0, err
	}
	err = chunks.ForEach(func(_, v []byte) error {
		octets += int64(len(v))
		return nil
	})
	return octets, errors.Join(err, all.DeleteBucket(key))
}

// Size is the number of octets so far.
func (u *Upload) Size() int64 { return u.size }

// expected is the size that the volume must have room for.
func (u *Upload) expected() int64 {
	switch {
	case u.closed:
		return u.octets + int64(len(u.stage))
	case u.expect < 0:
		return u.a.maxMessage()
	}
	return max(u.expect, u.size)
}

// staged is the number of octets that wait in memory.
func (u *Upload) staged() int64 { return int64(len(u.stage)) }

// EmailID is the message's EMAILID, after Close.
func (u *Upload) EmailID() EmailID { return u.email }

// Record is what was learned of the message, after Close.
func (u *Upload) Record() mail.Record { return u.record }
