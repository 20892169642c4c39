package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A BackupDir is a folder that holds a backup. It is laid out like the data
// folder; besides, it has backup.json, and so has each account's folder: what
// its files are. A run writes whole folders under temporary names beside those
// that are there, checks them, and then exchanges them, account by account.
type BackupDir struct {
	dir   string
	lock  *os.File
	head  backupHead
	fresh bool // there is no backup in it yet
	// touched: a command has opened it, so that files may have changed.
	touched bool
	ctx     context.Context
	staged  map[string]bool // folders that are complete, and sound or not
	kept    map[string]bool // folders that the data folder has too
	cur     *backupFolder
	pace    copyPace
	report  BackupReport
}

// backupHead is backup.json of the folder as a whole.
type backupHead struct {
	Format    int       `json:"format"`
	MinReader int       `json:"min_reader"`
	Store     string    `json:"store"` // the id of the data folder
	Finished  time.Time `json:"finished"`
	Version   string    `json:"version"`
	Accounts  int       `json:"accounts"`
	Octets    int64     `json:"octets"` // of the last run
}

// backupList is backup.json of an account's folder.
type backupList struct {
	Format int                    `json:"format"`
	Name   string                 `json:"name"`
	Taken  time.Time              `json:"taken"`
	ModSeq ModSeq                 `json:"modseq"`
	Files  map[string]*backupItem `json:"files"`
}

