//go:build amd64 || arm64

package tap

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// handlers do the calls, by number; openat has its own place in the filter.
// calls_linux_amd64.go adds the old forms that arm64 never had.
var handlers = map[int]func(*call) (int64, error){
	unix.SYS_WRITE:           (*call).write,
	unix.SYS_PWRITE64:        (*call).write,
	unix.SYS_WRITEV:          (*call).refuseOurs,
	unix.SYS_PWRITEV:         (*call).refuseOurs,
	unix.SYS_PWRITEV2:        (*call).refuseOurs,
	unix.SYS_COPY_FILE_RANGE: (*call).noShortcut,
	unix.SYS_SENDFILE:        (*call).noShortcut,
	unix.SYS_SPLICE:          (*call).noShortcut,
	unix.SYS_FSYNC:           (*call).sync,
	unix.SYS_FDATASYNC:       (*call).sync,
	unix.SYS_FTRUNCATE:       (*call).truncate,
	unix.SYS_FALLOCATE:       (*call).allocate,
	unix.SYS_RENAMEAT:        func(c *call) (int64, error) { return c.rename(c.args[0], c.args[1], c.args[2], c.args[3], 0) },
	unix.SYS_RENAMEAT2:       func(c *call) (int64, error) { return c.rename(c.args[0], c.args[1], c.args[2], c.args[3], c.args[4]) },
	unix.SYS_LINKAT:          func(c *call) (int64, error) { return c.link(c.args[0], c.args[1], c.args[2], c.args[3]) },
	unix.SYS_UNLINKAT:        func(c *call) (int64, error) { return c.remove(c.args[0], c.args[1], int(c.args[2])) },
	unix.SYS_MKDIRAT:         func(c *call) (int64, error) { return c.mkdir(c.args[0], c.args[1], uint32(c.args[2])) },
}

const here = uint64(0xffffff9c) // AT_FDCWD

// refuseOurs: a call that nothing of ours makes, so that it needs no code; if
// one does, the test shall fail.
func (c *call) refuseOurs() (int64, error) {
	fd, _, err := c.file()
	if err != nil {
		return 0, errPass
	}
	return 0, errors.Join(errors.New("tap: a call that is not recorded"), unix.Close(fd))
}

// noShortcut: without copies inside of the kernel Go's io.Copy reads and writes.
func (c *call) noShortcut() (int64, error) { return 0, unix.ENOSYS }

func (c *call) write() (int64, error) {
	fd, path, err := c.file()
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	b, err := c.bytes(c.args[1], c.args[2])
	if err != nil {
		return 0, err
	}
	if path == c.t.o.Marks {
		c.after(Event{Op: Mark, Data: b})
		return int64(len(b)), nil
	}
	e := Event{Op: Write, Path: path, Offset: int64(c.args[3])}
	var size int64
	if e.Inode, size, err = inode(fd); err != nil {
		return 0, err
	}
	at := int(c.nr) == unix.SYS_PWRITE64
	if !at {
		if e.Offset, err = position(fd, size); err != nil {
			return 0, err
		}
	}
	if c.t.o.Data {
		e.Data = b
	}
	e.Size = int64(len(b))
	if err := c.before(e); err != nil {
		return 0, err
	}
	var n int
	if at {
		n, err = unix.Pwrite(fd, b, e.Offset)
	} else {
		n, err = unix.Write(fd, b)
	}
	if err != nil {
		return 0, err
	}
	if e.Size = int64(n); e.Data != nil {
		e.Data = b[:n]
	}
	c.after(e)
	return int64(n), nil
}

// position is where the next write of a descriptor goes.
func position(fd int, size int64) (int64, error) {
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
		return 0, err
	} else if flags&unix.O_APPEND != 0 {
		return size, nil
	}
	return unix.Seek(fd, 0, 1)
}

func (c *call) sync() (int64, error) {
	fd, path, err := c.file()
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	e := Event{Op: Sync, Path: path}
	if e.Inode, _, err = inode(fd); err != nil {
		return 0, err
	}
	if err := c.before(e); err != nil {
		return 0, err
	}
	if !c.t.o.NoSync {
		if err := unix.Fsync(fd); err != nil {
			return 0, err
		}
	}
	c.after(e)
	return 0, nil
}

func (c *call) truncate() (int64, error) {
	fd, path, err := c.file()
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	e := Event{Op: Truncate, Path: path, Size: int64(c.args[1])}
	if e.Inode, _, err = inode(fd); err != nil {
		return 0, err
	}
	if err := c.before(e); err != nil {
		return 0, err
	}
	if err := unix.Ftruncate(fd, e.Size); err != nil {
		return 0, err
	}
	c.after(e)
	return 0, nil
}

