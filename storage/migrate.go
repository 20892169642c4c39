package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A migration brings an account's mail.db from the format before it to its
// own. It runs when the account is first opened by a nestbox that has it,
// before anything else is read, in slices with a commit each. The old mail.db
// is kept beside the new one: mail.db.format1.
//
//   - A crash between two slices: the next open goes on behind the last one.
//   - While it is under way and after it min_reader says that an older nestbox
//     can't read the file, so that one refuses it and changes nothing. To go back
//     to the older nestbox, put the kept file in the place of mail.db.
//   - flags.journal has a format of its own, and is read after the migration.
//   - Body volumes stay as they are: later formats read those of earlier ones.
type migration struct {
	to        uint16 // its format
	minReader uint16 // what a nestbox must know to read the result
	// slice does one transaction's work, at most 1 MB or 500 rows in random
	// order, from at on, which is what the slice before returned; nil at the
	// beginning and, as a result, at the end.
	slice func(tx *bolt.Tx, at []byte) (next []byte, err error)
}

// migrations are all there are, in the order of their formats: format 1 is the
// first one that left the house.
var migrations []migration

// keepOldFormat is how long the mail.db from before a migration is kept.
const keepOldFormat = 30 * 24 * time.Hour

// format is what mail.db and the volumes are made in.
func (o *Options) format() uint16 {
	if o.hooks != nil && len(o.hooks.migrations) > 0 {
		return o.hooks.migrations[len(o.hooks.migrations)-1].to
	}
	return formatVersion
}

func (o *Options) migrations() []migration {
	if o.hooks != nil && len(o.hooks.migrations) > 0 {
		return o.hooks.migrations
	}
	return migrations
}

// step is called at the points of a migration at which a test kills it.
func (o *Options) step(point string) {
	if o.hooks != nil && o.hooks.step != nil {
		o.hooks.step(point)
	}
}

func oldFormatPath(path string, format uint16) string {
	return fmt.Sprintf("%s.format%d", path, format)
}

// readHead checks that the file is this account's and that we can read it.
func (f *files) readHead(path string) error {
	return f.mail.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("%w: %s is not a nestbox file", ErrCorrupt, path)
		}
		if v := getUint16(meta, "min_reader"); v > f.a.st.opts.format() {
			return &FormatError{File: path, MinReader: int(v), Known: int(f.a.st.opts.format())}
		}
		if id := meta.Get([]byte("account")); string(id) != string(f.a.id) {
			return &StrayError{File: path, Has: string(id), Want: string(f.a.id)}
		}
		return nil
	})
}

// migrate brings mail.db to the present format.
func (f *files) migrate(path string) error {
	o := &f.a.st.opts
	var format, target uint16
	var begun migrating
	err := f.mail.View(func(tx *bolt.Tx) error {
		format = getUint16(tx.Bucket(bucketMeta), "format")
		begun = decodeMigrating(tx.Bucket(bucketMeta).Get(keyMigrating))
		return nil
	})
	if target = o.format(); err != nil || format >= target {
		return err
	}
	start, from := time.Now(), format
	if begun.to != 0 {
		from = begun.from
	}
	kept := oldFormatPath(path, from)
	f.a.st.log.Info("account_migrating", "account", string(f.a.id), "from", from, "to", target, "kept", kept)
	if begun.to == 0 { // else the copy is there
		if err := f.keepOld(path, kept); err != nil {
			return fmt.Errorf("migrating %s from format %d to %d: %w", path, from, target, err)
		}
	}
	f.noteFormat(target)
	slices := 0
	for _, m := range o.migrations() {
		if m.to <= format {
			continue
		}
		n, err := f.runMigration(m, from, m.to == target)
		if slices += n; err != nil {
			return fmt.Errorf("migrating %s to format %d: %w; it goes on when the account is opened again, and %s is as it was", path, m.to, err, kept)
		}
	}
	f.a.st.log.Info("account_migrated", "account", string(f.a.id), "from", from, "to", target, "slices", slices,
		"seconds", int(time.Since(start).Seconds()))
	return nil
}

// keyMigrating is of an entry of meta that is there during a migration.
var keyMigrating = []byte("migrating")

// A migrating says how far a migration is.
type migrating struct {
	to, from uint16 // 0, 0 when there is none; from is the format of the kept file
	at       []byte
}

func (m migrating) encode() []byte {
	b := binary.LittleEndian.AppendUint16(nil, m.to)
	return append(binary.LittleEndian.AppendUint16(b, m.from), m.at...)
}

