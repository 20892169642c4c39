package storage

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

var (
	backupMB      = flag.Int("backup-mb", 40, "mail of TestBackupHoldsNobodyUp")
	backupMachine = flag.Bool("backup-small-maps", false, "with the address space of a mips machine (512 MB)")
)

// A lockedBuffer takes a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines are those of an event.
func (l *lockedBuffer) lines(event string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range strings.Split(l.b.String(), "\n") {
		if _, rest, ok := strings.Cut(line, "msg="+event); ok {
			all = append(all, strings.TrimSpace(rest))
		}
	}
	return all
}

// plainCopy copies a folder's files, as cp does, and waits for the disk.
func plainCopy(t *testing.T, from, to string) {
	must(t, os.CopyFS(to, os.DirFS(from)))
	must(t, filepath.WalkDir(to, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	}))
}

// TestBackupHoldsNobodyUp: backups of a large account while a session works.
// The figures are those of -backup-mb 1000 on a machine that does nothing else.
func TestBackupHoldsNobodyUp(t *testing.T) {
	mb := *backupMB
	if testing.Short() {
		mb = min(mb, 8)
	}
	dir := t.TempDir()
	must(t, Init(dir))
	var log lockedBuffer
	o := Options{Version: "test", NoSync: true, Log: slog.New(slog.NewTextHandler(&log, nil))}
	if *backupMachine {
		o.hooks = &hooks{maps: smallBudget(512<<20, 32, true)}
	}
	st, err := Open(dir, o)
	must(t, err)
	defer st.Close()
	info, err := st.CreateAccount("ann", nil)
	must(t, err)
	a := accountOf(t, st, info.ID)
	box := inbox(t, a)
	for i, octets := 0, 0; octets < mb<<20; {
		var msgs []NewMessage
		for range 20 {
			text := bigMessage(i, []int{2000, 5000, 60_000, 200_000}[i%4])
			i, octets = i+1, octets+len(text)
			msgs = append(msgs, NewMessage{Upload: upload(t, a, text), Flags: []imap.Flag{imap.FlagSeen}})
		}
		if _, err := a.Append(box.ID, msgs); err != nil {
			t.Fatal(err)
		}
	}
	box = inbox(t, a)
	watched := func(do func()) *stallWatch {
		s, stop, done := &stallWatch{}, make(chan bool), make(chan bool)
		go func() { s.run(t, a, box, stop); close(done) }()
		do()
		close(stop)
		<-done
		return s
	}
	watched(func() { time.Sleep(2 * time.Second) }).log(t, "without a backup")
	// What the disk and the machine make of so many octets anyway.
	watched(func() { plainCopy(t, dir, filepath.Join(t.TempDir(), "plain")) }).log(t, "a plain copy")
	to := filepath.Join(t.TempDir(), "backup")
	for _, what := range []string{"first backup", "second backup"} {
		var r BackupReport
		start := time.Now()
		s := watched(func() { r = backupTo(t, st, to) })
		s.log(t, fmt.Sprintf("%s: %v for %d MB", what, time.Since(start).Round(time.Millisecond), r.Octets>>20))
		t.Logf("%s: %v", what, log.lines("backup_account"))
		if worst := slices.Max(slices.Concat(s.flags, s.reads, s.appends)); worst > 2*time.Second {
			t.Error("a session stood for", worst) // the figure is 50 ms, on a machine that does nothing else
		}
	}
}
