package storage

import (
	"bytes"
	"encoding/binary"
	"errors"

	bolt "go.etcd.io/bbolt"
)

// The log of annotations says which entries changed, in the order of their
// MODSEQs, for sessions that want to be told (RFC 5464 §4.4.2). Of each entry
// it has the last change. Entries that lost their value are remembered for a
// while only.

// annotated is how many octets the account's annotations have, with their keys.
func (w *txn) annotated() int64 {
	v := w.bucket(bucketMeta).Get([]byte("annotated"))
	if len(v) < 12 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(v))
}

// An annotationWriter changes annotations and their log at one MODSEQ.
type annotationWriter struct {
	w         *txn
	rows, log *bolt.Bucket
	at        ModSeq // 0 until something changes
	octets    int64  // more than before
	gone      int    // more in the log than before
	err       error
}

func (x *annotationWriter) modSeq() ModSeq {
	if x.at == 0 {
		x.at = x.w.next()
	}
	return x.at
}

// touch notes that a mailbox changed.
func (x *annotationWriter) touch(m *Mailbox) {
	at := x.modSeq()
	if m != nil {
		x.w.change(m, at)
	}
}

// note logs a change of an entry; forget: nothing else says when it was.
func (x *annotationWriter) note(key []byte, forget bool) {
	entry := append(binary.BigEndian.AppendUint64(nil, uint64(x.modSeq())), key...)
	var v []byte
	if forget {
		v = []byte{1}
		x.gone++
	}
	x.err = errors.Join(x.err, x.log.Put(entry, v))
}

// put gives an entry its value.
func (x *annotationWriter) put(key []byte, an *Annotation, m *Mailbox) {
	was := x.rows.Get(key)
	if was == nil && an.Value == nil {
		return
	}
	if was != nil {
		_, name, value, err := decodeAnnotation(key, was)
		if err == nil && an.Value != nil && bytes.Equal(value, an.Value) && string(name) == an.Entry {
			return
		}
		x.unlog(key, was)
		x.octets -= int64(len(key) + len(was))
	}
	x.touch(m)
	if an.Value == nil {
		x.err = errors.Join(x.err, x.rows.Delete(key))
	} else {
		row := encodeAnnotation(key, x.at, an)
		x.octets += int64(len(key) + len(row))
		x.err = errors.Join(x.err, x.rows.Put(key, row))
	}
	x.note(key, an.Value == nil)
}

// unlog removes the log's entry of a row.
func (x *annotationWriter) unlog(key, row []byte) {
	if len(row) >= 8 {
		at := binary.LittleEndian.Uint64(row)
		x.err = errors.Join(x.err, x.log.Delete(append(binary.BigEndian.AppendUint64(nil, at), key...)))
	}
}

// finish counts, and wakes who watches the account's annotations.
func (x *annotationWriter) finish() error {
	if x.at == 0 && x.octets == 0 {
		return nil
	}
	x.w.dirty = true
	x.w.boxes[AnnotationsOf] = &boxState{touched: true, deleted: true}
	meta := x.w.bucket(bucketMeta)
	gone := x.gone
	if v := meta.Get([]byte("annotated")); len(v) >= 12 {
		gone += int(binary.LittleEndian.Uint32(v[8:]))
	}
	if gone > annotationGone {
		n, err := x.forget(annotationGone / 2)
		if err != nil {
			return err
		}
		gone -= n
	}
	v := binary.LittleEndian.AppendUint64(nil, uint64(max(x.w.annotated()+x.octets, 0)))
	return meta.Put([]byte("annotated"), binary.LittleEndian.AppendUint32(v, uint32(max(gone, 0))))
}

// forget removes the oldest entries without a value from the log.
func (x *annotationWriter) forget(most int) (n int, err error) {
	var old [][]byte
	c := x.log.Cursor()
	for k, v := c.First(); k != nil && len(old) < most; k, v = c.Next() {
		if len(v) > 0 {
			old = append(old, bytes.Clone(k))
		}
	}
	for _, k := range old {
		err = errors.Join(err, x.log.Delete(k))
	}
	return len(old), err
}

