package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// events.db holds what may be lost: the audit log and who is banned
// (schema_system.go). It is open only while it is written or read. One that is
// damaged, of another data folder or of a later nestbox is put aside, and another
// begun: no mail waits for it.
type events struct {
	mu      sync.Mutex
	entries map[auditKey]*auditEntry
	gone    []*auditEntry      // whose rows are to be removed
	bans    map[string]*BanRow // to be written; nil: removed
	timer   *time.Timer
	due     time.Time
	written time.Time // last
	closed  bool

	using sync.Mutex // of who has the file open
}

const (
	// eventsPeriod is how long what happened waits to be written, together with
	// what comes meanwhile.
	eventsPeriod = time.Minute
	// eventsApart is between two commits, however urgent.
	eventsApart = time.Second
)

// schedule sees that what is noted gets written. The lock is held.
func (g *events) schedule(st *Store, urgent bool) {
	now := time.Now()
	due := now.Add(eventsPeriod)
	if urgent {
		due = now
		if next := g.written.Add(eventsApart); next.After(due) {
			due = next
		}
	}
	switch {
	case g.timer == nil:
		g.timer = time.AfterFunc(due.Sub(now), st.eventsDue)
	case g.due.IsZero() || due.Before(g.due):
		g.timer.Reset(due.Sub(now))
	default:
		return
	}
	g.due = due
}

func (st *Store) eventsDue() {
	g := &st.events
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if !closed {
		st.flushEvents()
	}
}

// FlushEvents writes what was noted and isn't on the disk yet.
func (st *Store) FlushEvents() { st.flushEvents() }

// flushEvents writes, with one commit, what isn't on the disk yet. What can't be
// written stays for the next time.
func (st *Store) flushEvents() {
	g := &st.events
	g.using.Lock()
	defer g.using.Unlock()
	batch := g.take()
	if batch.empty() {
		return
	}
	err := st.here()
	if err == nil {
		err = st.useEvents(false, func(db *boltFile) error { return mapError(db.Update(batch.write)) })
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.putBack(batch)
		if !g.closed {
			g.schedule(st, false)
		}
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDiskFull) {
			st.log.Warn("events_not_written", slog.String("error", err.Error()))
		}
		return
	}
	batch.done(g)
}

// closeEvents writes what is left. No event is noted afterwards.
func (st *Store) closeEvents() {
	g := &st.events
	g.mu.Lock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
	g.mu.Unlock()
	st.flushEvents()
}

// useEvents opens events.db for a moment. Without it there is none to read; who
// writes makes it. using is held.
func (st *Store) useEvents(read bool, do func(db *boltFile) error) error {
	path := filepath.Join(st.dir, eventsFile)
	db, err := openEvents(path, st.id, &bolt.Options{ReadOnly: read, NoSync: st.opts.NoSync})
	switch {
	case errors.Is(err, fs.ErrNotExist) && read:
		return nil
	case errors.Is(err, fs.ErrNotExist):
	case err != nil && (read || !unusableEvents(err)):
		return mapError(err)
	case err != nil:
		if err := st.setEventsAside(path, err); err != nil {
			return err
		}
	}
	if db == nil {
		if err := createEvents(path, st.id, st.opts.NoSync); err != nil {
			return err
		}
		if db, err = openEvents(path, st.id, &bolt.Options{NoSync: st.opts.NoSync}); err != nil {
			return err
		}
	}
	if !read {
		st.opts.opened(path, db.DB)
	}
	err = do(db)
	cerr := db.Close()
	if !read && errors.Is(err, ErrCorrupt) && st.here() == nil {
		return errors.Join(err, st.setEventsAside(path, err))
	}
	return errors.Join(err, cerr)
}

// unusableEvents tells a file that another must take the place of from a disk
// that doesn't answer.
func unusableEvents(err error) bool {
	var format *FormatError
	var foreign *ForeignError
	var order *ByteOrderError
	return errors.Is(err, ErrCorrupt) || errors.As(err, &format) || errors.As(err, &foreign) || errors.As(err, &order)
}

// setEventsAside gives a file that can't be used another name. A former one of
// that name is no more.
func (st *Store) setEventsAside(path string, cause error) error {
	aside := path + eventsAside
	st.log.Error("events_set_aside", slog.String("file", eventsFile), slog.String("aside", filepath.Base(aside)), slog.String("error", fmt.Sprint(cause)))
	return moveInto(path, aside, !st.opts.NoSync)
}

// createEvents makes an empty events.db, whole or not at all.
func createEvents(path, id string, noSync bool) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openBolt(temp, &bolt.Options{NoSync: noSync})
	if err != nil {
		return mapError(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range eventsBuckets() {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		format := binary.LittleEndian.AppendUint16(nil, eventsFormat)
		return errors.Join(
			putSystem(tx, bucketMeta, []byte("format"), format),
			putSystem(tx, bucketMeta, []byte("min_reader"), format),
			putSystem(tx, bucketMeta, []byte("store"), []byte(id)))
	})
	if err := mapError(errors.Join(err, db.Close())); err != nil {
		return err
	}
	return moveInto(temp, path, !noSync)
}

// openEvents opens events.db if it is there, whole, and of this data folder.
func openEvents(path, id string, o *bolt.Options) (*boltFile, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Size() < minSystem {
		return nil, fmt.Errorf("%s has %d bytes: %w", path, fi.Size(), ErrCorrupt)
	}
	if err := byteOrder(path); err != nil {
		return nil, err
	}
	db, err := openBolt(path, o)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Size() > fi.Size() {
			return fmt.Errorf("%s is cut off: it has %d of %d bytes: %w", path, fi.Size(), tx.Size(), ErrCorrupt)
		}
		return readEventsHead(tx, path, id)
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func readEventsHead(tx *bolt.Tx, path, id string) error {
	for _, name := range eventsBuckets() {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%s has no bucket %s: %w", path, name, ErrCorrupt)
		}
	}
	b, err := getSystem(tx, bucketMeta, []byte("min_reader"))
	if err != nil || len(b) != 2 {
		return fmt.Errorf("%s: min_reader: %w", path, ErrCorrupt)
	}
	if n := int(binary.LittleEndian.Uint16(b)); n > eventsFormat {
		return &FormatError{File: path, MinReader: n, Known: eventsFormat}
	}
	b, err = getSystem(tx, bucketMeta, []byte("store"))
	if err != nil {
		return fmt.Errorf("%s: store: %w", path, ErrCorrupt)
	}
	if string(b) != id {
		return &ForeignError{File: path, Has: string(b), Want: id}
	}
	return nil
}
