package storage

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// A movedRecord says what a MOVE from another account has still to expunge
// there.
type movedRecord struct {
	space Space // under which it is recorded
	from  AccountID
	box   MailboxID
	// validity is that of the mailbox: after a restore, UIDs stand for other
	// messages.
	validity uint32
	uids     []imap.UID
}

// moved is the record of the transfer in the form in which it is stored: the
// intent intentMoved.
func (t *transfer) moved() []byte {
	b := append([]byte{byte(len(t.src.id))}, t.src.id...)
	b = append(b, t.from[:]...)
	b = binary.LittleEndian.AppendUint32(b, t.validity)
	for i := 0; i < len(t.uids); {
		j := i + 1
		for j < len(t.uids) && t.uids[j] == t.uids[i]+imap.UID(j-i) {
			j++
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.uids[i]))
		b = binary.LittleEndian.AppendUint32(b, uint32(t.uids[j-1]))
		i = j
	}
	return b
}

func decodeMoved(k, v []byte) (m movedRecord, ok bool) {
	if len(k) != 4 || len(v) < 2 || v[0] != intentMoved || len(v) < 2+int(v[1])+16+4 {
		return m, false
	}
	m.space = Space(binary.BigEndian.Uint32(k))
	v = v[1:]
	m.from, v = AccountID(v[1:1+v[0]]), v[1+v[0]:]
	m.box, v = MailboxID(v[:16]), v[16:]
	m.validity, v = binary.LittleEndian.Uint32(v), v[4:]
	for ; len(v) >= 8; v = v[8:] {
		hi := imap.UID(binary.LittleEndian.Uint32(v[4:]))
		for uid := imap.UID(binary.LittleEndian.Uint32(v)); uid <= hi && len(m.uids) < moveSlice; uid++ {
			m.uids = append(m.uids, uid)
		}
	}
	return m, len(v) == 0
}

// forgetMove removes the record of a MOVE that is done.
func (a *Account) forgetMove(space Space) error {
	return a.do(mailboxRequest(func(w *txn) error {
		w.dirty = true
		return fatal(w.bucket(bucketIntents).Delete(keyUID(space, 0)[:4]))
	}))
}

// lookForMoves has the moves finished that a crash left half done, when the
// files are opened. It is not done here: it opens another account.
func (f *files) lookForMoves() error {
	var found []movedRecord
	err := f.mail.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketIntents).ForEach(func(k, v []byte) error {
			if m, ok := decodeMoved(k, v); ok {
				found = append(found, m)
			}
			return nil
		})
	})
	if len(found) > 0 {
		go f.a.finishMoves(found)
	}
	return err
}

// finishMoves expunges at the source what has arrived here.
func (a *Account) finishMoves(found []movedRecord) {
	for _, m := range found {
		err := a.finishMove(&m)
		if err == nil {
			err = a.forgetMove(m.space)
		}
		if err != nil && !errors.Is(err, ErrClosed) { // the next open tries again
			a.st.log.Warn("move_unfinished", "account", string(a.id), "source", string(m.from), "error", err)
		}
	}
}

func (a *Account) finishMove(m *movedRecord) error {
	src, err := a.st.Account(m.from)
	if errors.Is(err, ErrNoAccount) {
		return nil
	}
	if err != nil {
		return err
	}
	box, err := src.Mailbox(m.box)
	if errors.Is(err, ErrNoMailbox) || err == nil && box.UIDValidity != m.validity {
		return nil
	}
	if err != nil {
		return err
	}
	for part := range slices.Chunk(m.uids, sliceRows) {
		if err := src.Remove(m.box, part); err != nil && !errors.Is(err, ErrNoMailbox) {
			return err
		}
	}
	return nil
}
