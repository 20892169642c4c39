package rig

import (
	"errors"
	"fmt"
	"os"
)

// binaryVariable names the binary under test; when it is set already, nothing
// is built, so that a packaged binary can be tested.
const binaryVariable = "TEST_NESTBOX_BINARY"

// Main runs the tests of a package with a freshly built binary. It is called
// from TestMain with m.Run.
func Main(run func() int) (code int) {
	if os.Getenv(binaryVariable) != "" {
		return run()
	}
	dir, err := os.MkdirTemp("", "nestbox-binary-")
	if err == nil {
		var binary string
		if binary, err = Build(dir); err == nil {
			err = os.Setenv(binaryVariable, binary)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// Binary is the binary under test.
func Binary() (string, error) {
	if b := os.Getenv(binaryVariable); b != "" {
		return b, nil
	}
	return "", errors.New(binaryVariable + " is not set: TestMain must call rig.Main")
}
