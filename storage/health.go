package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Health is how a data folder is, for people and for what watches the box.
type Health struct {
	ID     string
	Format int // of accounts that are made now
	// Away: the folder is gone, its disk unmounted. Nothing else is known then.
	Away     bool
	Clock    ClockState
	Disk     FileSystem
	MinFree  int64
	Written  time.Time // the last write to any account, as its file's time says
	Backup   BackupNote
	Accounts []AccountHealth
	Deleted  []DeletedAccount // that can be brought back
	Jobs     []UpkeepState
}

// AccountHealth is how an account is.
type AccountHealth struct {
	AccountInfo
	Open   bool // its files are
	Used   Usage
	Kept   KeptCount
	Limits Usage
	// Known is when Used and Kept were true; zero: they are not known.
	Known      time.Time
	Trouble    string    // why it can't be opened, "" if it can or nobody tried
	RolledBack time.Time // when its files were last found older than they should be
}

// Health looks at the data folder. Accounts that are closed stay so, and what
// was last noted of them is told; with all they are opened one by one.
func (st *Store) Health(all bool) (h Health, err error) {
	h = Health{ID: st.id, Format: formatVersion, Clock: st.Clock(), Jobs: st.Upkeep()}
	if h.Away = st.available() != nil; h.Away {
		return h, nil
	}
	if h.Disk, h.MinFree, err = st.Space(); err != nil {
		return h, err
	}
	if h.Backup, err = st.LastBackup(); err != nil {
		return h, err
	}
	if h.Deleted, err = st.DeletedAccounts(); err != nil {
		return h, err
	}
	infos, err := st.Accounts()
	if err != nil {
		return h, err
	}
	notes, err := st.Notes()
	if err != nil {
		return h, err
	}
	for _, info := range infos {
		h.Accounts = append(h.Accounts, st.accountHealth(info, notes[info.ID], all))
		if at := written(st.accountDir(info.ID)); at.After(h.Written) {
			h.Written = at
		}
	}
	return h, nil
}

func (st *Store) accountHealth(info AccountInfo, note AccountNote, all bool) AccountHealth {
	h := AccountHealth{AccountInfo: info, Limits: st.policyOf(info.ID).limits, RolledBack: note.RolledBack}
	if note.Counted {
		h.Used, h.Kept, h.Known = note.Used, note.Kept, note.Noted
	}
	st.mu.Lock()
	a := st.accounts[info.ID]
	st.mu.Unlock()
	if a != nil {
		a.mu.Lock()
		h.Open = a.f != nil && !a.unfit()
		if a.trouble.err != nil {
			h.Trouble = a.trouble.err.Error()
		}
		a.mu.Unlock()
	}
	if !h.Open && !all {
		return h
	}
	a, err := st.Account(info.ID)
	if err == nil {
		var used Usage
		var kept KeptCount
		if used, _, err = a.Quota(); err == nil {
			kept, err = a.KeptCount()
		}
		if err == nil {
			h.Used, h.Kept, h.Known, h.Trouble = used, kept, st.now(), ""
		}
		if !h.Open {
			a.closeUnused() // a thousand of them would be too many files
		}
	}
	if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNoAccount) {
		h.Trouble = err.Error()
	}
	return h
}

// written is when an account's files were last written to.
func written(dir string) (last time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return last
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasSuffix(name, ".db") && name != "flags.journal" || name == "search.db" {
			continue
		}
		if info, err := e.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// A BackupNote tells of the last backup, as it was noted when it ended.
type BackupNote struct {
	At    time.Time // zero: never
	To    string    // the folder
	Error string    // "" for a good one
	Good  time.Time // the last good one
}

// Fields of the note in system.db.
const (
	backupNoteAt byte = iota + 1
	backupNoteTo
	backupNoteError
	backupNoteGood
)

var backupKey = []byte("backup")

// NoteBackup notes that a backup to a folder ended, well with a nil error.
func (st *Store) NoteBackup(to string, failed error) error {
	last, err := st.LastBackup()
	if err != nil {
		return err
	}
	now := st.now()
	b := appendSystemTime(nil, backupNoteAt, now)
	if abs, err := filepath.Abs(to); err == nil {
		to = abs
	}
	b = appendSystemField(b, backupNoteTo, []byte(to))
	if failed != nil {
		text := failed.Error()
		b = appendSystemField(b, backupNoteError, []byte(text[:min(len(text), 1000)]))
		now = last.Good
	}
	if !now.IsZero() {
		b = appendSystemTime(b, backupNoteGood, now)
	}
	return st.update(func(tx *bolt.Tx) error { return putSystem(tx, bucketMeta, backupKey, b) })
}

// LastBackup is what NoteBackup noted last.
func (st *Store) LastBackup() (n BackupNote, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		b, err := getSystem(tx, bucketMeta, backupKey)
		if err != nil || b == nil {
			return err
		}
		return eachSystemField(b, func(tag byte, value []byte) {
			switch tag {
			case backupNoteAt:
				n.At = systemTime(value)
			case backupNoteTo:
				n.To = string(value)
			case backupNoteError:
				n.Error = string(value)
			case backupNoteGood:
				n.Good = systemTime(value)
			}
		})
	})
	return n, err
}
