package storage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

const (
	// restTime is how long an unused account keeps its files open.
	restTime = time.Minute
	// mapLimit is the address space that mail.db reserves on 64-bit machines,
	// so that a growing file is not mapped anew under its readers. It costs
	// no memory (STORAGE.md §6).
	mapLimit = 1 << 30
	// allocStep is by how much a file grows at a time.
	allocStep = 1 << 20
)

// An Account is one account's mail. It stays valid while its files are
// closed at rest and opened again behind it.
type Account struct {
	st  *Store
	id  AccountID
	dir string

	mu    sync.Mutex
	f     *files // nil while closed
	users int
	uses  uint64 // how often users came
	// rowsRead counts the message rows that readers got.
	rowsRead atomic.Uint64
	writes   atomic.Uint64 // requests that wrote, for the upkeep
	shut     bool
	stray    bool    // f is to be closed when nobody uses it
	trouble  opening // how the last opening failed
	rest     *time.Timer
	left     left         // how the files were when they were closed
	used     atomic.Int64 // when they were last wanted, in nanoseconds

	writer writer
	watch  watchers
	recent recentMarks
	index  searchIndex
	rules  knownPolicy

	urlKeys urlKeyChanges

	compacted  compactState
	compacting sync.Mutex // held by who compacts

	changingACL sync.Mutex // held by who changes one
}

// files are an account's open files.
type files struct {
	a       *Account
	dir     string
	mail    *boltFile
	blobs   *blobStore
	journal *journal
	overlay *overlay
	secret  []byte
	// modseq is the last MODSEQ given out. Only the writer's.
	modseq ModSeq
	// used is what the account holds, from the mailbox rows. Only the writer's.
	used  Usage
	shown atomic.Pointer[Usage] // a copy for readers
	level int                   // of the quota, in percent, of which the log was told
	// noted is what system.db has of the account, or soon will. Only the writer's.
	noted AccountNote
	// shares are what the ACLs granted when the files were opened.
	shares map[Identifier]Rights
	// mapped is what of the address space mail.db has. Only the writer's.
	mapped int64
}

func newAccount(st *Store, id AccountID) *Account {
	a := &Account{st: st, id: id, dir: filepath.Join(st.dir, "accounts", string(id))}
	a.writer.a, a.index.a = a, a
	return a
}

// ID is the account's id.
func (a *Account) ID() AccountID { return a.id }

// now is the time that goes into rows.
func (a *Account) now() time.Time { return a.st.now() }

