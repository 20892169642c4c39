//go:build amd64 || arm64

package tap

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSignals: the runtime sends signals to the thread that answers, to
// preempt it. One that comes while a file is handed over must not become an
// open that has the result 0, and so the program's standard input.
func TestSignals(t *testing.T) {
	t.Parallel()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), openVariable+"="+root)
	var errs strings.Builder
	cmd.Stderr = &errs
	var thread atomic.Int32
	answers := func(*Tap, Event) { thread.Store(int32(unix.Gettid())) }
	w, err := Wrap(cmd, Options{Root: root, Before: answers, After: answers})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), w.Begin()); err != nil {
		t.Fatal(err)
	}
	stop, sent := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if id := thread.Load(); id != 0 && unix.Tgkill(os.Getpid(), int(id), unix.SIGURG) == nil {
				n++
			}
		}
	}()
	err = cmd.Wait()
	close(stop)
	if n := <-sent; n == 0 {
		t.Error("no signal was sent")
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Errorf("%v\n%s", err, errs.String())
	}
}
