package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// An Annotation is an entry of a mailbox, or of the account where the mailbox
// is the zero MailboxID (RFC 5464 §3). Entries are the same in any case.
type Annotation struct {
	Entry string
	Login AccountID // whose private entry it is; "" for one that all share
	Value []byte    // nil: none
}

// What a mailbox may have (RFC 5464 §4.1): entries that are shared, and as many
// private ones of each login. An account is bounded as a whole: it is no place
// for files.
const (
	MaxAnnotation      = 64 << 10 // octets in a value
	MaxAnnotationEntry = 1000     // octets in the name of an entry
	MaxAnnotations     = 100

	maxAnnotationOctets = 1 << 20  // of a mailbox and login
	maxAccountOctets    = 16 << 20 // of the account

	// annotationGone is how many entries that have no value any more the log
	// remembers; half of them go when there are more.
	annotationGone = 1000
)

// ErrTooManyAnnotations says that a mailbox has as many entries as it can have.
var ErrTooManyAnnotations = errors.New("the mailbox can have no more annotations")

// annotationKey is MailboxID, length of login u8, login, entry in lower case.
func annotationKey(id MailboxID, login AccountID, entry string) []byte {
	return append(annotationPrefix(id, login), strings.ToLower(entry)...)
}

func annotationPrefix(id MailboxID, login AccountID) []byte {
	k := append(make([]byte, 0, 96), id[:]...)
	return append(append(k, byte(len(login))), login...)
}

// cutAnnotationKey is the reverse of annotationKey.
func cutAnnotationKey(k []byte) (id MailboxID, login AccountID, entry string, ok bool) {
	if len(k) < 17 || len(k) < 17+int(k[16]) {
		return id, "", "", false
	}
	copy(id[:], k)
	n := 17 + int(k[16])
	return id, AccountID(k[17:n]), string(k[n:]), true
}

// An annotation's row is its MODSEQ u64, length of the entry's name u16, the
// name as it was set, the value, CRC-32C u32 of key and row.
func encodeAnnotation(key []byte, at ModSeq, an *Annotation) []byte {
	v := binary.LittleEndian.AppendUint64(make([]byte, 0, 14+len(an.Entry)+len(an.Value)), uint64(at))
	v = binary.LittleEndian.AppendUint16(v, uint16(len(an.Entry)))
	v = append(append(v, an.Entry...), an.Value...)
	return binary.LittleEndian.AppendUint32(v, annotationSum(key, v))
}

func annotationSum(key, v []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, v)
}

// decodeAnnotation reads a row; name and value are pieces of it.
func decodeAnnotation(key, v []byte) (at ModSeq, name, value []byte, err error) {
	if len(v) < 14 || 14+int(binary.LittleEndian.Uint16(v[8:])) > len(v) ||
		binary.LittleEndian.Uint32(v[len(v)-4:]) != annotationSum(key, v[:len(v)-4]) {
		return 0, nil, nil, fmt.Errorf("%w: annotation %q", ErrCorrupt, key[min(17, len(key)):])
	}
	n := 10 + int(binary.LittleEndian.Uint16(v[8:]))
	return ModSeq(binary.LittleEndian.Uint64(v)), v[10:n], v[n : len(v)-4], nil
}

// annotationBuckets are made when they are first needed.
func annotationBuckets(tx *bolt.Tx) (rows, log *bolt.Bucket, err error) {
	if rows, err = tx.CreateBucketIfNotExists(bucketAnnotations); err == nil {
		log, err = tx.CreateBucketIfNotExists(bucketAnnotationLog)
	}
	return rows, log, err
}

// Annotations returns those of the entries of a mailbox, or with the zero id
// of the account, that want chooses by name and size: shared ones, and the
// login's own.
func (a *Account) Annotations(id MailboxID, login AccountID, want func(entry string, size int) bool) (found []Annotation, err error) {
	err = a.read(func(_ *files, tx *bolt.Tx) error {
		rows := tx.Bucket(bucketAnnotations)
		if rows == nil {
			return nil
		}
		logins := []AccountID{""}
		if login != "" {
			logins = append(logins, login)
		}
		for _, owner := range logins {
			prefix := annotationPrefix(id, owner)
			c := rows.Cursor()
			for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
				// Only a row that is wanted is read through.
				if len(v) < 14 || 14+int(binary.LittleEndian.Uint16(v[8:])) > len(v) {
					return fmt.Errorf("%w: annotation %q", ErrCorrupt, k[len(prefix):])
				}
				if !want(string(k[len(prefix):]), len(v)-14-int(binary.LittleEndian.Uint16(v[8:]))) {
					continue
				}
				_, name, value, err := decodeAnnotation(k, v)
				if err != nil {
					return err
				}
				found = append(found, Annotation{Entry: string(name), Login: owner, Value: append([]byte{}, value...)})
			}
		}
		return nil
	})
	return found, err
}

// An AnnotationRequest sets entries of one mailbox, or of the account: all of
// them or none.
type AnnotationRequest struct {
	Mailbox MailboxID
	Set     []Annotation // of an entry that is named twice, the last counts

	// Uses, if SetUses, become the special uses of the mailbox (RFC 6154 §4),
	// and no other mailbox's.
	SetUses bool
	Uses    []imap.MailboxAttr

	// ModSeq is that of the change, 0 if nothing was changed.
	ModSeq ModSeq
	// Lost are the mailboxes that had one of the uses, as they are now.
	Lost []Mailbox
}

