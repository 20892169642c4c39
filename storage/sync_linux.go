package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData is fdatasync: the journal's size and place never change.
func syncData(f journalFile) error {
	file, ok := f.(*os.File)
	if !ok {
		return f.(interface{ Sync() error }).Sync()
	}
	for {
		if err := unix.Fdatasync(int(file.Fd())); err != unix.EINTR {
			return err
		}
	}
}
