// Package blockdisk is a disk whose every write and flush a test sees: one file
// of a FUSE file system, below a loop device. Of what a file system above it
// wrote since the last flush a test can leave out what it likes, as a power cut
// does (what the kernel's dm-log-writes and dm-flakey are for, where it has them).
package blockdisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An Event is a write that the disk has done, or a flush.
type Event struct {
	At     time.Time
	Offset int64
	Data   []byte
	Flush  bool
}

// A Disk is in use from New to Close.
type Disk struct {
	Device string // the loop device
	dir    string
	size   int64
	fuse   int
	done   chan struct{}

	mu     sync.Mutex
	image  []byte
	events []Event
}

// New makes a disk of size octets; dir is an empty folder for it.
func New(dir string, size int64) (d *Disk, err error) {
	d = &Disk{dir: dir, size: size, image: make([]byte, size), done: make(chan struct{})}
	if d.fuse, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", d.fuse, os.Getuid(), os.Getgid())
	if err := syscall.Mount("blockdisk", dir, "fuse.blockdisk", 0, options); err != nil {
		return nil, errors.Join(err, unix.Close(d.fuse))
	}
	go d.serve()
	out, err := exec.Command("losetup", "--find", "--show", filepath.Join(dir, diskName)).CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("losetup: %w: %s", err, out), d.Close())
	}
	d.Device = strings.TrimSpace(string(out))
	return d, nil
}

// Close ends it. Nothing may be mounted from it.
func (d *Disk) Close() (err error) {
	if d.Device != "" {
		if out, e := exec.Command("losetup", "--detach", d.Device).CombinedOutput(); e != nil {
			err = fmt.Errorf("losetup: %w: %s", e, out)
		}
	}
	err = errors.Join(err, syscall.Unmount(d.dir, syscall.MNT_DETACH))
	select {
	case <-d.done:
	case <-time.After(10 * time.Second):
		err = errors.Join(err, errors.New("blockdisk: the file system is still in use"))
	}
	return errors.Join(err, unix.Close(d.fuse))
}

// Events are those until now.
func (d *Disk) Events() []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events[:len(d.events):len(d.events)]
}

// Cut writes to path the disk as it may be after the first n events: all that
// was written before the last flush among them, and of each later block of
// 4096 octets what chance leaves.
func Cut(path string, size int64, events []Event, random *rand.Rand) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	last := 0
	for i, e := range events {
		if e.Flush {
			last = i
		}
	}
	part := []float64{0, 0.5, 0.9, 1}[random.IntN(4)]
	for i, e := range events {
		for at := 0; at < len(e.Data) && err == nil; at += 4096 {
			if i < last || random.Float64() < part {
				_, err = f.WriteAt(e.Data[at:min(at+4096, len(e.Data))], e.Offset+int64(at))
			}
		}
	}
	return errors.Join(err, f.Close())
}

// What the kernel asks, linux/fuse.h.
const (
	opLookup, opForget, opGetattr, opSetattr, opOpen, opRead, opWrite = 1, 2, 3, 4, 14, 15, 16
	opStatfs, opRelease, opFsync, opFlush, opInit, opOpendir          = 17, 18, 20, 25, 26, 27
	opReleasedir, opAccess, opInterrupt, opDestroy, opBatchForget     = 29, 34, 36, 38, 42

	diskName  = "disk"
	diskNode  = 2
	inHeader  = 40
	maxWrite  = 128 << 10
	outHeader = 16
)

var le = binary.LittleEndian

// serve answers until the file system is unmounted.
func (d *Disk) serve() {
	defer close(d.done)
	buf := make([]byte, maxWrite+64<<10)
	for {
		n, err := unix.Read(d.fuse, buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < inHeader {
			return // ENODEV: it is unmounted
		}
		op, unique, node, in := le.Uint32(buf[4:]), le.Uint64(buf[8:]), le.Uint64(buf[16:]), buf[inHeader:n]
		if op == opForget || op == opBatchForget || op == opInterrupt {
			continue
		}
		out, errno := d.answer(op, node, in)
		reply := make([]byte, outHeader, outHeader+len(out))
		le.PutUint32(reply, uint32(outHeader+len(out)))
		le.PutUint32(reply[4:], uint32(-int32(errno)))
		le.PutUint64(reply[8:], unique)
		if _, err := unix.Write(d.fuse, append(reply, out...)); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

func (d *Disk) answer(op uint32, node uint64, in []byte) (out []byte, errno syscall.Errno) {
	switch op {
	case opInit:
		out = make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[8:], le.Uint32(in[8:])) // read ahead
		le.PutUint16(out[16:], 16)
		le.PutUint16(out[18:], 12)
		le.PutUint32(out[20:], maxWrite)
		le.PutUint32(out[24:], 1)
		return out, 0
	case opLookup:
		if name, _, _ := bytes.Cut(in, []byte{0}); string(name) != diskName {
			return nil, syscall.ENOENT
		}
		out = make([]byte, 40, 128)
		le.PutUint64(out, diskNode)
		le.PutUint64(out[16:], 3600)
		le.PutUint64(out[24:], 3600)
		return append(out, d.attributes(diskNode)...), 0
	case opGetattr, opSetattr:
		out = make([]byte, 16, 104)
		le.PutUint64(out, 3600)
		return append(out, d.attributes(node)...), 0
	case opOpen, opOpendir:
		return make([]byte, 16), 0
	case opRead:
		return d.read(int64(le.Uint64(in[8:])), int64(le.Uint32(in[16:]))), 0
	case opWrite:
		n := le.Uint32(in[16:])
		d.write(int64(le.Uint64(in[8:])), in[40:40+n])
		out = make([]byte, 8)
		le.PutUint32(out, n)
		return out, 0
	case opFsync:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.events = append(d.events, Event{At: time.Now(), Flush: true})
		return nil, 0
	case opStatfs:
		return make([]byte, 80), 0
	case opFlush, opRelease, opReleasedir, opAccess, opDestroy:
		return nil, 0
	}
	return nil, syscall.ENOSYS
}

func (d *Disk) attributes(node uint64) []byte {
	a := make([]byte, 88)
	le.PutUint64(a, node)
	mode, size := uint32(syscall.S_IFDIR|0o700), uint64(0)
	if node == diskNode {
		mode, size = syscall.S_IFREG|0o600, uint64(d.size)
	}
	le.PutUint64(a[8:], size)
	le.PutUint64(a[16:], size/512)
	le.PutUint32(a[60:], mode)
	le.PutUint32(a[64:], 1)
	le.PutUint32(a[68:], uint32(os.Getuid()))
	le.PutUint32(a[72:], uint32(os.Getgid()))
	le.PutUint32(a[80:], 4096)
	return a
}

func (d *Disk) read(offset, n int64) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := min(offset, d.size)
	return bytes.Clone(d.image[from:min(from+n, d.size)])
}

func (d *Disk) write(offset int64, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.image[min(offset, d.size):], data)
	d.events = append(d.events, Event{At: time.Now(), Offset: offset, Data: bytes.Clone(data)})
}