func (r *AnnotationRequest) bodies() []*Upload { return nil }
func (r *AnnotationRequest) rows() int         { return 1 }
func (r *AnnotationRequest) rewind()           { r.ModSeq, r.Lost = 0, nil }

// frees: entries go without a value, and a mailbox's use adds nothing.
func (r *AnnotationRequest) frees() bool {
	return !slices.ContainsFunc(r.Set, func(an Annotation) bool { return an.Value != nil })
}

// SetAnnotations does what r says.
func (a *Account) SetAnnotations(r *AnnotationRequest) error {
	for i := range r.Set {
		if len(r.Set[i].Entry) > MaxAnnotationEntry {
			return &LimitError{What: "octets in the name of an entry", Max: MaxAnnotationEntry}
		}
		if len(r.Set[i].Value) > MaxAnnotation {
			return &LimitError{What: "octets in an annotation", Max: MaxAnnotation}
		}
	}
	if !r.frees() {
		if err := a.roomFor(maxAnnotationOctets); err != nil {
			return err
		}
	}
	return a.do(r)
}

func (r *AnnotationRequest) apply(w *txn) (bool, error) {
	r.rewind()
	var m *Mailbox
	if r.Mailbox != (MailboxID{}) {
		var err error
		if m, err = w.mailbox(r.Mailbox); err != nil {
			return false, err
		}
	}
	rows, log, err := annotationBuckets(w.tx)
	if err != nil {
		return false, fatal(err)
	}
	set := map[string]*Annotation{}
	for i := range r.Set {
		set[string(annotationKey(r.Mailbox, r.Set[i].Login, r.Set[i].Entry))] = &r.Set[i]
	}
	keys := slices.Sorted(maps.Keys(set))
	if err := r.fits(w, rows, keys, set); err != nil {
		return false, err
	}
	losers, uses, err := r.usesChange(w, m)
	if err != nil {
		return false, err
	}
	x := &annotationWriter{w: w, rows: rows, log: log}
	if uses {
		for _, l := range append(losers, m) {
			l.SpecialUse = slices.DeleteFunc(slices.Clone(l.SpecialUse), func(use imap.MailboxAttr) bool { return hasUse(r.Uses, use) })
			if l == m {
				l.SpecialUse = r.Uses
			} else {
				r.Lost = append(r.Lost, *l)
			}
			x.touch(l)
			x.note(annotationKey(l.ID, w.f.a.id, SpecialUseEntry), true)
		}
	}
	for _, k := range keys {
		x.put([]byte(k), set[k], m)
	}
	r.ModSeq = x.at
	return false, fatal(errors.Join(x.err, x.finish()))
}

// SpecialUseEntry is the entry that shows a mailbox's special uses (RFC 6154 §4).
const SpecialUseEntry = "/private/specialuse"

func hasUse(uses []imap.MailboxAttr, use imap.MailboxAttr) bool {
	return slices.ContainsFunc(uses, func(u imap.MailboxAttr) bool { return strings.EqualFold(string(u), string(use)) })
}

// usesChange finds the mailboxes that have one of the uses now.
func (r *AnnotationRequest) usesChange(w *txn, m *Mailbox) (losers []*Mailbox, changes bool, err error) {
	if !r.SetUses || m == nil || slices.Equal(m.SpecialUse, r.Uses) {
		return nil, false, nil
	}
	var ids []MailboxID
	err = w.bucket(bucketNames).ForEach(func(_, id []byte) error {
		if MailboxID(id) != m.ID {
			ids = append(ids, MailboxID(id))
		}
		return nil
	})
	for _, id := range ids {
		if err != nil {
			return nil, false, err
		}
		var row Mailbox // not each of them into the transaction
		if row, err = w.f.mailboxRow(w.tx, id); err == nil && slices.ContainsFunc(row.SpecialUse, func(use imap.MailboxAttr) bool { return hasUse(r.Uses, use) }) {
			var other *Mailbox
			other, err = w.mailbox(id)
			losers = append(losers, other)
		}
	}
	return losers, true, err
}

// fits refuses what would be too much for the mailbox or the account.
func (r *AnnotationRequest) fits(w *txn, rows *bolt.Bucket, keys []string, set map[string]*Annotation) error {
	adds := int64(0)
	for login := range loginsOf(r.Set) {
		count, octets := 0, 0
		prefix := annotationPrefix(r.Mailbox, login)
		c := rows.Cursor()
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			count, octets = count+1, octets+len(k)+len(v)
		}
		countBefore, octetsBefore := count, octets
		for _, k := range keys {
			an := set[k]
			if an.Login != login {
				continue
			}
			if was := rows.Get([]byte(k)); was != nil {
				count, octets = count-1, octets-len(k)-len(was)
			}
			if an.Value != nil {
				count, octets = count+1, octets+len(k)+14+len(an.Entry)+len(an.Value)
			}
		}
		if count > MaxAnnotations && count > countBefore || octets > maxAnnotationOctets && octets > octetsBefore {
			return ErrTooManyAnnotations
		}
		adds += int64(octets - octetsBefore)
	}
	if all := w.annotated() + adds; adds > 0 && all > maxAccountOctets {
		return &QuotaError{Resource: "octets of annotations", Limit: maxAccountOctets}
	}
	return nil
}

func loginsOf(set []Annotation) map[AccountID]bool {
	logins := map[AccountID]bool{}
	for i := range set {
		logins[set[i].Login] = true
	}
	return logins
}
