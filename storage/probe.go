package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// probeFile is made and removed to see what the file system can do.
const probeFile = "nestbox.probe"

// An UnfitError says that a file system can't hold mail, and why.
type UnfitError struct {
	Dir        string
	FileSystem string // its type, "" if that isn't known
	Why        string
}

func (e *UnfitError) Error() string {
	on := "is on a file system"
	if e.FileSystem != "" {
		on = "is on " + e.FileSystem
	}
	return fmt.Sprintf("%s %s that can't hold mail: %s. Take a folder on a disk of this machine", e.Dir, on, e.Why)
}

// A prober tries what bbolt and we need of a file system. Its functions are
// the system's; tests break them one by one.
type prober struct {
	flock    func(f *os.File) error
	mmap     func(f *os.File, n int) ([]byte, error)
	rename   func(from, to string) error
	sync     func(f *os.File) error
	syncDir  func(dir string) error
	sameFile func(a, b os.FileInfo) bool
}

func systemProber() *prober {
	return &prober{
		flock: flock,
		mmap: func(f *os.File, n int) ([]byte, error) {
			return syscall.Mmap(int(f.Fd()), 0, n, syscall.PROT_READ, syscall.MAP_SHARED)
		},
		rename: os.Rename, sync: (*os.File).Sync, syncDir: syncDir, sameFile: os.SameFile,
	}
}

// probe sees whether dir's file system locks files, shows what is written
// through memory maps, renames over a file and syncs folders. A full disk
// says nothing about that, and doesn't keep the server from starting.
func (p *prober) probe(dir string) error {
	path := filepath.Join(dir, probeFile)
	defer os.Remove(path)
	defer os.Remove(path + ".new")
	why, err := p.try(path)
	switch {
	case errors.Is(mapError(err), ErrDiskFull):
		return nil
	case why == "":
		return err
	}
	e := &UnfitError{Dir: dir, Why: why}
	if err != nil {
		e.Why = fmt.Sprintf("%s (%v)", why, err)
	}
	if s, err := statFS(dir); err == nil {
		e.FileSystem = s.Type
	}
	return e
}

// try reports why not, with the error that showed it if there was one; an
// error alone says nothing about the file system.
func (p *prober) try(path string) (why string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if why, err := p.tryLock(f, path); why != "" || err != nil {
		return why, err
	}
	if why, err := p.tryMap(f); why != "" || err != nil {
		return why, err
	}
	if err := p.sync(f); err != nil {
		return "files can't be synced", err
	}
	return p.tryRename(f, path)
}

func (p *prober) tryLock(f *os.File, path string) (why string, err error) {
	if err := p.flock(f); err != nil {
		return "files can't be locked", err
	}
	second, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer second.Close()
	switch err := p.flock(second); {
	case err == nil:
		return "the lock of a file keeps nobody out", nil
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return "files can't be locked", err
	}
	return "", nil
}

// tryMap writes before and after a file is mapped, and looks in the map.
func (p *prober) tryMap(f *os.File) (why string, err error) {
	const size = 2 * 4096
	page := bytes.Repeat([]byte("nestbox "), size/8)
	if _, err := f.WriteAt(page, 0); err != nil {
		return "", err
	}
	m, err := p.mmap(f, size)
	if err != nil {
		return "files can't be mapped into memory", err
	}
	defer func() { _ = syscall.Munmap(m) }()
	same := false
	err = survive(func() error {
		same = bytes.Equal(m, page)
		return nil
	})
	if err == nil && same {
		copy(page[4096:], "changed ")
		if _, err := f.WriteAt(page[4096:], 4096); err != nil {
			return "", err
		}
		err = survive(func() error {
			same = bytes.Equal(m, page)
			return nil
		})
	}
	if err != nil || !same {
		return "what is written to a file isn't seen in its memory map", err
	}
	return "", nil
}

func (p *prober) tryRename(f *os.File, path string) (why string, err error) {
	before, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path+".new", []byte("new"), 0o600); err != nil {
		return "", err
	}
	if err := p.rename(path+".new", path); err != nil {
		return "a file that is open can't be replaced by renaming", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	after, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if string(b) != "new" || p.sameFile(before, after) {
		return "a file that was replaced by renaming is still the old one", nil
	}
	if err := p.syncDir(filepath.Dir(path)); err != nil {
		return "folders can't be synced", err
	}
	return "", nil
}
