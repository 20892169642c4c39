package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hookRole says what the test's own program is to be when a test starts it.
const hookRole = "TEST_HOOK_ROLE"

// TestHooksRole is no test: it is the process that runs hooks, or a server
// that restricts itself and then has a hook run.
func TestHooksRole(t *testing.T) {
	role := os.Getenv(hookRole)
	path := os.Getenv("TEST_HOOK_PATH")
	switch role {
	case "":
		t.Skip("started by the other tests")
	case "hooks":
		if err := serveHooks(os.NewFile(hookSocket, "server"), []string{path}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	h := testHooks(t, path)
	if err := noNewPrivileges(); err != nil {
		t.Skip("left out: ", err) // with cgo, as under the race detector
	}
	if version, err := landlock("auto", []wantedPath{{"/proc/self", reading}}); version == 0 {
		t.Skip("left out: no Landlock: ", err)
	}
	if _, err := os.ReadFile(path); !errors.Is(err, os.ErrPermission) {
		t.Errorf("reading %s after the restriction: %v", path, err)
	}
	if err := exec.Command(path, "present").Run(); !errors.Is(err, os.ErrPermission) {
		t.Errorf("running %s after the restriction: %v", path, err)
	}
	out, err := h.Run(t.Context(), hook{Path: path, Args: []string{"present"}, Timeout: time.Minute})
	if err != nil || string(out) != "present\n" {
		t.Errorf("the hook: %q, %v", out, err)
	}
}

func testHooks(t *testing.T, path string) *hooks {
	t.Helper()
	env := append(os.Environ(), hookRole+"=hooks", "TEST_HOOK_PATH="+path, "NOTIFY_SOCKET=/nowhere", "NESTBOX_DATA=/nowhere")
	h, err := startHooks([]string{os.Args[0], "-test.run=^TestHooksRole$", "--"}, env, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error("the process that runs hooks: ", err)
		}
	})
	return h
}

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHooksOutsideLandlock: a server that can't open or start anything any
// more has its hook run all the same.
func TestHooksOutsideLandlock(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHooksRole$", "-test.v")
	cmd.Env = append(os.Environ(), hookRole+"=server", "TEST_HOOK_PATH="+script(t, `echo "$1"`))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "left out") {
		t.Skipf("%s", out)
	}
	if !strings.Contains(string(out), "--- PASS: TestHooksRole") {
		t.Errorf("%s", out)
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	path := script(t, `case $1 in
fail) echo broken >&2; exit 3;;
env) echo "$NESTBOX_FQDN $NOTIFY_SOCKET$NESTBOX_DATA$LISTEN_PID";;
sleep) sleep 600;;
much) i=0; while [ $i -lt 5000 ]; do echo 0123456789012345678901234567890; i=$((i+1)); done;;
esac
`)
	h := testHooks(t, path)
	run := func(arg string, timeout time.Duration, env ...string) (string, error) {
		out, err := h.Run(t.Context(), hook{Path: path, Args: []string{arg}, Env: env, Timeout: timeout})
		return string(out), err
	}
	if out, err := run("env", time.Minute, "NESTBOX_FQDN=a.example"); err != nil || out != "a.example \n" {
		t.Errorf("env: %q, %v", out, err)
	}
	if out, err := run("fail", time.Minute); out != "broken\n" || err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("fail: %q, %v", out, err)
	}
	if out, err := run("much", time.Minute); err != nil || len(out) != maxHookOutput {
		t.Errorf("much: %d bytes, %v", len(out), err)
	}
	if _, err := run("sleep", 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "did not end within 50ms") {
		t.Errorf("sleep: %v", err)
	}
	if _, err := run("env", time.Minute, "LD_PRELOAD=/tmp/x.so"); err == nil {
		t.Error("a variable that changes how programs are loaded was taken")
	}
	if _, err := h.Run(t.Context(), hook{Path: "/bin/sh", Timeout: time.Minute}); err == nil || !strings.Contains(err.Error(), "restart nestbox") {
		t.Errorf("a program that is no hook: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Run(ctx, hook{Path: path, Args: []string{"sleep"}, Timeout: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	// One that runs at the end is ended with it: the test's end waits for it.
	go func() {
		_, _ = h.Run(context.Background(), hook{Path: path, Args: []string{"sleep"}, Timeout: time.Hour})
	}()
	if out, err := run("env", time.Minute); err != nil {
		t.Errorf("after all that: %q, %v", out, err)
	}
}

func TestHooksProcessGone(t *testing.T) {
	t.Parallel()
	path := script(t, "sleep 600\n")
	h := testHooks(t, path)
	failed := make(chan error, 1)
	go func() {
		_, err := h.Run(context.Background(), hook{Path: path, Timeout: time.Hour})
		failed <- err
	}()
	if err := h.c.(interface{ CloseWrite() error }).CloseWrite(); err != nil { // it takes the server for gone
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("a hook of a process that has gone went well")
	}
	for {
		_, err := h.Run(t.Context(), hook{Path: path, Timeout: time.Hour})
		if err != nil && strings.Contains(err.Error(), "restart nestbox") {
			break
		}
	}
}
