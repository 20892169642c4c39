package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockFolder takes dir/nestbox.lock for this process. The lock is flock's: it
// ends with the process, however that ends. The text inside is for people and
// for LockedError only.
func lockFolder(dir, version string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, lockHolder(f, dir)
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	if version == "" {
		version = "unknown"
	}
	// A holder that can't write its name holds the lock all the same: a full
	// disk must not keep the server from starting.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(fmt.Sprintf("%d %s\n", os.Getpid(), version)), 0)
	}
	return f, nil
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err
		}
	}
}

// unlockFolder gives the lock back. It says so, as closing the file is not
// enough while a process that was just started still has a copy of it. The file
// stays: removing it would let two processes lock two files of one name.
func unlockFolder(f *os.File) error {
	_ = f.Truncate(0)
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// lockHolder reads who holds the lock; between taking it and writing the text
// there is a moment in which the file is empty.
func lockHolder(f *os.File, dir string) error {
	for try := 0; ; try++ {
		b, _ := io.ReadAll(io.NewSectionReader(f, 0, 256))
		pid, version, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
		if n, err := strconv.Atoi(pid); err == nil && n > 0 {
			return &LockedError{Dir: dir, PID: n, Version: version}
		}
		if try == 20 {
			return &LockedError{Dir: dir, Version: "unknown"}
		}
		time.Sleep(5 * time.Millisecond)
	}
}
