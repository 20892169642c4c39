package storage

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// A FileSystem is what holds a folder.
type FileSystem struct {
	Type   string // "ext4", as the system calls it, or a number
	Memory bool   // it is empty after a restart
	Size   int64
	Free   int64 // for this user
}

// FileSystemOf describes the file system of a folder, which need not be there
// yet: its nearest parent counts then.
func FileSystemOf(dir string) (FileSystem, error) {
	for {
		s, err := statFS(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				err = &fs.PathError{Op: "statfs", Path: dir, Err: err}
			}
			return s, err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return s, err
		}
		dir = parent
	}
}
