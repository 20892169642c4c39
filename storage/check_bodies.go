package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

func imapUID(k []byte) imap.UID { return imap.UID(binary.BigEndian.Uint32(k[4:])) }

// eachBlob calls fn with the rows of all blobs, ReadRows of a transaction at a
// time.
func (c *check) eachBlob(fn func(f *files, ids []BlobID, rows []blobRow) error) error {
	f, err := c.a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	for next := BlobID(0); ; {
		var ids []BlobID
		var rows []blobRow
		err := f.viewVolume(0, func(tx *bolt.Tx) error {
			cur := tx.Bucket(bucketBlobs).Cursor()
			for k, v := cur.Seek(keyBlob(next)); len(k) == 8 && len(ids) < ReadRows; k, v = cur.Next() {
				if row, err := decodeBlobRow(v); err == nil {
					ids, rows = append(ids, BlobID(binary.BigEndian.Uint64(k))), append(rows, row)
				}
				next = BlobID(binary.BigEndian.Uint64(k)) + 1
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := fn(f, ids, rows); err != nil {
			return err
		}
	}
}

// bodies reads every message from its first to its last octet.
func (c *check) bodies() error {
	bad := map[BlobID]error{}
	read := int64(0)
	err := c.eachBlob(func(f *files, ids []BlobID, rows []blobRow) error {
		for i, id := range ids {
			err := c.body(f, id)
			switch {
			case c.ctx.Err() != nil, c.failed != nil:
				return errorOr(c.ctx.Err(), c.failed)
			case isClosed(err):
				return err
			case err != nil && !errors.Is(err, ErrNoMessage) && len(bad) < findingsEach:
				bad[id] = err
			}
			c.flush()
			runtime.Gosched()
			if read += rows[i].size; read >= 8<<20 { // let the pages go
				read = 0
				if err := errors.Join(f.trim(0), ignoreUnavailable(f.trim(rows[i].volume))); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return errors.Join(err, c.nameBad(bad))
}

func ignoreUnavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return nil
	}
	return err
}

// body reads a message, and sees that it is the one of its EMAILID.
func (c *check) body(f *files, id BlobID) error {
	b, err := f.blob(id)
	if err != nil {
		return err
	}
	defer b.Close()
	sum := sha256.New()
	if _, err := b.WriteRange(sum, 0, b.Size()); err != nil {
		return err
	}
	if emailOf(f.secret, sum.Sum(nil)) != b.row.email {
		return fmt.Errorf("%w: its octets are not those of its EMAILID", ErrCorrupt)
	}
	return nil
}

// nameBad says which messages have the blobs that can't be read.
func (c *check) nameBad(bad map[BlobID]error) error {
	if len(bad) == 0 {
		return nil
	}
	return c.view(func() error {
		told := map[BlobID]bool{}
		_ = c.tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
			m, err := c.f.mailboxRow(c.tx, MailboxID(id))
			if err != nil {
				return nil
			}
			c.f.sumRows(c.tx, m.Space, func(r *Row) {
				if err := bad[r.Blob]; err != nil {
					c.find("%s: UID %d can't be read: %v", m.Name, r.UID, err)
					told[r.Blob] = true
				}
			})
			return nil
		})
		for _, id := range slices.Sorted(maps.Keys(bad)) {
			if !told[id] {
				c.find("an expunged message can't be read: %v", bad[id])
			}
		}
		return nil
	})
}

// volumes: the trees of each body volume, whether it is as the index knows it
// and, of a quick check, whether the blobs are there.
func (c *check) volumes() error {
	f, err := c.a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	vs := &f.blobs.volumes
	last := uint16(0)
	if err := c.a.exec(func(f *files) error { last = f.blobs.volumes.last; return nil }); err != nil {
		return err
	}
	for n := uint16(1); n != 0 && n <= last; n++ {
		v, err := vs.get(n)
		if err == nil {
			var state volumeState
			if state, err = v.state(); err == nil && (state.behind || state.ahead) {
				c.find("%s is not as the index knows it: behind %v, ahead %v", v.path, state.behind, state.ahead)
			}
		}
		if err == nil {
			err = c.auditVolume(v)
		}
		if c.stopped(err) != nil {
			return err
		}
		if err != nil && (vs.lastSeen(n) > 0 || !errors.Is(err, ErrUnavailable)) {
			c.find("volume %d, which has %d messages: %v", n, c.refs.volumes[n], err)
		}
	}
	if !c.quick {
		return nil
	}
	return c.eachBlob(c.stored)
}

// stored looks for the first and the last chunk of each blob.
func (c *check) stored(f *files, ids []BlobID, rows []blobRow) error {
	of := map[uint16][]int{}
	for i := range rows {
		of[rows[i].volume] = append(of[rows[i].volume], i)
	}
	for n, list := range of {
		var bad []error
		err := f.viewVolume(n, func(tx *bolt.Tx) error {
			for _, i := range list {
				if err := rows[i].stored(tx, ids[i]); err != nil && f.blobs.pin(ids[i]) {
					f.blobs.unpin(ids[i])
					bad = append(bad, err)
				}
			}
			return nil
		})
		if stop := c.stopped(err); stop != nil {
			return stop
		}
		for _, err := range bad {
			c.find("%v", err)
		}
	}
	return nil
}

// auditTries is how often the pages of a sealed volume are walked without
// holding it, in case it is written to meanwhile.
const auditTries = 3

// auditVolume audits the trees of a volume. The one that is written to is held
// by a transaction; a sealed one must not be held, as the writer would wait to
// open it, and is read again if it changed.
func (c *check) auditVolume(v *volume) error {
	for try := 0; ; try++ {
		found, again, err := c.tryAudit(v, try == auditTries)
		if again && err == nil {
			continue
		}
		for _, f := range found {
			c.find("%s", f.Text)
		}
		return err
	}
}

func (c *check) tryAudit(v *volume, hold bool) (found []Finding, again bool, err error) {
	r := &checkReport{ctx: c.ctx, tell: func(f Finding) error {
		found = append(found, f)
		return nil
	}}
	var pin *pinned
	var state []byte
	begin := func(*files) error {
		p, err := v.beginPin()
		if err != nil {
			return err
		}
		if v.write || hold {
			pin = p
			return nil
		}
		state, err = p.metaPages()
		p.close()
		return err
	}
	if err := c.a.exec(begin); err != nil {
		return nil, false, err
	}
	if pin != nil {
		err = r.auditPages(v.path, pin)
		pin.close()
		r.flush()
		return found, false, err
	}
	if err := r.auditSealed(v.path, state); err != nil {
		return found, false, err
	}
	r.flush()
	before := state
	if err := c.a.exec(begin); err != nil {
		return found, false, err
	}
	if pin != nil { // it was opened for writing meanwhile
		pin.close()
		return found, true, nil
	}
	return found, string(before) != string(state), nil
}
