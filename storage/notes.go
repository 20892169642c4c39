package storage

import (
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// An AccountNote is what system.db notes of how far an account has come, when
// the account is closed and hourly. An index that opens below its note was
// rolled back: clients have seen UIDs and MODSEQs that it would give out again
// for other mail (docs/decisions/0030-mixed-files.md).
type AccountNote struct {
	ModSeq   ModSeq
	Counter  uint64 // commits of mail.db
	Blob     BlobID // highest one given out
	Validity uint32 // highest UIDVALIDITY given out
	Space    Space
	Thread   ThreadID
	Noted    time.Time
	// RolledBack is when the index was last found below its note, and every
	// mailbox got a new UIDVALIDITY.
	RolledBack time.Time
	// MinReader is the format that a nestbox must know to read mail.db.
	MinReader uint16
	// What the account held, if Counted: for those who look while it is closed.
	Counted bool
	Used    Usage
	Kept    KeptCount
}

// Tags of a note's fields in system.db. Numbers are u64.
const (
	noteModSeq byte = iota + 1
	noteCounter
	noteBlob
	noteValidity
	noteSpace
	noteThread
	noteNoted
	noteRolledBack
	noteMinReader
	noteCounted
	noteOctets
	noteMessages
	noteMailboxes
	noteKeptMessages
	noteKeptOctets
)

func (n *AccountNote) encode() (b []byte) {
	number := func(tag byte, v uint64) {
		if v != 0 {
			b = appendSystemField(b, tag, binary.LittleEndian.AppendUint64(nil, v))
		}
	}
	number(noteModSeq, uint64(n.ModSeq))
	number(noteCounter, n.Counter)
	number(noteBlob, uint64(n.Blob))
	number(noteValidity, uint64(n.Validity))
	number(noteSpace, uint64(n.Space))
	number(noteThread, uint64(n.Thread))
	b = appendSystemTime(b, noteNoted, n.Noted)
	if !n.RolledBack.IsZero() {
		b = appendSystemTime(b, noteRolledBack, n.RolledBack)
	}
	number(noteMinReader, uint64(n.MinReader))
	if n.Counted {
		number(noteCounted, 1)
		number(noteOctets, uint64(n.Used.Octets))
		number(noteMessages, uint64(n.Used.Messages))
		number(noteMailboxes, uint64(n.Used.Mailboxes))
		number(noteKeptMessages, uint64(n.Kept.Messages))
		number(noteKeptOctets, uint64(n.Kept.Octets))
	}
	return b
}

func decodeNote(data []byte) (n AccountNote, err error) {
	err = eachSystemField(data, func(tag byte, value []byte) {
		if len(value) != 8 {
			return // none of ours, and a note is no more than a help
		}
		v := binary.LittleEndian.Uint64(value)
		switch tag {
		case noteModSeq:
			n.ModSeq = ModSeq(v)
		case noteCounter:
			n.Counter = v
		case noteBlob:
			n.Blob = BlobID(v)
		case noteValidity:
			n.Validity = uint32(v)
		case noteSpace:
			n.Space = Space(v)
		case noteThread:
			n.Thread = ThreadID(v)
		case noteNoted:
			n.Noted = systemTime(value)
		case noteRolledBack:
			n.RolledBack = systemTime(value)
		case noteMinReader:
			n.MinReader = uint16(v)
		default:
			n.count(tag, int64(v))
		}
	})
	return n, err
}

// count takes the fields of what the account held.
func (n *AccountNote) count(tag byte, v int64) {
	switch tag {
	case noteCounted:
		n.Counted = true
	case noteOctets:
		n.Used.Octets = v
	case noteMessages:
		n.Used.Messages = v
	case noteMailboxes:
		n.Used.Mailboxes = v
	case noteKeptMessages:
		n.Kept.Messages = v
	case noteKeptOctets:
		n.Kept.Octets = v
	}
}

// Notes returns what is noted of the accounts.
func (st *Store) Notes() (map[AccountID]AccountNote, error) {
	all := map[AccountID]AccountNote{}
	err := st.view(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketAccountNotes) == nil {
			return nil
		}
		return eachSystem(tx, bucketAccountNotes, nil, func(k, data []byte) error {
			n, err := decodeNote(data)
			all[AccountID(k)] = n
			return err
		})
	})
	st.notes.Lock()
	defer st.notes.Unlock()
	for id, n := range st.notes.pending {
		all[id] = n
	}
	return all, err
}