func decodeMigrating(v []byte) (m migrating) {
	if len(v) >= 4 {
		m = migrating{binary.LittleEndian.Uint16(v), binary.LittleEndian.Uint16(v[2:]), bytes.Clone(v[4:])}
	}
	return m
}

// runMigration does the slices of m that are left.
func (f *files) runMigration(m migration, from uint16, last bool) (slices int, err error) {
	for more := true; more; slices++ {
		err := f.mail.Update(func(tx *bolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			var at []byte
			if is := decodeMigrating(meta.Get(keyMigrating)); is.to == m.to && len(is.at) > 0 {
				at = is.at
			}
			next, err := m.slice(tx, at)
			if err != nil {
				return err
			}
			is, min := migrating{m.to, from, next}, m.to
			if more = next != nil; !more {
				is.at, min = nil, m.minReader
				if err := meta.Put([]byte("format"), binary.LittleEndian.AppendUint16(nil, m.to)); err != nil {
					return err
				}
			}
			if !more && last {
				err = meta.Delete(keyMigrating)
			} else {
				err = meta.Put(keyMigrating, is.encode())
			}
			return errors.Join(err, putUint64(meta, "counter", getUint64(meta, "counter")+1),
				meta.Put([]byte("min_reader"), binary.LittleEndian.AppendUint16(nil, min)))
		})
		if err != nil {
			return slices, mapError(err)
		}
		f.a.st.opts.step("slice")
	}
	return slices, nil
}

// keepOld copies mail.db as it is, under a temporary name until all of it is
// on the disk.
func (f *files) keepOld(path, kept string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	// The copy, and what the new form may take besides the old pages.
	need := info.Size() + info.Size()/2 + 4*allocStep
	if fs, err := f.a.st.opts.statFS(f.dir); err == nil && fs.Free < need {
		return fmt.Errorf("%w: %d MB are needed, %d MB are free; nothing was changed", ErrDiskFull, need>>20+1, fs.Free>>20)
	}
	if err := copyKept(path, kept, f.a.st.opts.step); err != nil {
		return mapError(err)
	}
	return syncDir(f.dir)
}

func copyKept(path, kept string, step func(string)) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	temp := kept + ".new"
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = io.CopyN(out, in, 1<<20)
		step("copy")
	}
	if err == io.EOF {
		err = nil
	}
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	step("copied")
	return os.Rename(temp, kept)
}

// noteFormat has system.db say that an older nestbox can't serve the account,
// so that one refuses to start instead of failing at each login.
func (f *files) noteFormat(format uint16) {
	note, err := f.a.st.note(f.a.id)
	if err == nil {
		note.MinReader = format
		f.a.st.setNote(f.a.id, note)
		err = f.a.st.writeNotes()
	}
	if err != nil {
		f.a.st.log.Warn("note_failed", "account", string(f.a.id), "error", err)
	}
}

// checkFormats refuses a data folder with an account that a later nestbox has
// migrated. Accounts that were put here by hand are refused when they are
// opened.
func (st *Store) checkFormats() error {
	notes, err := st.Notes()
	if err != nil {
		return nil // Check's to say; none of it is needed to serve
	}
	for id, n := range notes {
		if n.MinReader <= st.opts.format() {
			continue
		}
		// The file from before the migration may have been put back.
		path := filepath.Join(st.accountDir(id), "mail.db")
		if min, err := minReaderOf(path); err == nil && min > st.opts.format() {
			return &FormatError{File: path, MinReader: int(min), Known: int(st.opts.format())}
		}
	}
	return nil
}

// minReaderOf reads the format that a nestbox must know to read a file.
func minReaderOf(path string) (min uint16, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, err // bolt would make an empty one
	}
	db, err := openMap(path, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return 0, err
	}
	err = db.View(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			min = getUint16(meta, "min_reader")
		}
		return nil
	})
	return min, errors.Join(err, db.Close())
}

// dropOldFormats removes the files of the time before a migration when they
// have been kept long enough.
func (st *Store) dropOldFormats() error {
	if !st.clockTrusted() {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(st.dir, accountsFolder, "*", "mail.db.format*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		age := st.now().Sub(info.ModTime())
		switch {
		case age < 0 || info.ModTime().Before(st.clock.built): // its clock was wrong: its time begins now
			errs = append(errs, os.Chtimes(path, st.now(), st.now()))
		case age > keepOldFormat || age > 24*time.Hour && strings.HasSuffix(path, ".new"):
			st.log.Info("old_format_dropped", "file", path)
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}
