package storage

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// slice copies what was changed in the part that is copied, and the next part.
func (c *compaction) slice() error {
	if err := c.catchUp(); err != nil {
		return err
	}
	return c.copy.Update(func(tx *bolt.Tx) error {
		c.left = compactSlice
		err := c.fill(c.pin.now.tx.Cursor().Bucket(), tx.Cursor().Bucket(), "", c.at)
		c.synced += compactSlice - c.left
		if errors.Is(err, errSliceFull) {
			return nil
		}
		c.whole = err == nil
		return err
	})
}

// compactFill is how full pages are made: bodies stay as they are, in other
// buckets entries come between.
func compactFill(path treeKey) float64 {
	if path == "" {
		return fillAppend
	}
	switch name, _ := path.cut(); name {
	case "chunks", "heads":
		return 1
	}
	return fillAppend
}

// fill copies a bucket from the entry behind at on.
func (c *compaction) fill(src, dst *bolt.Bucket, path, at treeKey) error {
	if err := guardBucket(src.Tx(), src); err != nil {
		return err
	}
	cursor := src.Cursor()
	dst.FillPercent = compactFill(path)
	k, v := cursor.First()
	if at != "" {
		part, rest := at.cut()
		if k, v = cursor.Seek([]byte(part)); k != nil && string(k) == part {
			if v == nil {
				if err := c.fill(src.Bucket(k), dst.Bucket(k), path.add(k), rest); err != nil {
					return err
				}
			}
			k, v = cursor.Next()
		}
	}
	for ; k != nil; k, v = cursor.Next() {
		if c.left <= 0 {
			return errSliceFull
		}
		c.at = path.add(k)
		c.left -= len(k) + len(v) + pageHeader
		if v != nil {
			willNeed(v)
			if err := dst.Put(k, v); err != nil {
				return err
			}
			continue
		}
		sub, err := dst.CreateBucketIfNotExists(k)
		if err != nil {
			return err
		}
		if err := c.fill(src.Bucket(k), sub, c.at, ""); err != nil {
			return err
		}
	}
	return nil
}

// catchUp copies again what was changed in the part that is copied, in as many
// transactions as it takes.
func (c *compaction) catchUp() error { return c.catchUpUntil(time.Time{}) }

// catchUpUntil is catchUp that may end before it is done.
func (c *compaction) catchUpUntil(end time.Time) error {
	all := c.keys.sorted()
	for len(all) > 0 {
		if err := c.copy.Update(func(tx *bolt.Tx) (err error) {
			all, err = c.apply(tx, all)
			return err
		}); err != nil {
			return err
		}
		if !end.IsZero() && time.Now().After(end) {
			break
		}
	}
	clear(c.keys)
	for _, k := range all {
		c.keys[k] = struct{}{}
	}
	return nil
}

// apply copies entries, sorted, as the state that is held has them, and returns
// those that are too many for one transaction.
func (c *compaction) apply(tx *bolt.Tx, keys []treeKey) ([]treeKey, error) {
	octets := 0
	for i, k := range keys {
		if !c.whole && k.compare(c.at) > 0 {
			return nil, nil // it comes with the rest
		}
		if i == compactKeys || octets >= compactSlice {
			return keys[i:], nil
		}
		n, err := copyEntry(c.pin.now.tx.Cursor().Bucket(), tx.Cursor().Bucket(), k)
		if err != nil {
			return nil, err
		}
		octets += n
		c.synced += n
	}
	return nil, nil
}

// copyEntry makes one entry of dst what it is in src. What is in a new bucket
// are entries of their own.
func copyEntry(src, dst *bolt.Bucket, k treeKey) (octets int, err error) {
	fill := compactFill(k)
	for {
		part, rest := k.cut()
		key := []byte(part)
		if rest != "" {
			if src = src.Bucket(key); src == nil {
				return 0, nil // it went with its bucket
			}
			if dst = dst.Bucket(key); dst == nil {
				return 0, fmt.Errorf("%w: the copy lacks the bucket %q", ErrCorrupt, part)
			}
			k = rest
			continue
		}
		dst.FillPercent = fill
		have, want := dst.Get(key), src.Get(key)
		switch {
		case want != nil && have != nil && bytes.Equal(have, want):
		case want != nil:
			octets, err = len(want), dst.Put(key, want)
		case src.Bucket(key) != nil:
			_, err = dst.CreateBucketIfNotExists(key)
		case dst.Bucket(key) != nil:
			err = dst.DeleteBucket(key)
		default:
			err = dst.Delete(key)
		}
		return octets, err
	}
}
