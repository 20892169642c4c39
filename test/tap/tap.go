// Package tap runs a program and sees, in order, each system call with which
// it changes files below a folder: writes, syncs, new names, renames, removed
// names. Nothing of the program is changed for that: the kernel asks
// (seccomp's user notification) and the test does the call in the program's
// place, one after the other. So a test can record all that goes to the disk
// and make of it every state that a power cut may leave (Disk), or end the
// program at the third fsync of a file.
//
// It needs Linux on amd64 or arm64; elsewhere Supported says why not. A test
// binary that uses it calls Launch first in its TestMain.
package tap

import (
	"errors"
	"fmt"
)

// ErrUnsupported: this system doesn't let tests see system calls.
var ErrUnsupported = errors.New("tap: needs seccomp's user notification, on Linux 5.19 and amd64")

// Op is what a call does.
type Op uint8

// The calls that change files. A Mark is none: it is a line that the program
// wrote to Options.Marks, to tell how far it is.
const (
	Create   Op = iota + 1 // a new, empty file
	Write                  // Data at Offset
	Truncate               // the file has Size octets from now on
	Extend                 // the file has at least Size octets from now on
	Sync                   // of a file or a folder
	Rename                 // from Path to To
	Remove                 // of a file's name or an empty folder
	Mkdir
	Link     // of Path, under the name To
	Exchange // of Path and To
	Mark
)

func (o Op) String() string {
	return [...]string{"?", "create", "write", "truncate", "extend", "sync", "rename", "remove", "mkdir", "link", "exchange", "mark"}[o]
}

// An Event is one call.
type Event struct {
	Op     Op
	Path   string // below the root, with slashes; "." is the root
	To     string // of Rename, Link and Exchange
	Inode  uint64 // of the file that was made, written, synced
	Offset int64
	Size   int64
	Data   []byte // of Write, if Options.Data, and of Mark
}

func (e Event) String() string {
	switch e.Op {
	case Rename, Link, Exchange:
		return fmt.Sprintf("%s %s to %s", e.Op, e.Path, e.To)
	case Write:
		return fmt.Sprintf("write %d at %d of %s", e.Size, e.Offset, e.Path)
	case Mark:
		return fmt.Sprintf("mark %q", e.Data)
	}
	return fmt.Sprintf("%s %s", e.Op, e.Path)
}

// Options of a Tap.
type Options struct {
	Root   string // what happens below this folder is seen
	Marks  string // a file, outside of Root, whose writes are marks; "": none
	Data   bool   // keep what is written in the events
	NoSync bool   // say to the program that a sync is done, without doing it

	// Clock, if set, is the program's clock.
	Clock *Clock

	// Before and After are called around each call, one call at a time. Inodes
	// of new files are known After. Both may kill the program.
	Before, After func(*Tap, Event)
}
