package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// SocketFile is the name of the control socket in the data folder.
const SocketFile = "control.sock"

// maxSocketPath is what fits into a socket's address on every system
// (unix(7): 108 bytes with the NUL, 104 on BSD).
const maxSocketPath = 100

// Listen makes the control socket, for the owner and its group. A socket that
// a dead server left is replaced: the caller holds the data folder's lock, so
// no other server of these data lives.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l net.Listener
	err := withSocketPath(path, func(short string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	// The path given may be a short name for the time of the call only.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socketListener{Listener: l, path: path}, nil
}

// socketListener removes the socket's file when it closes.
type socketListener struct {
	net.Listener
	path string
}

func (l *socketListener) Close() error {
	err := l.Listener.Close()
	if rerr := os.Remove(l.path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

func dialSocket(ctx context.Context, path string) (c net.Conn, err error) {
	err = withSocketPath(path, func(short string) (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "unix", short)
		return err
	})
	return c, err
}

// withSocketPath gives f a name for path that fits into a socket's address:
// a long one is reached through the descriptor of its folder.
func withSocketPath(path string, f func(string) error) error {
	if len(path) <= maxSocketPath {
		return f(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil {
		return &fs.PathError{Op: "socket", Path: path, Err: syscall.ENAMETOOLONG}
	}
	return f(short)
}
