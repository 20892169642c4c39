package storage

import (
	"bytes"
	"encoding/binary"
	"errors"

	bolt "go.etcd.io/bbolt"
)

// An annotationLook goes through annotations and their log, and says of each
// entry what is wrong with it. Check tells it, a repair mends it.
type annotationLook struct {
	f         *files
	tx        *bolt.Tx
	rows, log *bolt.Bucket
}

func lookAtAnnotations(f *files, tx *bolt.Tx) *annotationLook {
	return &annotationLook{f, tx, tx.Bucket(bucketAnnotations), tx.Bucket(bucketAnnotationLog)}
}

// What is wrong with an annotation.
type annotationFault int

const (
	annotationSound annotationFault = iota
	annotationBadKey
	annotationBadRow
	annotationOwnerless
	annotationAhead    // its MODSEQ is above the account's
	annotationUnlogged // the log lacks it
)

// row looks at an annotation; logKey is its place in the log.
func (l *annotationLook) row(k, v []byte) (fault annotationFault, at ModSeq, logKey []byte) {
	id, _, _, ok := cutAnnotationKey(k)
	if !ok {
		return annotationBadKey, 0, nil
	}
	at, _, _, err := decodeAnnotation(k, v)
	logKey = annotationLogKey(at, k)
	switch {
	case err != nil:
		return annotationBadRow, 0, nil
	case id != (MailboxID{}) && l.ownerless(id):
		return annotationOwnerless, at, logKey
	case at == 0 || at > l.f.modseq:
		return annotationAhead, at, logKey
	case l.log == nil:
		return annotationUnlogged, at, logKey
	}
	if got, _ := l.log.Cursor().Seek(logKey); !bytes.Equal(got, logKey) {
		return annotationUnlogged, at, logKey
	}
	return annotationSound, at, logKey
}

func annotationLogKey(at ModSeq, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), key...)
}

func (l *annotationLook) ownerless(id MailboxID) bool {
	_, err := l.f.mailboxRow(l.tx, id)
	return errors.Is(err, ErrNoMailbox)
}

// entry says what is wrong with an entry of the log, "" if nothing is.
func (l *annotationLook) entry(k, v []byte) string {
	if len(k) < 8 || len(v) > 1 || len(v) == 1 && v[0] != 1 {
		return "is damaged"
	}
	at := ModSeq(binary.BigEndian.Uint64(k))
	if _, _, _, ok := cutAnnotationKey(k[8:]); !ok || at == 0 {
		return "is damaged"
	}
	if at > l.f.modseq {
		return "has a MODSEQ above the account's"
	}
	if len(v) == 1 {
		return ""
	}
	var row []byte
	if l.rows != nil {
		row = l.rows.Get(k[8:])
	}
	if row == nil {
		return "is of an annotation that is not there"
	}
	if got, _, _, err := decodeAnnotation(k[8:], row); err == nil && got != at {
		return "is of an earlier value"
	}
	return ""
}

// An annotationCount is meta "annotated".
type annotationCount struct {
	octets int64
	gone   int
}

// counts are what is counted, and what is there.
func (l *annotationLook) counts() (counted, there annotationCount) {
	if l.rows != nil {
		_ = paced(l.rows, func(k, v []byte) error {
			there.octets += int64(len(k) + len(v))
			return nil
		})
	}
	if l.log != nil {
		_ = paced(l.log, func(_, v []byte) error {
			if len(v) > 0 {
				there.gone++
			}
			return nil
		})
	}
	return readAnnotationCount(l.tx), there
}

func readAnnotationCount(tx *bolt.Tx) annotationCount {
	v := append(bytes.Clone(tx.Bucket(bucketMeta).Get([]byte("annotated"))), make([]byte, 12)...)
	return annotationCount{int64(binary.LittleEndian.Uint64(v)), int(binary.LittleEndian.Uint32(v[8:]))}
}

func (n annotationCount) put(tx *bolt.Tx) error {
	v := binary.LittleEndian.AppendUint64(nil, uint64(max(n.octets, 0)))
	return tx.Bucket(bucketMeta).Put([]byte("annotated"), binary.LittleEndian.AppendUint32(v, uint32(max(n.gone, 0))))
}

// annotations: each belongs to a mailbox and is in the log, and they are
// counted right.
func (c *check) annotations() error {
	return c.view(func() error {
		l := lookAtAnnotations(c.f, c.tx)
		if (l.rows == nil) != (l.log == nil) {
			c.find("annotations are there without their log, or the log without them")
		}
		if l.rows != nil {
			if err := paced(l.rows, func(k, v []byte) error {
				c.annotation(l, k, v)
				return c.failed
			}); err != nil {
				return err
			}
		}
		if l.log != nil {
			if err := paced(l.log, func(k, v []byte) error {
				if why := l.entry(k, v); why != "" {
					c.find("the log of annotations: entry %q %s", k, why)
				}
				return c.failed
			}); err != nil {
				return err
			}
		}
		if got, of := l.counts(); got != of {
			c.find("annotations are counted as %d octets and %d forgotten, and are %d and %d", got.octets, got.gone, of.octets, of.gone)
		}
		return nil
	})
}

// annotation tells what is wrong with one.
func (c *check) annotation(l *annotationLook, k, v []byte) {
	fault, at, _ := l.row(k, v)
	id, _, entry, _ := cutAnnotationKey(k)
	switch fault {
	case annotationBadKey:
		c.find("annotation %x: its key is damaged", k)
	case annotationBadRow:
		c.find("annotation %q of mailbox %s: damaged", entry, id)
	case annotationOwnerless:
		c.find("annotation %q belongs to mailbox %s, which is not there", entry, id)
	case annotationAhead:
		c.find("annotation %q of mailbox %s has MODSEQ %d, the account's is %d", entry, id, at, c.f.modseq)
	case annotationUnlogged:
		c.find("annotation %q of mailbox %s is not in the log", entry, id)
	}
}
