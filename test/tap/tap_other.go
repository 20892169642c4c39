//go:build !linux || !(amd64 || arm64)

package tap

import "os/exec"

// Supported is nil if programs can be tapped here.
func Supported() error { return ErrUnsupported }

// Launch turns this process into the tapped program, if it was started for
// that.
func Launch() {}

// A Tap is a program under observation.
type Tap struct{}

// Wrap changes a command so that it starts under a tap.
func Wrap(*exec.Cmd, Options) (*Tap, error) { return nil, ErrUnsupported }

// Begin begins to answer the started program's calls.
func (*Tap) Begin() error { return ErrUnsupported }

// Close waits until all that the program did was seen.
func (*Tap) Close() error { return ErrUnsupported }

// Kill ends the program at once.
func (*Tap) Kill() {}