// acquire opens the account's files if they are closed, and counts a user of
// them; each acquire needs one release.
func (a *Account) acquire() (*files, error) {
	if err := a.st.available(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shut {
		return nil, ErrClosed
	}
	if err := a.renewFiles(); err != nil {
		return nil, err
	}
	if a.f == nil {
		if err := a.open(); err != nil {
			return nil, err
		}
	}
	a.users++
	a.uses++
	a.used.Store(time.Now().UnixNano())
	return a.f, nil
}

func (f *files) release() {
	a := f.a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users--
	if a.users > 0 || a.shut || a.f == nil {
		return
	}
	if a.unfit() {
		a.closeLeft()
		return
	}
	if a.rest == nil {
		a.rest = time.AfterFunc(restTime, a.closeAtRest)
	} else {
		a.rest.Reset(restTime)
	}
}

// closeAtRest closes the files when nobody has used them for a while.
func (a *Account) closeAtRest() {
	if err := a.fold(); err != nil && !errors.Is(err, ErrClosed) {
		a.st.log.Warn("fold_failed", "account", string(a.id), "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closeNow()
}

// closeNow closes the files unless somebody uses them. a.mu is held.
func (a *Account) closeNow() bool {
	if a.f == nil || a.users > 0 {
		return false
	}
	a.f.lastNote()
	a.left = left{a.f.blobs.counter.Load(), a.f.blobs.run}
	if err := errors.Join(a.index.close(), a.f.close()); err != nil {
		a.st.log.Error("account_close_failed", "account", string(a.id), "error", err)
	}
	a.f = nil
	return true
}

// close ends the account: what is queued is written, later calls get ErrClosed.
func (a *Account) close() error {
	a.writer.drain()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shut = true
	if a.rest != nil {
		a.rest.Stop()
	}
	if a.f == nil {
		return nil
	}
	a.f.lastNote()
	a.left = left{a.f.blobs.counter.Load(), a.f.blobs.run}
	err := errors.Join(a.index.close(), a.f.close())
	a.f = nil
	return err
}

func boltOptions(o *Options) *bolt.Options {
	bo := &bolt.Options{
		Timeout:      time.Second,
		PageSize:     4096, // the same on every machine: STORAGE.md §7
		FreelistType: bolt.FreelistMapType,
		NoSync:       o.NoSync,
	}
	if o.maps().hard == 0 {
		bo.InitialMmapSize = mapLimit
	}
	return bo
}

func openFiles(a *Account) (f *files, err error) {
	f = &files{a: a, dir: a.dir, shares: map[Identifier]Rights{}}
	defer func() {
		if err != nil {
			if errors.Is(err, ErrCorrupt) && !strings.Contains(err.Error(), a.dir) {
				err = fmt.Errorf("%s: %w", filepath.Join(a.dir, "mail.db"), err)
			}
			_ = f.close()
			f = nil
		}
	}()
	path := filepath.Join(a.dir, "mail.db")
	if err = f.openIndex(path); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	f.mail.AllocSize = allocStep
	f.lookAtMeta()
	a.st.opts.opened(path, f.mail.DB)
	for _, step := range []func(string) error{f.readHead, f.migrate, f.readMeta} {
		if err = step(path); err != nil {
			return f, err
		}
	}
	if f.blobs, err = openBlobs(f); err != nil {
		return f, err
	}
	if f.journal, err = openJournal(f); err != nil {
		return f, err
	}
	lost := f.replay()
	if lost != nil && !errors.Is(lost, errOtherJournal) {
		return f, lost
	}
	if a.st.opts.readOnly {
		return f, lost
	}
	if err = f.finishIntents(true); err != nil {
		return f, err
	}
	if err = f.finishRenewal(); err != nil {
		return f, err
	}
	f.startCounts()
	f.renewProfile()
	f.noteShares()
	if err = f.lookForMoves(); err != nil {
		return f, err
	}
	return f, f.lookForRollback(lost)
}

func (f *files) close() error {
	var errs []error
	if f.journal != nil {
		errs = append(errs, f.journal.close())
	}
	if f.blobs != nil {
		errs = append(errs, f.blobs.close())
	}
	if f.mail != nil {
		errs = append(errs, f.mail.Close())
	}
	f.maps().give(f)
	return errors.Join(errs...)
}

// create makes the account's folder with its first mailboxes, under a
// temporary name, so that a power cut leaves all of it or nothing.
func (a *Account) create(p profile) (err error) {
	tmp := a.dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return mapError(err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	bo := boltOptions(&a.st.opts)
	bo.InitialMmapSize = 0 // a new file would be made that large at once
	db, err := bolt.Open(filepath.Join(tmp, "mail.db"), 0o600, bo)
	if err != nil {
		return mapError(err)
	}
	db.AllocSize = allocStep
	err = db.Update(func(tx *bolt.Tx) error { return a.initIndex(tx, p) })
	if err = errors.Join(err, db.Close()); err != nil {
		return mapError(err)
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, a.dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(a.dir))
}

func (a *Account) initIndex(tx *bolt.Tx, p profile) error {
	for _, name := range [][]byte{bucketMeta, bucketHeads, bucketChunks, bucketOpen, bucketMailboxes, bucketNames, bucketSubs,
		bucketRows, bucketKept, bucketBlocks, bucketLog, bucketIntents, bucketBlobs, bucketEmails, bucketRecords, bucketThreads} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	meta := tx.Bucket(bucketMeta)
	for k, v := range map[string][]byte{
		"format":     binary.LittleEndian.AppendUint16(nil, a.st.opts.format()),
		"min_reader": binary.LittleEndian.AppendUint16(nil, a.st.opts.format()),
		"account":    []byte(a.id),
		"volume":     {0, 0},
		"secret":     secret,
		"profile":    p.encode(),
	} {
		if err := meta.Put([]byte(k), v); err != nil {
			return err
		}
	}
	f := &files{a: a, secret: secret, overlay: newOverlay()}
	w := newTxn(f, tx)
	for _, first := range []struct {
		name string
		use  imap.MailboxAttr
	}{{"INBOX", ""}, {"Drafts", imap.MailboxAttrDrafts}, {"Sent", imap.MailboxAttrSent}, {"Archive", imap.MailboxAttrArchive},
		{"Junk", imap.MailboxAttrJunk}, {"Trash", imap.MailboxAttrTrash}} {
		m := w.newMailbox(first.name)
		if first.use != "" {
			m.SpecialUse = []imap.MailboxAttr{first.use}
		}
		if err := w.putName(m); err != nil {
			return err
		}
		if err := tx.Bucket(bucketSubs).Put([]byte(first.name), nil); err != nil {
			return err
		}
	}
	return w.flush()
}

// setProfile keeps the copy of the account's entry in system.db up to date.
func (a *Account) setProfile(p profile) error {
	return a.exec(func(f *files) error {
		return f.mail.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketMeta).Put([]byte("profile"), p.encode())
		})
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
