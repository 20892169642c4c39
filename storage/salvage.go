package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// SalvageOptions says what Salvage brings out.
type SalvageOptions struct {
	Account string // name, address or id; "" for all
	Kept    bool   // expunged messages too
	// Temp is a folder, outside the damaged data, for temporary files: up to a
	// tenth of a percent of the data.
	Temp string

	disk func(name string, r io.ReaderAt) io.ReaderAt // a failing one, for tests
}

// Salvage brings out what is left of the accounts in path, a data folder or an
// account's, when files are damaged so that they can't be opened or repaired.
// It reads only, and needs no system.db.
func Salvage(ctx context.Context, path string, o SalvageOptions, sink SalvageSink) (all []SalvageCounts, err error) {
	dirs, err := salvageFolders(path)
	if err != nil {
		return nil, err
	}
	names := map[AccountID]AccountInfo{}
	if root := salvageRoot(path, dirs); root != "" {
		unlock, err := lockToSalvage(root)
		if err != nil {
			return nil, err
		}
		defer unlock()
		names = salvageNames(ctx, filepath.Join(root, systemFile))
	}
	taken := map[string]bool{}
	for _, dir := range dirs {
		c, found, err := salvageAccount(ctx, dir, o, names, taken, sink)
		if err != nil {
			return all, fmt.Errorf("%s: %w", dir, err)
		}
		if found {
			all = append(all, c)
		}
		delete(names, AccountID(filepath.Base(dir)))
	}
	if o.Account != "" && len(all) == 0 {
		return all, fmt.Errorf("%w: %s has no account %s that can be told by its name or address; give its folder instead of %s", ErrNoAccount, path, o.Account, path)
	}
	if o.Account != "" {
		return all, nil
	}
	// What is left of names has no folder.
	for id, info := range names {
		c := SalvageCounts{Account: info.Name, ID: string(id), Missing: true}
		all = append(all, c)
		if err := sink.Finding(SalvageFinding{Kind: SalvageFile, Account: info.Name, File: filepath.Join(accountsFolder, string(id)), Why: "the folder of the account is not there"}); err != nil {
			return all, err
		}
	}
	return all, nil
}

// salvageFolders finds the account folders in path.
func salvageFolders(path string) (dirs []string, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if salvageable(path) {
		return []string{path}, nil
	}
	parent := filepath.Join(path, accountsFolder)
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		parent = path // "accounts" itself
		entries, err = os.ReadDir(parent)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		raw, err := idEncoding.DecodeString(e.Name())
		if dir := filepath.Join(parent, e.Name()); err == nil && len(raw) == 10 && salvageable(dir) {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%s: there is no account: neither mail.db nor body-NNNN.db, nor a folder %s with such", path, accountsFolder)
	}
	return dirs, nil
}

// salvageable reports whether a folder has files of an account.
func salvageable(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "mail.db")); err == nil {
		return true
	}
	found, _ := filepath.Glob(filepath.Join(dir, "body-????.db"))
	return len(found) > 0
}

// salvageRoot is the data folder of the accounts, if they are in one.
func salvageRoot(path string, dirs []string) string {
	for _, dir := range []string{path, filepath.Dir(filepath.Dir(dirs[0]))} {
		if filepath.Base(filepath.Dir(dirs[0])) != accountsFolder {
			return ""
		}
		for _, name := range []string{lockFile, idFile, systemFile, systemCopyFile} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return dir
			}
		}
	}
	return ""
}

