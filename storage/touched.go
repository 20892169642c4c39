package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// A Touch is an entry of the change log: what happened to the UIDs from UID to
// Last, not each of which need exist.
type Touch struct {
	UID, Last imap.UID
	ModSeq    ModSeq
	Expunged  bool // else they were added, or their flags changed
}

// Touched reads the change log of a space with since < MODSEQ <= upTo, and no
// message row: a client that asks what changed costs what changed. Entries are
// appended to dst while it has room; those of one MODSEQ stay together. The log
// is read up to the MODSEQ through, to go on from if it is below upTo. A UID may
// be named more than once, and one that was added may be gone by now.
func (a *Account) Touched(space Space, since, upTo ModSeq, dst []Touch) (_ []Touch, through ModSeq, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		var more bool
		if dst, more, err = readTouches(tx, space, since, upTo, dst); err != nil {
			return err
		}
		if through = upTo; more {
			through = dst[len(dst)-1].ModSeq
		}
		for _, c := range f.overlay.changes(space, since, through, nil) {
			dst = append(dst, Touch{UID: c.UID, Last: c.UID, ModSeq: c.ModSeq})
		}
		return nil
	})
	return dst, through, err
}

func readTouches(tx *bolt.Tx, space Space, since, upTo ModSeq, dst []Touch) (_ []Touch, more bool, err error) {
	c := tx.Bucket(bucketLog).Cursor()
	prefix := keyUID(space, 0)[:4]
	room := max(cap(dst)-len(dst), 1)
	first := len(dst)
	for k, v := c.Seek(keyLog(space, since+1, 0)); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		at := ModSeq(binary.BigEndian.Uint64(k[4:]))
		if at > upTo {
			break
		}
		if len(dst)-first >= room && dst[len(dst)-1].ModSeq != at {
			return dst, true, nil
		}
		t := Touch{UID: imap.UID(binary.BigEndian.Uint32(k[12:])), ModSeq: at}
		t.Last = t.UID
		switch {
		case len(v) == 0:
			return dst, false, fmt.Errorf("%w: log of space %d", ErrCorrupt, space)
		case len(v) == 5:
			t.Last = imap.UID(binary.LittleEndian.Uint32(v[1:]))
		}
		t.Expunged = v[0] == logExpunge || v[0] == logGone
		dst = append(dst, t)
	}
	return dst, false, nil
}
