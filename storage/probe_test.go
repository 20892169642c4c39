package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A file system that fails in one respect is refused, with the reason, and
// the probe leaves nothing behind.
func TestProbe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breaks func(p *prober)
		want   string
	}{
		"good":             {func(*prober) {}, ""},
		"no lock":          {func(p *prober) { p.flock = func(*os.File) error { return syscall.ENOSYS } }, "can't be locked"},
		"lock of no worth": {func(p *prober) { p.flock = func(*os.File) error { return nil } }, "keeps nobody out"},
		"no map": {func(p *prober) {
			p.mmap = func(*os.File, int) ([]byte, error) { return nil, syscall.ENODEV }
		}, "can't be mapped"},
		"map of old bytes": {func(p *prober) {
			p.mmap = func(f *os.File, n int) ([]byte, error) { // a copy, as a cache that isn't kept up is
				return syscall.Mmap(int(f.Fd()), 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
			}
			mmap := p.mmap
			p.mmap = func(f *os.File, n int) ([]byte, error) {
				m, err := mmap(f, n)
				if err == nil {
					m[4096]++ // now it has its own page
				}
				return m, err
			}
		}, "isn't seen"},
		"no rename":         {func(p *prober) { p.rename = func(string, string) error { return syscall.EEXIST } }, "can't be replaced"},
		"rename of nothing": {func(p *prober) { p.sameFile = func(os.FileInfo, os.FileInfo) bool { return true } }, "still the old one"},
		"no sync":           {func(p *prober) { p.sync = func(*os.File) error { return syscall.EINVAL } }, "files can't be synced"},
		"no sync of folder": {func(p *prober) { p.syncDir = func(string) error { return syscall.EINVAL } }, "folders can't be synced"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := systemProber()
			c.breaks(p)
			err := p.probe(dir)
			var unfit *UnfitError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (!errors.As(err, &unfit) || !strings.Contains(err.Error(), c.want) || unfit.FileSystem == ""):
				t.Errorf("%v, want the reason %q and the type of the file system", err, c.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// What a full disk can't do doesn't keep the server from starting, and what a
// crash left of a probe doesn't disturb.
func TestProbeOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, probeFile), []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := systemProber()
	p.sync = func(*os.File) error { return syscall.ENOSPC }
	if err := p.probe(dir); err != nil {
		t.Errorf("on a full disk: %v", err)
	}
}

func TestFileSystemOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	here, err := FileSystemOf(dir)
	if err != nil || here.Type == "" || here.Size <= 0 || here.Free <= 0 || here.Free > here.Size {
		t.Fatalf("%+v, %v", here, err)
	}
	later, err := FileSystemOf(filepath.Join(dir, "not", "there", "yet"))
	if err != nil || later.Type != here.Type || later.Size != here.Size {
		t.Errorf("a folder to come: %+v, %v; want %+v", later, err, here)
	}
	if shm, err := FileSystemOf("/dev/shm"); err == nil && shm.Type == "tmpfs" && !shm.Memory {
		t.Error("tmpfs isn't known as memory")
	}
}
