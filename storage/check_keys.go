package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// indexBuckets are those that mail.db always has.
var indexBuckets = [][]byte{bucketMeta, bucketHeads, bucketChunks, bucketOpen, bucketMailboxes, bucketNames, bucketSubs,
	bucketRows, bucketKept, bucketBlocks, bucketLog, bucketIntents, bucketBlobs, bucketEmails, bucketRecords, bucketThreads}

// buckets: all are there, and the keys of those that no other step reads
// through are what they should be.
func (c *check) buckets() error {
	return c.view(func() error {
		for _, name := range indexBuckets {
			if c.tx.Bucket(name) == nil {
				c.find("mail.db has no %q", name)
			}
		}
		for _, b := range append(keyedBuckets(), smallBuckets...) {
			if err := eachFault(c.tx.Bucket(b.name), b.fault, func(k []byte, why string) {
				c.find("mail.db: %q: entry %x %s", b.name, k, why)
			}); err != nil {
				return err
			}
		}
		if lost := c.f.blobs.lostRuns(c.tx); len(lost) > 0 {
			c.find("mail.db lacks %d of the times at which it was opened", len(lost))
		}
		if meta := c.tx.Bucket(bucketMeta); meta != nil {
			for _, k := range smallKeys {
				if v := meta.Get([]byte(k.name)); v != nil && !k.sound(len(v)) {
					c.find("mail.db: %q has %d bytes", k.name, len(v))
				}
			}
			if string(meta.Get([]byte("account"))) != string(c.a.id) {
				c.find("mail.db says that it is account %q's", meta.Get([]byte("account")))
			}
		}
		return nil
	})
}

// lostRuns are runs that the account knows of and a state of mail.db doesn't:
// when it is opened next, volumes that were written in them are foreign.
func (b *blobStore) lostRuns(tx *bolt.Tx) (lost []run) {
	runs, counter := tx.Bucket(bucketRuns), getUint64(tx.Bucket(bucketMeta), "counter")
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.runs {
		if r.first <= counter && (runs == nil || string(runs.Get(r.key())) != string(le32(r.tag))) {
			lost = append(lost, r)
		}
	}
	return lost
}

func (r run) key() []byte { return binary.BigEndian.AppendUint64(nil, r.first) }

// keyLengths are those of the buckets' keys. Who walks through one ends at a
// key of another length.
var keyLengths = []struct {
	name   []byte
	length int
}{
	{bucketMailboxes, 16}, {bucketRows, 8}, {bucketKept, 8}, {bucketBlocks, 8}, {bucketLog, 16}, {bucketIntents, 4},
	{bucketBlobs, 8}, {bucketEmails, 16}, {bucketThreads, 8}, {bucketHeads, 8}, {bucketChunks, 8},
}

// A bucketFault is what can be wrong with an entry of a bucket.
type bucketFault struct {
	name  []byte
	fault func(k, v []byte) string
}

func keyedBuckets() (all []bucketFault) {
	for _, b := range keyLengths {
		all = append(all, bucketFault{b.name, func(k, _ []byte) string {
			if len(k) != b.length {
				return fmt.Sprintf("has a key of %d bytes", len(k))
			}
			return ""
		}})
	}
	return all
}

// smallBuckets are what can be wrong in buckets that are read whole at open.
var smallBuckets = []bucketFault{
	{bucketOpen, func(k, v []byte) string {
		switch {
		case len(k) != 8 || len(v) != 0 && len(v) != 2 && len(v) != 10:
			return "is damaged"
		}
		return ""
	}},
	{bucketRuns, func(k, v []byte) string {
		if len(k) != 8 || len(v) != 4 || binary.LittleEndian.Uint32(v) == 0 {
			return "is damaged"
		}
		return ""
	}},
}

