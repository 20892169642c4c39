package rig

import (
	"errors"
	"fmt"
	"os"

	"nestbox/test/tap"
)

// binaryVariable names the binary under test; when it is set already, nothing
// is built, so that a packaged binary can be tested.
const binaryVariable = "TEST_NESTBOX_BINARY"

// Main runs the tests of a package with a freshly built binary. It is called
// from TestMain with m.Run.
func Main(run func() int) (code int) { return MainTagged(run, "") }

// MainTagged is Main with a binary that is built with tags: "torture" takes
// limits from the environment (storage/hooks_torture.go).
func MainTagged(run func() int, tags string) (code int) {
	tap.Launch()
	if os.Getenv(binaryVariable) != "" {
		return run()
	}
	dir, err := os.MkdirTemp("", "nestbox-binary-")
	if err == nil {
		var binary string
		if binary, err = build(dir, tags); err == nil {
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
