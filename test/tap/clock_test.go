package tap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tellTime writes the time down, waits for the test to change it, and does so
// again.
func tellTime(dir string) error {
	for i := range 2 {
		now := time.Now()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("time", i)), []byte(now.UTC().Format(time.RFC3339)), 0o600); err != nil {
			return err
		}
		for end := now.Add(20 * time.Second); i == 0; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(filepath.Join(dir, "go")); err == nil {
				break
			} else if time.Now().After(end) {
				return err
			}
		}
	}
	return nil
}

// TestClock: a program sees the time that its test wants, and a change of it.
func TestClock(t *testing.T) {
	t.Parallel()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	binary := filepath.Join(t.TempDir(), "program")
	if err := AskForTime(binary, os.Args[0]); err != nil {
		t.Fatal(err)
	}
	clock := &Clock{}
	clock.Set(time.Date(1970, 1, 1, 12, 0, 0, 0, time.UTC), false)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), timeVariable+"="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	first := filepath.Join(dir, "time0")
	seen := func(_ *Tap, e Event) {
		if e.Op == Write && e.Path == "time0" {
			clock.Set(time.Date(2036, 6, 1, 12, 0, 0, 0, time.UTC), true)
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	w, err := Wrap(cmd, Options{Root: dir, Clock: clock, After: seen})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), w.Begin(), cmd.Wait(), w.Close()); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	for path, want := range map[string]string{first: "1970-01-01T12:0", filepath.Join(dir, "time1"): "2036-06-01T12:0"} {
		if b, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %q, %v; want %s", path, b, err, want)
		}
	}
	if clock.Asked() < 2 {
		t.Errorf("it asked %d times", clock.Asked())
	}
}
