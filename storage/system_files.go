package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A ForeignError says that a file belongs to another data folder.
type ForeignError struct {
	File      string
	Has, Want string // ids of data folders
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s belongs to data folder %s, not to %s", e.File, e.Has, e.Want)
}

// A ByteOrderError says that a file comes from a machine of the other byte order.
type ByteOrderError struct{ File string }

func (e *ByteOrderError) Error() string {
	return e.File + " was written on a machine of the other byte order: bring the data over with backup and restore"
}

// boltMagic stands behind the 16 bytes of the first page's header, in the
// byte order of the machine.
const boltMagic = 0xED0CDAED

// byteOrder tells a bbolt file of the other byte order from a damaged one.
func byteOrder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [20]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return nil // too short: bbolt says so
	}
	var other binary.ByteOrder = binary.BigEndian
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		other = binary.LittleEndian
	}
	if other.Uint32(head[16:]) == boltMagic {
		return &ByteOrderError{File: path}
	}
	return nil
}

// writeInto makes a file whole or not at all: temporary name, fsync, rename,
// fsync of the folder.
func writeInto(path string, data []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return mapError(err)
	}
	return moveInto(temp, path, true)
}

// moveInto renames a complete file; with sync the new name is on the disk
// when it returns.
func moveInto(from, to string, sync bool) error {
	if err := os.Rename(from, to); err != nil {
		return mapError(err)
	}
	if !sync {
		return nil
	}
	return syncDir(filepath.Dir(to))
}

// makeFolder makes a folder, with those above it; each name is on the disk
// when it returns.
func makeFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolder(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			_ = syncDir(filepath.Dir(dir)) // perhaps it is new; if not, others' folder may be closed to us
			return nil
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
