package storage

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// An invitation lets some devices fetch what sets them up for an account. Who
// has its token is invited; only the token's hash is stored.

// An Invite is an invitation.
type Invite struct {
	Account     AccountID
	Made, Until time.Time
	Uses        int // how many devices it is for
	Used        int // how many had it

	devices [][]byte
}

// ErrNoInvite says that a token is unknown, its time over, or all its uses taken.
var ErrNoInvite = errors.New("no such invitation")

const (
	// maxInvites that hold at a time.
	maxInvites = 1000
	// maxInviteUses of one: each leaves some bytes in its row.
	maxInviteUses = 100
	// inviteDevice is as many bytes as are kept of a device's hash.
	inviteDevice = 8
)

func inviteKey(token []byte) []byte {
	sum := sha256.Sum256(token)
	return sum[:]
}

// deviceHash tells devices apart, and to who doesn't have the token nothing.
func deviceHash(token []byte, device string) []byte {
	h := hmac.New(sha256.New, token)
	h.Write([]byte(device))
	return h.Sum(nil)[:inviteDevice]
}

// AddInvite stores an invitation, and forgets those that are over.
func (st *Store) AddInvite(token []byte, i Invite) error {
	if i.Uses < 1 || i.Uses > maxInviteUses {
		return &LimitError{What: "uses of an invitation", Max: maxInviteUses}
	}
	return st.update(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketAccounts).Get([]byte(i.Account)) == nil {
			return ErrNoAccount
		}
		if _, err := tx.CreateBucketIfNotExists(bucketInvites); err != nil {
			return err
		}
		kept := 0
		_, err := deleteInvites(tx, func(old Invite, err error) bool {
			keep := err == nil && st.holds(old)
			if keep {
				kept++
			}
			return !keep
		})
		if err != nil {
			return err
		}
		if kept >= maxInvites {
			return &LimitError{What: "invitations", Max: maxInvites}
		}
		return putSystem(tx, bucketInvites, inviteKey(token), i.encode())
	})
}

// holds reports whether the time of an invitation is not over. One that was
// made after now is of a clock that was wrong.
func (st *Store) holds(i Invite) bool {
	now := st.now()
	return now.Before(i.Until) && !i.Made.After(now.Add(time.Minute))
}

// deleteInvites deletes those that gone wants, and returns their number.
func deleteInvites(tx *bolt.Tx, gone func(Invite, error) bool) (n int, err error) {
	b := tx.Bucket(bucketInvites)
	var keys [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		data, err := unsealSystem(k, v)
		i := Invite{}
		if err == nil {
			i, err = decodeInvite(data)
		}
		if gone(i, err) {
			keys = append(keys, bytes.Clone(k))
		}
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// Invite finds the invitation of a token, as far as a device may use it.
func (st *Store) Invite(token []byte, device string) (i Invite, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		i, _, err = st.invite(tx, token, device)
		return err
	})
	return i, err
}

func (st *Store) invite(tx *bolt.Tx, token []byte, device string) (i Invite, known bool, err error) {
	if tx.Bucket(bucketInvites) == nil {
		return i, false, ErrNoInvite
	}
	data, err := getSystem(tx, bucketInvites, inviteKey(token))
	if err != nil {
		return i, false, err
	}
	if data == nil {
		return i, false, ErrNoInvite
	}
	if i, err = decodeInvite(data); err != nil {
		return i, false, err
	}
	hash := deviceHash(token, device)
	known = slices.ContainsFunc(i.devices, func(d []byte) bool { return bytes.Equal(d, hash) })
	info, err := accountByID(tx, i.Account)
	if errors.Is(err, ErrNoAccount) || err == nil && info.Disabled || !st.holds(i) || !known && i.Used >= i.Uses {
		err = ErrNoInvite
	}
	return i, known, err
}

// UseInvite is Invite, and counts the device unless it has been counted.
func (st *Store) UseInvite(token []byte, device string) (i Invite, first bool, err error) {
	known := false
	err = st.view(func(tx *bolt.Tx) error {
		i, known, err = st.invite(tx, token, device)
		return err
	})
	if err != nil || known {
		return i, false, err
	}
	err = st.update(func(tx *bolt.Tx) error {
		if i, known, err = st.invite(tx, token, device); err != nil || known {
			return err
		}
		i.devices = append(i.devices, deviceHash(token, device))
		i.Used++
		return putSystem(tx, bucketInvites, inviteKey(token), i.encode())
	})
	return i, err == nil && !known, err
}

// Invites lists the invitations that hold, of an account or with "" of all.
func (st *Store) Invites(id AccountID) (all []Invite, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketInvites) == nil {
			return nil
		}
		return eachSystem(tx, bucketInvites, nil, func(_, data []byte) error {
			i, err := decodeInvite(data)
			if err == nil && (id == "" || i.Account == id) && i.Used < i.Uses && st.holds(i) {
				all = append(all, i)
			}
			return err
		})
	})
	slices.SortFunc(all, func(a, b Invite) int { return a.Made.Compare(b.Made) })
	return all, err
}

// RevokeInvites takes the invitations of an account back, also for devices
// that used them.
func (st *Store) RevokeInvites(id AccountID) (n int, err error) {
	err = st.update(func(tx *bolt.Tx) error {
		n = 0
		if tx.Bucket(bucketInvites) == nil {
			return nil
		}
		_, err := deleteInvites(tx, func(i Invite, err error) bool {
			mine := err == nil && i.Account == id
			if mine && st.holds(i) {
				n++
			}
			return mine
		})
		return err
	})
	return n, err
}

func (i Invite) encode() []byte {
	b := appendSystemField(nil, 1, []byte(i.Account))
	b = appendSystemTime(appendSystemTime(b, 2, i.Made), 3, i.Until)
	b = appendSystemField(b, 4, binary.LittleEndian.AppendUint64(nil, uint64(i.Uses)))
	for _, d := range i.devices {
		b = appendSystemField(b, 5, d)
	}
	return b
}

func decodeInvite(data []byte) (i Invite, err error) {
	uses := uint64(0)
	err = eachSystemField(data, func(tag byte, value []byte) {
		switch tag {
		case 1:
			i.Account = AccountID(value)
		case 2:
			i.Made = systemTime(value)
		case 3:
			i.Until = systemTime(value)
		case 4:
			if len(value) == 8 {
				uses = binary.LittleEndian.Uint64(value)
			}
		case 5:
			i.devices = append(i.devices, bytes.Clone(value))
		}
	})
	if err == nil && (i.Account == "" || i.Until.IsZero() || uses < 1 || uses > maxInviteUses || len(i.devices) > maxInviteUses) {
		err = fmt.Errorf("%s: an invitation lacks something: %w", systemFile, ErrCorrupt)
	}
	i.Uses, i.Used = int(min(uses, maxInviteUses)), len(i.devices)
	return i, err
}

func checkInvite(_, data []byte) error {
	_, err := decodeInvite(data)
	return err
}
