package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// copyDelay is how long after a change system.db.1 follows: a burst of
// changes costs one copy.
const copyDelay = 2 * time.Second

// systemCopies keeps system.db.1, the checked copy that takes the place of a
// damaged system.db.
type systemCopies struct {
	st *Store

	mu      sync.Mutex // held while a copy is written
	timer   *time.Timer
	pending bool
	closed  bool
}

// changed notes that system.db has moved on.
func (c *systemCopies) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.pending {
		return
	}
	c.pending = true
	c.timer = time.AfterFunc(copyDelay, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flush()
	})
}

// flush writes the copy if it is due; c.mu is held.
func (c *systemCopies) flush() {
	if c.closed || !c.pending {
		return
	}
	c.pending = false
	if err := c.st.copySystem(); err != nil {
		c.st.log.Error("system_copy_failed", slog.String("file", systemCopyFile), slog.String("error", err.Error()))
	}
}

func (c *systemCopies) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.flush()
	c.closed = true
}

// copySystem writes system.db.1: the copy takes the place of the last one
// only after it has been read through.
func (st *Store) copySystem() error {
	if err := st.here(); err != nil {
		return err
	}
	temp := filepath.Join(st.dir, systemCopyFile+".new")
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return mapError(err)
	}
	err = st.view(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(f)
		return err
	})
	if err == nil && !st.opts.NoSync {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return mapError(err)
	}
	if err := st.verifySystem(temp); err != nil {
		return err
	}
	return moveInto(temp, filepath.Join(st.dir, systemCopyFile), !st.opts.NoSync)
}

// verifySystem reads a system.db or its copy through: pages, checksums, rows.
func (st *Store) verifySystem(path string) error {
	db, err := openSystem(path, st.id, &bolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return err
	}
	var findings []string
	err = db.View(func(tx *bolt.Tx) error {
		findings = checkSystem(tx)
		return nil
	})
	if err == nil && len(findings) > 0 {
		err = fmt.Errorf("%s: %s: %w", path, findings[0], ErrCorrupt)
	}
	return errors.Join(err, db.Close())
}

// recoverSystem is called when system.db can't be opened: a file that is
// gone or damaged is put aside and its copy takes its place.
func (st *Store) recoverSystem(cause error) error {
	if !errors.Is(cause, fs.ErrNotExist) && !isDamage(cause) {
		return cause
	}
	path, copied := filepath.Join(st.dir, systemFile), filepath.Join(st.dir, systemCopyFile)
	if err := st.verifySystem(copied); err != nil {
		return fmt.Errorf("%w; and its copy doesn't help: %w", cause, err)
	}
	aside := fmt.Sprintf("%s.damaged-%d", path, st.now().Unix())
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(cause, err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return errors.Join(cause, err)
	}
	if err := copyFile(copied, path); err != nil {
		return errors.Join(cause, err)
	}
	st.log.Error("system_restored", slog.String("file", path), slog.String("from", copied),
		slog.String("damaged", aside), slog.String("error", cause.Error()))
	return nil
}

// copyFile makes a copy whole or not at all.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	b, err := io.ReadAll(in) // small: names and settings of a household
	if err != nil {
		return err
	}
	return writeInto(to, b)
}

// isDamage tells a file that is broken from one that can't be opened for
// another reason (rights, a newer format, another folder's), where its copy
// must not take its place.
func isDamage(err error) bool {
	for _, damage := range []error{
		ErrCorrupt, bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch,
		bolterrors.ErrInvalidMapping, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}
