// Package storage keeps accounts and their mail. It is the only package that
// knows bbolt; docs/ARCHITECTURE.md has the plan, schema.go and
// schema_system.go every bucket, key and byte.
package storage

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// defaultMaxMessage is the limit of a message's size unless Options say otherwise.
const defaultMaxMessage = 50 << 20

// Errors of a data folder as a whole.
var (
	// ErrNoStore: the folder has no nestbox.id. It isn't a data folder, or
	// the disk that holds it isn't mounted.
	ErrNoStore = errors.New("not a nestbox data folder (no nestbox.id in it)")
	// ErrStoreExists: Init was asked to make a data folder of one.
	ErrStoreExists = errors.New("is a nestbox data folder already")
)

// Options of a Store.
type Options struct {
	Log        *slog.Logger // nil: nothing is logged
	MaxMessage int64        // octets of the largest message taken; 0: 50 MB
	Version    string       // of the program, for the lock file
	NoSync     bool         // tests only: nothing survives a power cut
	Built      time.Time    // when the program was built: no right clock is before it
	Time       TimeSource   // tests only: another clock than the machine's
	Probe      bool         // see whether the file system can hold mail
	MinFree    MinFree      // what of the file system stays free
	// Fixed settings of the household stand in the machine's configuration and
	// win over those in system.db.
	Fixed map[string]string

	readOnly bool   // nothing is changed: to verify a copy
	hooks    *hooks // tests only
}

// A Store is an open data folder. All methods can be called from any goroutine.
type Store struct {
	dir  string
	id   string
	opts Options
	log  *slog.Logger
	lock *os.File

	sysMu    sync.RWMutex // held for reading while sys is used
	sys      *boltFile    // nil while the folder is away, or the file can't be opened
	sysTried time.Time    // when it was last tried to open it again

	presence presence
	space    space

	clock  *clock
	copies systemCopies
	events events
	notes  struct {
		sync.Mutex
		pending map[AccountID]AccountNote // to be written with the next commit for notes
		used    map[credentialUse]time.Time
	}

	// admin lets one change of accounts, names and addresses happen at a
	// time, together with what it does to folders.
	admin sync.Mutex

	upkeep *upkeep

	logins        logins
	changingRules sync.Mutex
	reading       sync.Map      // AccountID: *Account of deleted accounts that a stream is made of
	policies      atomic.Uint64 // counts the changes of settings

	mu       sync.Mutex
	accounts map[AccountID]*Account
	closed   bool
}

// Init makes dir a data folder without accounts. An Init that a crash
// interrupted can be repeated.
func Init(dir string) error {
	if err := makeFolder(dir); err != nil {
		return err
	}
	lock, err := lockFolder(dir, "init")
	if err != nil {
		return err
	}
	err = systemProber().probe(dir)
	if err == nil {
		err = initFolder(dir)
	}
	return errors.Join(err, unlockFolder(lock))
}

func initFolder(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, idFile)); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s %w", dir, ErrStoreExists)
		}
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, accountsFolder), 0o700); err != nil {
		return err
	}
	// nestbox.id comes last: while it is missing, the rest is not in use.
	id := newStoreID()
	db, err := openSystem(filepath.Join(dir, systemFile), "", &bolt.Options{ReadOnly: true})
	switch {
	case err == nil:
		if id, err = systemStoreID(db); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrNotExist):
		if err := createSystem(dir, id); err != nil {
			return err
		}
	default:
		return err
	}
	return writeInto(filepath.Join(dir, idFile), []byte("nestbox data folder "+id+"\n"))
}

// systemStoreID reads the id of the data folder out of system.db and closes it.
func systemStoreID(db *boltFile) (id string, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		b, err := getSystem(tx, bucketMeta, []byte("store"))
		id = string(b)
		return err
	})
	return id, errors.Join(err, db.Close())
}

func newStoreID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return idEncoding.EncodeToString(b[:])
}

func readStoreID(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, idFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", dir, ErrNoStore)
	}
	if err != nil {
		return "", err
	}
	words := strings.Fields(string(b))
	if len(words) != 4 || words[0] != "nestbox" {
		return "", fmt.Errorf("%s: %w", filepath.Join(dir, idFile), ErrCorrupt)
	}
	return words[3], nil
}

// Open opens a data folder for this process alone: a second Open, here or in
// another process, gets a *LockedError that names the holder.
func Open(dir string, o Options) (*Store, error) {
	id, err := readStoreID(dir)
	if err != nil {
		return nil, err
	}
	o.testLimits()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = defaultMaxMessage
	}
	st := &Store{dir: dir, id: id, opts: o, log: o.Log, accounts: map[AccountID]*Account{}}
	st.copies.st = st
	st.space.min = o.MinFree
	if st.lock, err = lockFolder(dir, o.Version); err != nil {
		return nil, err
	}
	if o.Probe {
		if err := systemProber().probe(dir); err != nil {
			return nil, errors.Join(err, unlockFolder(st.lock))
		}
	}
	st.clock = openClock(dir, o.Time, o.Built)
	if err := st.startPresence(); err != nil {
		return nil, errors.Join(err, unlockFolder(st.lock))
	}
	if err := st.open(); err != nil {
		st.stopPresence()
		return nil, errors.Join(err, unlockFolder(st.lock))
	}
	st.saveClock()
	if !o.NoSync {
		st.makeReserve()
	}
	st.startUpkeep()
	return st, nil
}

func (st *Store) open() error {
	lost, err := st.openSys()
	if err != nil {
		return err
	}
	err = st.checkFormats()
	if err == nil {
		err = errors.Join(st.finishMaking(lost), st.finishDeletions())
	}
	if err != nil {
		return errors.Join(err, st.sys.Close())
	}
	if _, err := os.Stat(filepath.Join(st.dir, systemCopyFile)); err != nil {
		st.copies.changed()
	}
	return nil
}

// Dir is the data folder.
func (st *Store) Dir() string { return st.dir }

// MaxMessage is the octets of the largest message that is taken.
func (st *Store) MaxMessage() int64 { return st.opts.MaxMessage }

func (st *Store) accountDir(id AccountID) string {
	return filepath.Join(st.dir, accountsFolder, string(id))
}

// Account returns the one *Account of an id. It stays valid, and the same,
// until the account is deleted or the store closed.
func (st *Store) Account(id AccountID) (*Account, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil, ErrClosed
	}
	if a, ok := st.accounts[id]; ok {
		return a, nil
	}
	if _, err := st.AccountInfo(id); err != nil {
		return nil, err
	}
	a := newAccount(st, id)
	st.accounts[id] = a
	return a, nil
}

// Close closes all accounts and gives the folder back. Calls on the store and
// its accounts get ErrClosed from then on.
func (st *Store) Close() error {
	st.upkeep.stop() // its jobs may want the lock
	st.admin.Lock()
	defer st.admin.Unlock()
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil
	}
	st.closed = true
	accounts := st.accounts
	st.accounts = nil
	st.mu.Unlock()

	var errs []error
	for id, a := range accounts {
		if err := a.close(); err != nil {
			errs = append(errs, fmt.Errorf("account %s: %w", id, err))
		}
	}
	if err := st.writeNotes(); !st.presence.gone.Load() { // else nothing can be noted
		errs = append(errs, err)
	}
	st.closeEvents()
	st.copies.close()
	st.stopClock()
	return errors.Join(append(errs, st.closeSys())...)
}