func (c *call) allocate() (int64, error) {
	fd, path, err := c.file()
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	e := Event{Op: Extend, Path: path, Size: int64(c.args[2] + c.args[3])}
	if c.args[1] != 0 {
		return 0, unix.EOPNOTSUPP // holes and the like: nothing of ours makes them
	}
	if e.Inode, _, err = inode(fd); err != nil {
		return 0, err
	}
	if err := c.before(e); err != nil {
		return 0, err
	}
	if err := unix.Fallocate(fd, 0, int64(c.args[2]), int64(c.args[3])); err != nil {
		return 0, err
	}
	c.after(e)
	return 0, nil
}

// open makes or empties a file, and puts it into the program's table.
func (c *call) open() (int64, error) {
	path, err := c.path(c.args[0], c.args[1])
	if err != nil {
		return 0, errPass
	}
	name, ok := c.t.below(path)
	if !ok {
		return 0, errPass
	}
	flags := int(c.args[2])
	var old unix.Stat_t
	there := unix.Lstat(path, &old) == nil
	e := Event{Op: Create, Path: name}
	happens := true
	if there {
		e.Op, e.Inode = Truncate, old.Ino
		happens = flags&unix.O_TRUNC != 0 && old.Size > 0 && old.Mode&unix.S_IFMT == unix.S_IFREG
	}
	if happens {
		if err := c.before(e); err != nil {
			return 0, err
		}
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, uint32(c.args[3]))
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if happens {
		if e.Inode, _, err = inode(fd); err != nil {
			return 0, err
		}
		c.after(e)
	}
	return 0, c.give(fd, uint32(flags&unix.O_CLOEXEC))
}

// named are the two paths of a call, if both or none are below the root.
func (c *call) named(dir1, name1, dir2, name2 uint64) (full [2]string, below [2]string, err error) {
	for i, at := range [2][2]uint64{{dir1, name1}, {dir2, name2}} {
		if full[i], err = c.path(at[0], at[1]); err != nil {
			return full, below, errPass
		}
		ok := false
		if below[i], ok = c.t.below(full[i]); !ok {
			below[i] = ""
		}
	}
	switch {
	case below[0] == "" && below[1] == "":
		return full, below, errPass
	case below[0] == "" || below[1] == "":
		return full, below, errors.New("tap: " + full[0] + " and " + full[1] + " are not both below the root")
	}
	return full, below, nil
}

func (c *call) rename(dir1, name1, dir2, name2, flags uint64) (int64, error) {
	full, below, err := c.named(dir1, name1, dir2, name2)
	if err != nil {
		return 0, err
	}
	e := Event{Op: Rename, Path: below[0], To: below[1]}
	if flags&unix.RENAME_EXCHANGE != 0 {
		e.Op = Exchange
	}
	if err := c.before(e); err != nil {
		return 0, err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, full[0], unix.AT_FDCWD, full[1], uint(flags)); err != nil {
		return 0, err
	}
	c.after(e)
	return 0, nil
}

func (c *call) link(dir1, name1, dir2, name2 uint64) (int64, error) {
	full, below, err := c.named(dir1, name1, dir2, name2)
	if err != nil {
		return 0, err
	}
	e := Event{Op: Link, Path: below[0], To: below[1]}
	if err := c.before(e); err != nil {
		return 0, err
	}
	if err := unix.Linkat(unix.AT_FDCWD, full[0], unix.AT_FDCWD, full[1], 0); err != nil {
		return 0, err
	}
	c.after(e)
	return 0, nil
}

func (c *call) remove(dir, name uint64, flags int) (int64, error) {
	path, err := c.path(dir, name)
	if err != nil {
		return 0, errPass
	}
	below, ok := c.t.below(path)
	if !ok {
		return 0, errPass
	}
	e := Event{Op: Remove, Path: below}
	if err := c.before(e); err != nil {
		return 0, err
	}
	if err := unix.Unlinkat(unix.AT_FDCWD, path, flags); err != nil {
		return 0, err
	}
	c.after(e)
	return 0, nil
}

func (c *call) mkdir(dir, name uint64, mode uint32) (int64, error) {
	path, err := c.path(dir, name)
	if err != nil {
		return 0, errPass
	}
	below, ok := c.t.below(path)
	if !ok {
		return 0, errPass
	}
	e := Event{Op: Mkdir, Path: below}
	if err := c.before(e); err != nil {
		return 0, err
	}
	if err := unix.Mkdir(path, mode); err != nil {
		return 0, err
	}
	c.after(e)
	return 0, nil
}

func supported() error {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return ErrUnsupported
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	major, minor := release(unix.ByteSliceToString(u.Release[:]))
	if major < 5 || major == 5 && minor < 19 {
		return ErrUnsupported
	}
	return nil
}

func release(s string) (major, minor int) {
	n := &major
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			*n = *n*10 + int(r-'0')
		case r == '.' && n == &major:
			n = &minor
		default:
			return major, minor
		}
	}
	return major, minor
}