// lockToSalvage keeps servers out, without writing anything: files that are
// written to meanwhile would look damaged.
func lockToSalvage(root string) (unlock func(), err error) {
	f, err := os.Open(filepath.Join(root, lockFile))
	if err != nil {
		return func() {}, nil // it isn't there, or isn't ours to read: no server runs here as this user
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = lockHolder(f, root)
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil // some file systems have no locks
}

// salvageNames reads the accounts' names in system.db, as far as they are there.
func salvageNames(ctx context.Context, path string) map[AccountID]AccountInfo {
	names := map[AccountID]AccountInfo{}
	for _, path := range []string{path, path + ".1"} {
		f, err := openRaw(path, systemFile, nil)
		if err != nil {
			continue
		}
		w := &rawWalk{ctx: ctx, f: f.raw, names: []string{string(bucketAccounts), string(bucketMeta)}}
		w.sink = func(kind string, _ uint64, e *rawItem, rank byte) error {
			if kind != string(bucketAccounts) || rank > 0 {
				return nil
			}
			if data, err := unsealSystem(e.key, e.value); err == nil {
				if info, err := decodeAccount(e.key, data); err == nil {
					names[info.ID] = info
				}
			}
			return nil
		}
		_, err = w.run()
		_ = f.close()
		if err == nil && len(names) > 0 {
			break
		}
	}
	return names
}

// An openRawFile is a damaged file that is open for reading.
type openRawFile struct {
	salvageFile
	file *os.File
}

func openRaw(path, name string, disk func(name string, r io.ReaderAt) io.ReaderAt) (*openRawFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f := &openRawFile{file: file, salvageFile: salvageFile{unread: map[uint64]error{}}}
	bad := func(page uint64, err error) {
		if len(f.unread) < goneMax {
			f.unread[page] = err
		}
	}
	f.raw = &rawFile{name: name, r: file, size: info.Size(), bad: bad}
	if disk != nil {
		f.raw.r = disk(name, file)
	}
	f.raw.findOrder()
	return f, nil
}

func (f *openRawFile) close() error { return f.file.Close() }

// salvageAccount brings out what is in an account's folder. found is false if
// it is not the one that is wanted.
func salvageAccount(ctx context.Context, dir string, o SalvageOptions, names map[AccountID]AccountInfo, taken map[string]bool, sink SalvageSink) (c SalvageCounts, found bool, err error) {
	x := newSalvageIndex(ctx, o.Temp)
	s := &salvager{x: x, sink: sink, kept: o.Kept, refs: newSortTable(o.Temp, 8), absent: map[uint16]bool{}}
	defer func() { err = errors.Join(err, x.close(), s.refs.close()) }()
	var findings []SalvageFinding
	closers, findings, err := s.open(dir, o, names, taken)
	defer func() {
		for _, f := range closers {
			_ = f.close()
		}
	}()
	if err != nil || closers == nil {
		return c, false, err
	}
	if err := x.sort(); err != nil {
		return c, true, err
	}
	var ferr error
	if s.flags, ferr = x.readFlags(filepath.Join(dir, "flags.journal")); ferr != nil {
		findings = append(findings, SalvageFinding{Kind: SalvageFile, File: "flags.journal", Why: ferr.Error() + "; the last changes of flags are lost"})
	}
	if err := sink.Account(s.counts.Account); err != nil {
		return c, true, err
	}
	for _, f := range findings {
		s.counts.Missing = true
		if err := s.find(f); err != nil {
			return c, true, err
		}
	}
	if err := s.run(); err != nil {
		return s.counts, true, err
	}
	err = s.pages()
	return s.counts, true, err
}

// open reads the account's files. It returns none if the account is not the
// one that is wanted.
func (s *salvager) open(dir string, o SalvageOptions, names map[AccountID]AccountInfo, taken map[string]bool) (open []*openRawFile, findings []SalvageFinding, err error) {
	id := AccountID(filepath.Base(dir))
	paths, err := filepath.Glob(filepath.Join(dir, "body-????.db"))
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(paths)
	for i, path := range append([]string{filepath.Join(dir, "mail.db")}, paths...) {
		f, err := openRaw(path, filepath.Base(path), o.disk)
		if err != nil {
			findings = append(findings, SalvageFinding{Kind: SalvageFile, File: filepath.Base(path), Why: openFailure(err)})
			s.counts.Missing = true
		} else {
			open = append(open, f)
			if i > 0 {
				n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(f.raw.name, "body-"), ".db"), 10, 16)
				f.volume = uint16(n)
			}
			err = s.x.read(&f.salvageFile)
			if errors.Is(err, errForeignVolume) {
				findings = append(findings, SalvageFinding{Kind: SalvageFile, File: f.raw.name, Why: err.Error()})
			} else if err != nil {
				return open, findings, err
			}
		}
		if i == 0 && !s.named(id, o, names, taken) {
			for _, f := range open {
				_ = f.close()
			}
			return nil, nil, nil
		}
	}
	return open, append(findings, s.absentVolumes()...), nil
}

