package tap

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// These make this test binary the program that is tapped.
const (
	playVariable = "TEST_TAP_PLAY"
	openVariable = "TEST_TAP_OPEN"
	timeVariable = "TEST_TAP_TIME"
)

// programs are what it can be, by variable.
var programs = map[string]func(dir string) error{playVariable: play, openVariable: open, timeVariable: tellTime}

func TestMain(m *testing.M) {
	Launch()
	for variable, program := range programs {
		dir := os.Getenv(variable)
		if dir == "" {
			continue
		}
		if err := program(dir); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// opens is how many files open opens.
const opens = 3000

// open looks whether each file that is opened is one that it can write to.
func open(dir string) error {
	for i := range opens {
		f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			return fmt.Errorf("file %d of %d has the descriptor %d: %w", i, opens, f.Fd(), err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// play replaces a file the careful way, and another one the careless way.
func play(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "careless"), []byte("new"), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "file.new"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err1 := f.Write([]byte("hello "))
	_, err2 := f.WriteAt([]byte("world"), 6)
	if err := errors.Join(err1, err2, f.Sync(), f.Close(), os.Rename(f.Name(), filepath.Join(dir, "file"))); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return err
	}
	return os.WriteFile(os.Getenv(playVariable)+".marks", []byte("done"), 0o600)
}

// tapped runs play under a tap.
func tapped(t *testing.T, o Options) (events []Event, end error) {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), playVariable+"="+o.Root)
	var errs strings.Builder
	cmd.Stderr = &errs
	o.Marks, o.Data = o.Root+".marks", true
	if err := os.WriteFile(o.Marks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.After = func(_ *Tap, e Event) { events = append(events, e) }
	w, err := Wrap(cmd, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), w.Begin()); err != nil {
		t.Fatal(err, errs.String())
	}
	end = cmd.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Error(errs.String())
	}
	return events, end
}

func TestEvents(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "careless"), []byte("old bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	events, err := tapped(t, Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, e.String())
	}
	want := []string{"truncate careless", "write 3 at 0 of careless", "create file.new", "write 6 at 0 of file.new", "write 5 at 6 of file.new",
		"sync file.new", "rename file.new to file", "sync .", `mark "done"`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestCut: what is synced, with its name, is there after each cut; what isn't
// is sometimes there, sometimes by half, sometimes not.
func TestCut(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "careless"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("old bytes"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := NewDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	events, err := tapped(t, Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	for i, e := range events {
		if err := d.Happen(e); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			dir := t.TempDir()
			if err := d.Cut(dir, RandomCut(random), random, nil); err != nil {
				t.Fatal(err)
			}
			file, err1 := os.ReadFile(filepath.Join(dir, "file"))
			careless, err2 := os.ReadFile(filepath.Join(dir, "careless"))
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			_, err := os.Stat(filepath.Join(dir, "file.new"))
			seen["file: "+string(file)] = true
			seen["careless: "+string(careless)] = true
			seen["file.new: "+map[bool]string{true: "there", false: "gone"}[err == nil]] = true
			if s := string(file); s != "old bytes" && s != "hello world" || i >= 7 && s != "hello world" {
				t.Fatalf("after %v: file is %q", e, s)
			}
		}
	}
	for _, want := range []string{"file: old bytes", "file: hello world", "careless: old bytes", "careless: ", "careless: new", "file.new: there", "file.new: gone"} {
		if !seen[want] {
			t.Errorf("no cut left %q", want)
		}
	}
}

// TestExchange: two names that change places do so together or not at all.
func TestExchange(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"a/f", "b/f"} {
		if err := errors.Join(os.Mkdir(filepath.Join(root, name[:1]), 0o700), os.WriteFile(filepath.Join(root, name), []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := NewDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Happen(Event{Op: Exchange, Path: "a", To: "b"}); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 3))
	seen := map[string]bool{}
	for range 50 {
		dir := t.TempDir()
		if err := d.Cut(dir, RandomCut(random), random, nil); err != nil {
			t.Fatal(err)
		}
		a, err1 := os.ReadFile(filepath.Join(dir, "a/f"))
		b, err2 := os.ReadFile(filepath.Join(dir, "b/f"))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		seen[string(a)+" "+string(b)] = true
	}
	if len(seen) != 2 || !seen["a/f b/f"] || !seen["b/f a/f"] {
		t.Errorf("cuts left %v", seen)
	}
}

// TestKill ends the program between the rename and the sync of the folder.
func TestKill(t *testing.T) {
	t.Parallel()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), playVariable+"="+root)
	w, err := Wrap(cmd, Options{Root: root,
		Before: func(w *Tap, e Event) {
			if e.Op == Sync && e.Path == "." {
				w.Kill()
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), w.Begin()); err != nil {
		t.Fatal(err)
	}
	end := new(exec.ExitError)
	if err := cmd.Wait(); !errors.As(err, &end) || end.ExitCode() != -1 {
		t.Errorf("it ended with %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "file"))
	if err != nil || string(b) != "hello world" {
		t.Errorf("file is %q, %v", b, err)
	}
}