// smallKeys are keys of meta that may be missing: how long they are, and what
// a repair makes of one that isn't.
var smallKeys = []struct {
	name  string
	sound func(n int) bool
	mend  func(w *txn, meta *bolt.Bucket) []byte // nil: it is taken out
	says  string
}{
	{"freed", func(n int) bool { return n == 0 }, func(*txn, *bolt.Bucket) []byte { return []byte{} },
		"removed mail may still be on free pages of mail.db"},
	{"renew", func(n int) bool { return n == 4 }, func(_ *txn, meta *bolt.Bucket) []byte { return le32(getUint32(meta, "validity")) },
		"every mailbox gets a new UIDVALIDITY when the account is opened next"},
	{"scrub", func(n int) bool { return n%2 == 0 }, func(w *txn, _ *bolt.Bucket) (all []byte) {
		for n := 0; n <= int(w.f.blobs.volumes.last); n++ {
			all = binary.LittleEndian.AppendUint16(all, uint16(n))
		}
		return all
	}, "the free pages of all volumes are to be overwritten"},
	{"search", func(n int) bool { return n == 16 }, nil, "the search index is made anew"},
	{"annotated", func(n int) bool { return n == 12 }, nil, "annotations are counted anew"},
	{"counter", func(n int) bool { return n == 8 }, func(w *txn, _ *bolt.Bucket) []byte {
		return binary.LittleEndian.AppendUint64(nil, w.f.blobs.counter.Load())
	}, "commits are counted on from the last"},
}

func eachFault(b *bolt.Bucket, fault func(k, v []byte) string, found func(k []byte, why string)) error {
	if b == nil {
		return nil
	}
	return paced(b, func(k, v []byte) error {
		if why := fault(k, v); why != "" {
			found(k, why)
		}
		return nil
	})
}

// mendBuckets makes what is missing, empty, and takes out entries that say
// nothing: later steps find what they said.
func (c *check) mendBuckets() error {
	err := c.write(func(w *txn) error {
		for _, name := range indexBuckets[1:] { // without meta there is no account
			if w.tx.Bucket(name) != nil {
				continue
			}
			w.dirty = true
			if _, err := w.tx.CreateBucket(name); err != nil {
				return err
			}
			c.did("%q is there again, empty", name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range append(keyedBuckets(), smallBuckets...) {
		if err := c.inKeys(b.name, func(_ *txn, _ *bolt.Bucket, k, v []byte) ([]change, error) {
			if b.fault(k, v) == "" {
				return nil, nil
			}
			c.did("%q: entry %x, which can't be read, is taken out", b.name, k)
			return []change{{bytes.Clone(k), nil}}, nil
		}); err != nil {
			return err
		}
	}
	return c.write(func(w *txn) error { return errors.Join(c.mendRuns(w), c.mendKeys(w)) })
}

// mendRuns writes down again when mail.db was opened.
func (c *check) mendRuns(w *txn) error {
	lost := w.f.blobs.lostRuns(w.tx)
	if len(lost) == 0 {
		return nil
	}
	runs, err := w.tx.CreateBucketIfNotExists(bucketRuns)
	if err != nil {
		return err
	}
	var all []change
	for _, r := range lost {
		all = append(all, change{r.key(), le32(r.tag)})
	}
	c.did("%d times at which mail.db was opened are listed again", len(lost))
	return putAll(w, runs, all)
}

// mendKeys mends keys of meta.
func (c *check) mendKeys(w *txn) error {
	meta := w.bucket(bucketMeta)
	var err error
	for _, k := range smallKeys {
		v := meta.Get([]byte(k.name))
		if v == nil || k.sound(len(v)) {
			continue
		}
		w.dirty = true
		c.did("mail.db: %q is mended: %s", k.name, k.says)
		if k.mend == nil {
			err = errors.Join(err, meta.Delete([]byte(k.name)))
		} else {
			err = errors.Join(err, meta.Put([]byte(k.name), k.mend(w, meta)))
		}
	}
	return err
}