// dropAnnotations removes those of a mailbox that is deleted (RFC 5464 §4.1).
func (w *txn) dropAnnotations(id MailboxID) error {
	if w.tx.Bucket(bucketAnnotations) == nil {
		return nil
	}
	rows, log, err := annotationBuckets(w.tx)
	if err != nil {
		return err
	}
	x := &annotationWriter{w: w, rows: rows, log: log}
	var keys [][]byte
	c := rows.Cursor()
	for k, v := c.Seek(id[:]); bytes.HasPrefix(k, id[:]); k, v = c.Next() {
		keys = append(keys, bytes.Clone(k))
		x.octets -= int64(len(k) + len(v))
		x.unlog(k, v)
	}
	for _, k := range keys {
		x.err = errors.Join(x.err, rows.Delete(k))
	}
	return errors.Join(x.err, x.finish())
}

// copyAnnotations gives a mailbox those of another (RFC 5464 §4.1: INBOX that is
// renamed keeps its own, and the new mailbox gets them too).
func (w *txn) copyAnnotations(from MailboxID, to *Mailbox) error {
	if w.tx.Bucket(bucketAnnotations) == nil {
		return nil
	}
	rows, log, err := annotationBuckets(w.tx)
	if err != nil {
		return err
	}
	x := &annotationWriter{w: w, rows: rows, log: log}
	type entry struct {
		key []byte
		an  Annotation
	}
	var all []entry
	c := rows.Cursor()
	for k, v := c.Seek(from[:]); bytes.HasPrefix(k, from[:]); k, v = c.Next() {
		_, name, value, err := decodeAnnotation(k, v)
		if err != nil {
			continue // the mailbox is worth more than a damaged comment
		}
		key := append(bytes.Clone(to.ID[:]), k[16:]...)
		all = append(all, entry{key, Annotation{Entry: string(name), Value: append([]byte{}, value...)}})
	}
	for i := range all {
		x.put(all[i].key, &all[i].an, to)
	}
	return errors.Join(x.err, x.finish())
}

// An AnnotationChange says that an entry was set or lost its value.
type AnnotationChange struct {
	Mailbox MailboxID // zero: the account
	Entry   string    // as it was set
	ModSeq  ModSeq
}

// AnnotationsOf is what is watched to be woken after each change of an annotation
// of the account: no mailbox has that id.
var AnnotationsOf = MailboxID{0xff, 'a', 'n', 'n', 'o', 't', 'a', 't', 'i', 'o', 'n', 's'}

// AnnotationsAt is the MODSEQ of the last change of an annotation.
func (a *Account) AnnotationsAt() (at ModSeq, err error) {
	err = a.read(func(_ *files, tx *bolt.Tx) error {
		if log := tx.Bucket(bucketAnnotationLog); log != nil {
			if k, _ := log.Cursor().Last(); len(k) >= 8 {
				at = ModSeq(binary.BigEndian.Uint64(k))
			}
		}
		return nil
	})
	return at, err
}

// AnnotationChanges lists the entries that a login may see and that changed
// since a MODSEQ, at most ReadRows and a MODSEQ's whole; more tells that there
// are others, after upTo.
func (a *Account) AnnotationChanges(since ModSeq, login AccountID) (changes []AnnotationChange, upTo ModSeq, more bool, err error) {
	upTo = since
	err = a.read(func(_ *files, tx *bolt.Tx) error {
		log := tx.Bucket(bucketAnnotationLog)
		if log == nil {
			return nil
		}
		rows, c := tx.Bucket(bucketAnnotations), log.Cursor()
		for k, _ := c.Seek(binary.BigEndian.AppendUint64(nil, uint64(since)+1)); len(k) >= 8; k, _ = c.Next() {
			at := ModSeq(binary.BigEndian.Uint64(k))
			if len(changes) >= ReadRows && at != upTo {
				more = true
				break
			}
			upTo = at
			id, owner, entry, ok := cutAnnotationKey(k[8:])
			if !ok {
				return ErrCorrupt
			}
			if owner != "" && owner != login {
				continue
			}
			if _, name, _, err := decodeAnnotation(k[8:], rows.Get(k[8:])); err == nil {
				entry = string(name)
			}
			changes = append(changes, AnnotationChange{Mailbox: id, Entry: entry, ModSeq: at})
		}
		return nil
	})
	return changes, upTo, more, err
}
