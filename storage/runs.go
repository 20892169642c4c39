package storage

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	bolt "go.etcd.io/bbolt"
)

// Counters tell an older file from a newer one only while all files come from
// one history. When an older copy of mail.db has been put back and mail came
// in since, the counters have gone on, and the same blob ids stand for other
// messages than in the files of the time before. So each run has a random
// tag: a run is the time from one opening of the account's files to the next,
// unless the files are found as this process left them.
//
//   - mail.db lists its runs with the counter at which they began. A volume that
//     was last written in a run that mail.db doesn't know, or knows to have
//     ended earlier, comes from another history: it is ahead, for good.
//   - A volume lists the runs in which it got blobs, and a blob row names the
//     run of its bytes. So no blob is taken for another one of the same id.
type run struct {
	first uint64 // the commit of mail.db with which it began
	tag   uint32 // 0 is none's: files that were made before there were runs
}

// left is how a process left an account's files when it closed them.
type left struct {
	counter uint64
	tag     uint32
}

// startRun reads mail.db's runs when it is opened, and chooses this one's tag.
func (b *blobStore) startRun(tx *bolt.Tx, was left) {
	if runs := tx.Bucket(bucketRuns); runs != nil {
		_ = runs.ForEach(func(k, v []byte) error {
			if len(k) == 8 && len(v) == 4 {
				b.runs = append(b.runs, run{binary.BigEndian.Uint64(k), binary.LittleEndian.Uint32(v)})
			}
			return nil
		})
	}
	if n := len(b.runs); n > 0 && b.runs[n-1].tag == was.tag && b.counter.Load() == was.counter {
		b.run, b.begun = was.tag, true
		return
	}
	for b.run == 0 {
		b.run = rand.Uint32()
	}
}

// stampRun is part of a commit of mail.db, the counter's: the first one of a
// run lists it.
func (b *blobStore) stampRun(tx *bolt.Tx, counter uint64) error {
	if b.begun {
		return nil
	}
	runs, err := tx.CreateBucketIfNotExists(bucketRuns)
	if err != nil {
		return err
	}
	tx.OnCommit(func() {
		b.begun = true
		b.mu.Lock()
		defer b.mu.Unlock()
		b.runs = append(b.runs, run{counter, b.run})
	})
	return runs.Put(binary.BigEndian.AppendUint64(nil, counter), le32(b.run))
}

// begin makes sure that mail.db lists the run before a volume does. Else a
// crash would leave a volume that seems to come from another history.
func (b *blobStore) begin() error {
	if b.begun {
		return nil
	}
	return b.f.mail.Update(b.stamp)
}

// knows reports whether a file that was written in the run tag, when mail.db
// had made index commits, is of this mail.db's past.
func (b *blobStore) knows(tag uint32, index uint64) bool {
	end := b.counter.Load()
	if tag == 0 {
		return index <= end
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.runs) - 1; i >= 0; i-- {
		if b.runs[i].tag == tag {
			return index <= end
		}
		end = b.runs[i].first - 1
	}
	return false
}

// markRun notes in a volume that a blob's bytes were written in this run.
func (b *blobStore) markRun(tx *bolt.Tx, id BlobID) error {
	runs, err := tx.CreateBucketIfNotExists(bucketRuns)
	if err != nil {
		return err
	}
	if runOf(runs, id) == b.run {
		return nil
	}
	return runs.Put(keyBlob(id), le32(b.run))
}

// runOf is the run in which a volume got a blob.
func runOf(runs *bolt.Bucket, id BlobID) uint32 {
	c := runs.Cursor()
	key := keyBlob(id)
	k, v := c.Seek(key)
	switch {
	case k == nil:
		_, v = c.Last()
	case string(k) != string(key):
		_, v = c.Prev()
	}
	if len(v) != 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(v)
}

// owns reports, as an error, whether the blob that a volume has under an id is
// the row's.
func (r *blobRow) owns(tx *bolt.Tx, id BlobID) error {
	if r.run == 0 || r.volume == 0 {
		return nil
	}
	if runs := tx.Bucket(bucketRuns); runs != nil && runOf(runs, id) != r.run {
		return fmt.Errorf("%w: body-%04d.db has another message as blob %d: it was put here from another time", ErrUnavailable, r.volume, id)
	}
	return nil
}
