package storage

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// repairOctets is how much of values one transaction of a repair reads.
const repairOctets = 1 << 20

// A change is a row that a repair writes, or with a nil value removes.
type change struct{ key, value []byte }

// inKeys goes through a bucket in transactions of some rows. fn returns what
// is to change; get gives the bucket, nil if there is none.
func (c *check) inKeys(name []byte, fn func(w *txn, b *bolt.Bucket, k, v []byte) ([]change, error)) error {
	for next := []byte{}; next != nil; {
		err := c.write(func(w *txn) error {
			b := w.tx.Bucket(name)
			if b == nil {
				next = nil
				return nil
			}
			var all []change
			cur := b.Cursor()
			k, v := cur.Seek(next)
			for n, octets := 0, 0; k != nil && n < repairSlice && octets < repairOctets; n++ {
				octets += len(v)
				changes, err := fn(w, b, k, v)
				if err != nil {
					return err
				}
				all = append(all, changes...)
				k, v = cur.Next()
			}
			next = bytes.Clone(k)
			return putAll(w, b, all)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func putAll(w *txn, b *bolt.Bucket, all []change) error {
	for _, ch := range all {
		w.dirty = true
		err := error(nil)
		if ch.value == nil {
			if err = b.Delete(ch.key); errors.Is(err, berrors.ErrIncompatibleValue) {
				err = b.DeleteBucket(ch.key) // pieces of a body that no key leads to
			}
		} else {
			err = b.Put(ch.key, ch.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mendAnnotations takes out what can't be read or has no mailbox, and makes
// the log and the count of the others anew.
func (c *check) mendAnnotations() error {
	if err := c.write(func(w *txn) error {
		rows, log := w.tx.Bucket(bucketAnnotations), w.tx.Bucket(bucketAnnotationLog)
		if (rows == nil) == (log == nil) {
			return nil
		}
		w.dirty = true
		_, _, err := annotationBuckets(w.tx)
		return err
	}); err != nil {
		return err
	}
	if err := c.inKeys(bucketAnnotations, c.mendAnnotation); err != nil {
		return err
	}
	if err := c.inKeys(bucketAnnotationLog, func(w *txn, _ *bolt.Bucket, k, v []byte) ([]change, error) {
		if lookAtAnnotations(w.here(), w.tx).entry(k, v) != "" {
			return []change{{bytes.Clone(k), nil}}, nil
		}
		return nil, nil
	}); err != nil {
		return err
	}
	return c.mendAnnotated()
}

// here is the account's files with the MODSEQs of the transaction.
func (w *txn) here() *files {
	return &files{a: w.f.a, modseq: max(w.modseq, w.f.modseq), overlay: w.f.overlay}
}

// mendAnnotation is what becomes of one row: nothing if it is sound.
func (c *check) mendAnnotation(w *txn, _ *bolt.Bucket, k, v []byte) ([]change, error) {
	l := lookAtAnnotations(w.here(), w.tx)
	fault, at, logKey := l.row(k, v)
	id, login, entry, _ := cutAnnotationKey(k)
	key, value := bytes.Clone(k), []byte(nil)
	if fault == annotationBadRow {
		readable := func(v []byte) bool { _, _, _, err := decodeAnnotation(key, v); return err == nil }
		if mended, ok := mendByte(v, readable); ok {
			c.did("annotation %q of mailbox %s is mended: one byte had changed", entry, id)
			value = mended
			fault, at, logKey = l.row(key, value)
		}
	}
	box := "the account"
	if id != (MailboxID{}) {
		box = fmt.Sprint("mailbox ", id)
	}
	switch fault {
	case annotationBadKey, annotationBadRow:
		c.did("annotation %q of %s can't be read and is taken out", entry, box)
		return []change{{key, nil}}, nil
	case annotationOwnerless:
		c.did("annotation %q of %s, which is not there, is taken out", entry, box)
		return []change{{key, nil}}, nil
	case annotationAhead:
		row := v
		if value != nil {
			row = value
		}
		_, name, octets, err := decodeAnnotation(key, row)
		if err != nil {
			return nil, err
		}
		old := at
		at = w.next()
		value = encodeAnnotation(key, at, &Annotation{Entry: string(name), Login: login, Value: bytes.Clone(octets)})
		logKey = annotationLogKey(at, key)
		c.did("annotation %q of %s has MODSEQ %d instead of %d", entry, box, at, old)
	}
	if fault == annotationAhead || fault == annotationUnlogged {
		w.dirty = true
		if err := w.tx.Bucket(bucketAnnotationLog).Put(logKey, nil); err != nil {
			return nil, err
		}
	}
	if value == nil {
		return nil, nil
	}
	return []change{{key, value}}, nil
}

// mendAnnotated corrects the count by how much it is wrong: others write
// meanwhile.
func (c *check) mendAnnotated() error {
	var counted, there annotationCount
	if err := c.view(func() error {
		counted, there = lookAtAnnotations(c.f, c.tx).counts()
		return nil
	}); err != nil || counted == there {
		return err
	}
	c.did("annotations are counted anew: %d octets", there.octets)
	return c.write(func(w *txn) error {
		now := readAnnotationCount(w.tx)
		w.dirty = true
		return annotationCount{now.octets + there.octets - counted.octets, now.gone + there.gone - counted.gone}.put(w.tx)
	})
}
