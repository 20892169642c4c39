// Package rig builds the real binary and runs it, and its peer Dovecot, as
// child processes on loopback. It ends only processes that it started.
package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the folder of the module.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil || mod == "" || mod == os.DevNull {
		return "", fmt.Errorf("go env GOMOD: %q, %v", mod, err)
	}
	return filepath.Dir(mod), nil
}

// Build builds nestbox into dir; env are settings such as GOARCH=arm. The
// binary is stripped, as released.
func Build(dir string, env ...string) (binary string, err error) { return build(dir, "", env...) }

// BuildTagged is Build with tags: "torture" takes limits from the environment
// (storage/hooks_torture.go).
func BuildTagged(dir, tags string, env ...string) (binary string, err error) {
	return build(dir, tags, env...)
}

func build(dir, tags string, env ...string) (binary string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "nestbox")
	build := exec.Command("go", "build", "-trimpath", "-tags", tags, "-ldflags", "-s -w", "-o", binary, ".")
	build.Dir = root
	build.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}
