package storage

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// annotations writes those of a mailbox, or with the zero id of the account,
// one at a time.
func (x *portableAccount) annotations(id MailboxID) error {
	at := id[:]
	for {
		var b, next []byte
		err := x.a.read(func(_ *files, tx *bolt.Tx) error {
			rows := tx.Bucket(bucketAnnotations)
			if rows == nil {
				return nil
			}
			k, v := rows.Cursor().Seek(at)
			if !bytes.HasPrefix(k, id[:]) {
				return nil
			}
			next = append(bytes.Clone(k), 0)
			_, name, value, err := decodeAnnotation(k, v)
			_, login, _, ok := cutAnnotationKey(k)
			if err != nil || !ok {
				return nil // the note below
			}
			b = appendField(appendField(appendField([]byte{}, 1, []byte(login)), 2, name), 3, value)
			return nil
		})
		switch {
		case err != nil || next == nil:
			return err
		case b == nil:
			err = x.p.write(recordNote, []byte(fmt.Sprintf("an annotation of account %s is damaged and left out", x.a.id)))
		default:
			err = x.p.write(recordAnnotation, b)
		}
		if err != nil {
			return err
		}
		at = next
	}
}

// annotation takes one.
func (l *portableLoad) annotation(b []byte) error {
	if l.a == nil {
		return errPortableRow
	}
	an := Annotation{Value: []byte{}}
	if err := fields(b, func(tag byte, v []byte) error {
		switch tag {
		case 1:
			an.Login = AccountID(v)
		case 2:
			an.Entry = string(v)
		case 3:
			an.Value = bytes.Clone(v)
		}
		return nil
	}); err != nil {
		return err
	}
	if an.Entry == "" || len(an.Login) > 255 {
		return errPortableRow
	}
	if an.Value == nil {
		an.Value = []byte{}
	}
	r := &AnnotationRequest{Set: []Annotation{an}}
	if l.box != nil {
		r.Mailbox = l.box.ID
	}
	err := l.a.SetAnnotations(r)
	var limit *LimitError
	if errors.As(err, &limit) || errors.Is(err, ErrTooManyAnnotations) || errors.Is(err, ErrOverQuota) {
		l.r.Findings = append(l.r.Findings, fmt.Sprintf("annotation %s is left out: %v", an.Entry, err))
		return nil
	}
	return err
}