func openFailure(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "it is not there"
	}
	return err.Error()
}

// named finds the account's name, and tells whether the account is wanted.
func (s *salvager) named(id AccountID, o SalvageOptions, names map[AccountID]AccountInfo, taken map[string]bool) bool {
	if has := s.x.meta["account"]; len(has) == 16 {
		id = AccountID(has)
	}
	p := decodeProfile(s.x.meta["profile"])
	name := p.Name
	if info, ok := names[id]; ok && name == "" {
		name = info.Name
	}
	if canonical, err := CanonicalName(name); err != nil || strings.ContainsAny(canonical, `/\`) || strings.HasPrefix(canonical, ".") || taken[canonical] {
		name = "account-" + string(id)
	}
	taken[name] = true
	s.counts.Account, s.counts.ID = name, string(id)
	return o.Account == "" || strings.EqualFold(o.Account, name) || o.Account == string(id) ||
		slices.ContainsFunc(p.Addresses, func(a string) bool { return strings.EqualFold(a, o.Account) })
}

// absentVolumes names the body volumes that the index knows and that are not
// there.
func (s *salvager) absentVolumes() (findings []SalvageFinding) {
	seen := s.x.meta["volumes"]
	for ; len(seen) >= 10; seen = seen[10:] {
		n := uint16(seen[0]) | uint16(seen[1])<<8
		if n == 0 || slices.ContainsFunc(s.x.files, func(f *salvageFile) bool { return f.volume == n }) {
			continue
		}
		s.absent[n] = true
		findings = append(findings, SalvageFinding{Kind: SalvageFile, File: volumeFile(n), Why: "it is not there"})
	}
	return findings
}

// derivedKinds hold nothing of a message: without them nothing is missing.
var derivedKinds = []string{"meta page", string(bucketEmails), string(bucketThreads), string(bucketRecords), string(bucketLog), string(bucketSubs), string(bucketOpen), string(bucketRuns), string(bucketBlocks)}

// pages lists the pages that are damaged or could not be read.
func (s *salvager) pages() error {
	for _, f := range s.x.files {
		if f.state == nil {
			continue
		}
		for _, h := range f.state.holes {
			what := h.kind
			if what == kindTop {
				what = "the names of the buckets"
			}
			s.counts.Pages++
			s.counts.Missing = s.counts.Missing || !slices.Contains(derivedKinds, h.kind)
			if err := s.find(SalvageFinding{Kind: SalvagePage, File: f.raw.name, Page: h.page, Why: fmt.Sprintf("%s (of: %s)", h.why, what)}); err != nil {
				return err
			}
		}
		for page, err := range f.unread {
			if slices.ContainsFunc(f.state.holes, func(h pageHole) bool { return h.page == page }) {
				continue
			}
			s.counts.Pages++
			s.counts.Missing = true
			if err := s.find(SalvageFinding{Kind: SalvagePage, File: f.raw.name, Page: page, Why: err.Error()}); err != nil {
				return err
			}
		}
	}
	c := &s.counts
	if s.x.state != nil && !s.x.state.sure && c.Missing {
		if err := s.find(SalvageFinding{Kind: SalvageFile, File: "mail.db",
			Why: "its newest state is lost in part: messages of the last minutes may be missing that nothing here names"}); err != nil {
			return err
		}
	}
	c.Missing = c.Missing || c.Lost > 0 || c.Damaged > 0
	for kind, n := range s.x.spoilt {
		c.Missing = c.Missing || !slices.Contains(derivedKinds, kind)
		if err := s.find(SalvageFinding{Kind: SalvagePage, File: "mail.db", Why: fmt.Sprintf("%d entries of %s fail their checksum", n, kind)}); err != nil {
			return err
		}
	}
	return nil
}