type backupItem struct {
	State  string `json:"state"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const (
	backupFormat   = 1
	backupFile     = "backup.json"
	stagedSuffix   = ".new"
	formerSuffix   = ".old"
	unsoundSuffix  = ".unsound"
	backupHouseNew = ".new"
)

// A BackupReport is what a run of a backup did.
type BackupReport struct {
	Accounts int      `json:"accounts"`
	Files    int      `json:"files"`  // that were written
	Kept     int      `json:"kept"`   // that the copy had already
	Octets   int64    `json:"octets"` // that came over
	Total    int64    `json:"total"`  // octets of the copy
	Gone     []string `json:"gone,omitempty"`
	Findings []string `json:"findings,omitempty"`
	Seconds  float64  `json:"seconds"`
}

// ErrNoBackup says that a folder is no backup.
var ErrNoBackup = errors.New("holds no backup (no " + backupFile + " in it)")

// OpenBackupDir takes a folder for a run of a backup of the data folder data:
// one that is missing or empty, or that holds the backup of that data folder.
// With replace it may be the backup of another.
func OpenBackupDir(ctx context.Context, dir, data string, replace bool) (*BackupDir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if inside(dir, data) {
		return nil, fmt.Errorf("%s is in the data folder %s: a backup belongs on another disk", dir, data)
	}
	if inside(data, dir) {
		return nil, fmt.Errorf("the data folder %s is in %s: name another folder for the backup", data, dir)
	}
	b := &BackupDir{dir: dir, ctx: ctx, staged: map[string]bool{}, kept: map[string]bool{}}
	if err := b.look(replace); err != nil {
		return nil, err
	}
	if err := makeFolder(filepath.Join(dir, accountsFolder)); err != nil {
		return nil, mapError(err)
	}
	if b.lock, err = os.Open(dir); err != nil {
		return nil, err
	}
	// Network file systems may not lock folders: then nothing but care keeps
	// two runs apart.
	if err := flock(b.lock); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("another backup writes to %s", dir), b.lock.Close())
	}
	if err := recoverBackup(dir); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// inside reports whether path is dir, or below it.
func inside(path, dir string) bool {
	if dir == "" {
		return false
	}
	real := func(p string) string {
		for rest := ""; ; {
			if r, err := filepath.EvalSymlinks(p); err == nil {
				return filepath.Join(r, rest)
			}
			if filepath.Dir(p) == p {
				return filepath.Join(p, rest)
			}
			p, rest = filepath.Dir(p), filepath.Join(filepath.Base(p), rest)
		}
	}
	rel, err := filepath.Rel(real(dir), real(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// look sees what is in the folder.
func (b *BackupDir) look(replace bool) error {
	entries, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		b.fresh = true
		return nil
	}
	if err != nil {
		return err
	}
	b.head, err = readBackupHead(b.dir)
	switch {
	case errors.Is(err, ErrNoBackup):
		if _, serr := os.Stat(filepath.Join(b.dir, idFile)); serr == nil {
			return fmt.Errorf("%s is a data folder in use, not a backup: name another folder", b.dir)
		}
		if onlyStaged(b.dir, entries) { // a first run was interrupted
			b.fresh = true
			return nil
		}
		return fmt.Errorf("%s is not empty and %w: name an empty or a new folder", b.dir, err)
	case err != nil:
		return err
	}
	if err := b.unused(); err != nil {
		return err
	}
	if replace {
		b.head = backupHead{}
	}
	return nil
}

// unused refuses a folder that a server has used as its data folder: there may
// be mail in it that is nowhere else. One that a command only looked at has the
// MODSEQs that were backed up; what it changed in the files comes anew.
func (b *BackupDir) unused() error {
	unlock, err := lookFolder(b.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(b.dir, lockFile)); err != nil {
		return nil
	}
	b.touched = true
	entries, err := os.ReadDir(filepath.Join(b.dir, accountsFolder))
	for _, e := range entries {
		if strings.Contains(e.Name(), ".") {
			continue
		}
		l, err := b.list(e.Name())
		if err != nil {
			return errors.Join(b.used(e.Name()), err)
		}
		if at, err := modSeqOf(b.path(e.Name(), "")); err != nil || at != l.ModSeq {
			return errors.Join(b.used(l.Name), err)
		}
	}
	return err
}

// modSeqOf is the last MODSEQ of an account that nobody uses.
func modSeqOf(dir string) (at ModSeq, err error) {
	a := newAccount(quietStore(filepath.Dir(filepath.Dir(dir))), AccountID(filepath.Base(dir)))
	a.dir = dir
	err = a.exec(func(f *files) error { at = f.modseq; return nil })
	return at, errors.Join(err, a.close())
}

// same reports whether a file is what the list says.
func (b *BackupDir) same(path string, item *backupItem) bool {
	info, err := os.Stat(path)
	if err != nil || info.Size() != item.Size || !b.touched {
		return err == nil && info.Size() == item.Size
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	sum, err := sumOf(f)
	return err == nil && sum == item.SHA256
}

func (b *BackupDir) used(what string) error {
	return fmt.Errorf("%s is not as the backup left it (account %s): a server has used it as its data folder, so it is no backup any more; name another folder", b.dir, what)
}

// onlyStaged reports whether a folder has nothing but what a first run that
// was interrupted leaves.
func onlyStaged(dir string, entries []os.DirEntry) bool {
	for _, e := range entries {
		if e.Name() != accountsFolder && !strings.HasSuffix(e.Name(), backupHouseNew) && e.Name() != systemFile {
			return false
		}
	}
	accounts, err := os.ReadDir(filepath.Join(dir, accountsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	for _, e := range accounts {
		if _, err := os.Stat(filepath.Join(dir, accountsFolder, e.Name(), backupFile)); err != nil && !strings.HasSuffix(e.Name(), stagedSuffix) {
			return false
		}
	}
	return true
}

func readBackupHead(dir string) (h backupHead, err error) {
	path := filepath.Join(dir, backupFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("%s %w", dir, ErrNoBackup)
	}
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(b, &h); err != nil || h.Format == 0 {
		return h, fmt.Errorf("%s: %w", path, ErrCorrupt)
	}
	if h.MinReader > backupFormat {
		return h, &FormatError{File: path, MinReader: h.MinReader, Known: backupFormat}
	}
	return h, nil
}

// recoverBackup ends what an interrupted run left: no folder is without its
// former or its new content.
func recoverBackup(dir string) error {
	accounts := filepath.Join(dir, accountsFolder)
	entries, err := os.ReadDir(accounts)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	for _, e := range entries {
		path := filepath.Join(accounts, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), stagedSuffix):
			err = os.RemoveAll(path)
		case strings.HasSuffix(e.Name(), formerSuffix):
			to := strings.TrimSuffix(path, formerSuffix)
			if _, serr := os.Stat(to); errors.Is(serr, fs.ErrNotExist) {
				err = os.Rename(path, to)
			} else {
				err = os.RemoveAll(path)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Check refuses the backup of another data folder.
func (b *BackupDir) Check(store string) error {
	if b.head.Store != "" && b.head.Store != store {
		return fmt.Errorf("%s holds the backup of data folder %s, this is %s: name another folder, or --replace it", b.dir, b.head.Store, store)
	}
	b.head.Store = store
	return nil
}

// Have tells what need not come again.
func (b *BackupDir) Have() BackupHave {
	have := BackupHave{}
	entries, _ := os.ReadDir(filepath.Join(b.dir, accountsFolder))
	for _, e := range entries {
		l, err := b.list(e.Name())
		if err != nil || b.head.Store == "" {
			continue
		}
		states := map[string]string{}
		for name, item := range l.Files {
			if b.same(b.path(e.Name(), name), item) {
				states[name] = item.State
			}
		}
		have[e.Name()] = states
	}
	return have
}

func (b *BackupDir) path(folder, name string) string {
	return filepath.Join(b.dir, accountsFolder, folder, name)
}

func (b *BackupDir) list(folder string) (l backupList, err error) {
	data, err := os.ReadFile(b.path(folder, backupFile))
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	return l, err
}

// Close gives the folder back. A run that did not come to BackupEnd has
// changed nothing.
func (b *BackupDir) Close() error {
	var err error
	if b.cur != nil {
		err = b.cur.drop()
	}
	for folder := range b.staged {
		err = errors.Join(err, os.RemoveAll(b.path(folder+stagedSuffix, "")))
	}
	return errors.Join(err, b.lock.Close())
}

// Report is what the run did so far.
func (b *BackupDir) Report() BackupReport { return b.report }
