package storage

import (
	"errors"
	"log/slog"
	"math"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// A Copy is a backup, or a snapshot of a data folder, open for reading.
// Nothing in it is changed, and no file is made.
type Copy struct {
	st     *Store
	unlock func()
}

// quietStore is a store that changes nothing and watches nothing.
func quietStore(dir string) *Store {
	st := &Store{dir: dir, log: slog.New(slog.DiscardHandler), accounts: map[AccountID]*Account{}}
	st.opts = Options{Log: st.log, MaxMessage: defaultMaxMessage, readOnly: true}
	st.clock = openClock(dir, nil, st.opts.Built)
	st.presence.looked.Store(math.MaxInt64) // nothing is held here that could go away
	st.presence.closed.Store(true)
	return st
}

// OpenCopy opens a backup, or a snapshot of a data folder, that no server uses.
func OpenCopy(dir string) (*Copy, error) {
	id, err := readStoreID(dir)
	if err != nil {
		return nil, err
	}
	unlock, err := lookFolder(dir)
	if err != nil {
		return nil, err
	}
	c := &Copy{st: quietStore(dir), unlock: unlock}
	c.st.id = id
	if c.st.sys, err = openSystem(filepath.Join(dir, systemFile), id, &bolt.Options{ReadOnly: true}); err != nil {
		unlock()
		return nil, err
	}
	return c, nil
}

// Accounts lists the accounts by name.
func (c *Copy) Accounts() ([]AccountInfo, error) { return c.st.Accounts() }

// Account opens an account by its name or one of its addresses. Only reading
// from it works.
func (c *Copy) Account(name string) (*Account, error) {
	info, err := c.st.FindAccount(name)
	if err != nil {
		return nil, err
	}
	return c.st.Account(info.ID)
}

// Close closes the copy.
func (c *Copy) Close() error {
	var err error
	for _, a := range c.st.accounts {
		err = errors.Join(err, a.close())
	}
	c.unlock()
	return errors.Join(err, c.st.sys.Close())
}