// note returns what is noted of an account.
func (st *Store) note(id AccountID) (n AccountNote, err error) {
	st.notes.Lock()
	n, ok := st.notes.pending[id]
	st.notes.Unlock()
	if ok {
		return n, nil
	}
	err = st.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketAccountNotes)
		if b == nil || b.Get([]byte(id)) == nil {
			return nil
		}
		data, err := getSystem(tx, bucketAccountNotes, []byte(id))
		if err == nil {
			n, err = decodeNote(data)
		}
		return err
	})
	return n, err
}

// setNote has the next writing of notes take n. An account that is closed
// after a minute of rest costs no commit of system.db.
func (st *Store) setNote(id AccountID, n AccountNote) {
	st.notes.Lock()
	defer st.notes.Unlock()
	if st.notes.pending == nil {
		st.notes.pending = map[AccountID]AccountNote{}
	}
	st.notes.pending[id] = n
}

// writeNotes puts what is to be noted into system.db, in one commit, if there
// is anything. The copy of system.db doesn't follow: with an older note a
// rollback is found later, or not at all, and nothing else is lost.
func (st *Store) writeNotes() error {
	st.notes.Lock()
	pending := st.notes.pending
	st.notes.pending = nil
	st.notes.Unlock()
	// Uses of credentials go along; alone they are worth no commit before the end.
	if len(pending) == 0 && !st.isClosed() {
		return nil
	}
	used := st.takeUses()
	if len(pending) == 0 && len(used) == 0 {
		return nil
	}
	err := st.tryUpdate(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketAccountNotes); err != nil {
			return err
		}
		for id, n := range pending {
			if tx.Bucket(bucketAccounts).Get([]byte(id)) == nil {
				continue // deleted meanwhile
			}
			if err := putSystem(tx, bucketAccountNotes, []byte(id), n.encode()); err != nil {
				return err
			}
		}
		return putUses(tx, used)
	})
	if err == nil {
		return nil
	}
	st.keepUses(used)
	st.notes.Lock()
	defer st.notes.Unlock()
	if st.notes.pending == nil {
		st.notes.pending = map[AccountID]AccountNote{}
	}
	for id, n := range pending { // the next time
		if _, later := st.notes.pending[id]; !later {
			st.notes.pending[id] = n
		}
	}
	return err
}

// noteAccounts notes how far the open accounts have come, and writes it down:
// the hourly job.
func (st *Store) noteAccounts() error {
	st.mu.Lock()
	accounts := make([]*Account, 0, len(st.accounts))
	for _, a := range st.accounts {
		accounts = append(accounts, a)
	}
	st.mu.Unlock()
	var errs []error
	for _, a := range accounts {
		a.mu.Lock()
		open := a.f != nil
		a.mu.Unlock()
		if !open {
			continue
		}
		if err := a.exec(func(f *files) error { return f.takeNote() }); err != nil && !errors.Is(err, ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, st.writeNotes())...)
}

// lastNote is takeNote for who closes the files: without a note a rollback is
// found later, or not at all, and nothing else is lost.
func (f *files) lastNote() {
	if err := f.takeNote(); err != nil {
		f.a.st.log.Warn("note_failed", "account", string(f.a.id), "error", err)
	}
}

// takeNote has the present state noted, unless it is already. It is called by
// the writer's goroutine, or when nobody uses the files any more.
func (f *files) takeNote() error {
	counter := f.blobs.counter.Load()
	if f.noted.ModSeq == f.modseq && f.noted.Counter == counter && f.noted.Counted {
		return nil
	}
	n := AccountNote{ModSeq: f.modseq, Counter: counter, Blob: f.blobs.next, Noted: f.a.now(), RolledBack: f.noted.RolledBack,
		Counted: true, Used: f.used}
	err := f.mail.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		n.Validity = getUint32(meta, "validity")
		n.Space = Space(getUint32(meta, "space"))
		n.Thread = ThreadID(getUint64(meta, "thread"))
		n.MinReader = getUint16(meta, "min_reader")
		n.Kept, _ = readKeptCount(tx)
		return nil
	})
	if err != nil {
		return err
	}
	f.noted = n
	f.a.st.setNote(f.a.id, n)
	return nil
}
