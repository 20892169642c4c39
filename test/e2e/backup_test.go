package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
	"nestbox/test/raw"
	"nestbox/test/rig"
)

// backupGB is how much mail TestBackupStalls makes, in GB; by default little,
// in the campaign 10: make backup.
const backupGB = "TEST_BACKUP_GB"

// randomMessage is a message that compresses badly.
func randomMessage(random *rand.Rand, id string, size int) []byte {
	b := fmt.Appendf(nil, "From: %s@example.org\r\nSubject: message %s\r\nMessage-ID: <%s@example.org>\r\n\r\n", id, id, id)
	line := make([]byte, 57)
	for len(b) < size {
		_, _ = random.Read(line) // never fails
		b = append(base64.StdEncoding.AppendEncode(b, line), '\r', '\n')
	}
	return b
}

// A worker is a client that appends, changes flags and asks.
type worker struct {
	n      int
	random *rand.Rand
	c      *raw.Conn
	acked  []ack
	took   map[string][]time.Duration
}

// An ack is a message that was acknowledged.
type ack struct {
	id string
	at time.Time
}

func (w *worker) timed(what string, f func() error) error {
	start := time.Now()
	err := f()
	w.took[what] = append(w.took[what], time.Since(start))
	return err
}

// work works until ctx ends. pause is between two steps.
func (w *worker) work(ctx context.Context, pause time.Duration) error {
	if _, err := w.c.Select("INBOX"); err != nil {
		return err
	}
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("w%d-%d-%d", w.n, i, w.random.Int63())
		msg := randomMessage(w.random, id, 500+w.random.Intn(8000))
		if err := w.timed("APPEND", func() error { return w.c.Append("INBOX", "", msg) }); err != nil {
			return err
		}
		w.acked = append(w.acked, ack{id, time.Now()})
		if err := w.timed("STORE", func() error { return w.c.Do(`STORE 1 +FLAGS.SILENT (\Flagged)`, nil) }); err != nil {
			return err
		}
		if err := w.timed("NOOP", func() error { return w.c.Do("NOOP", nil) }); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// team starts workers and returns what ends them.
func team(t *testing.T, s *rig.Server, users []string, n int, pause time.Duration) (stop func() []*worker) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var all []*worker
	for i := range n {
		c, err := s.Connect(users[i%len(users)], "a password")
		if err != nil {
			t.Fatal(err)
		}
		w := &worker{n: i, random: rand.New(rand.NewSource(time.Now().UnixNano())), c: c, took: map[string][]time.Duration{}}
		all = append(all, w)
		wg.Go(func() {
			if err := w.work(ctx, pause); err != nil {
				t.Error(err)
			}
		})
	}
	return func() []*worker {
		cancel()
		wg.Wait()
		for _, w := range all {
			_ = w.c.Close()
		}
		return all
	}
}

// slowest gives the times of a command that so many percent are below, and
// the longest.
func slowest(workers []*worker, what string) (p50, p99, most time.Duration, n int) {
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.took[what]...)
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], all[len(all)-1], len(all)
}

type backupReport struct {
	OK       bool     `json:"ok"`
	Octets   int64    `json:"octets"`
	Total    int64    `json:"total"`
	Kept     int      `json:"kept"`
	Seconds  float64  `json:"seconds"`
	Findings []string `json:"findings"`
}

func takeBackup(t *testing.T, n *rig.Nestbox, dir string) (r backupReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(command(t, n, "", "backup", "--json", dir)), &r); err != nil || !r.OK {
		t.Fatal(err, r)
	}
	return r
}

// fill imports so many octets of synthetic mail, spread over the users.
func fill(t *testing.T, n *rig.Nestbox, users []string, octets int64) {
	t.Helper()
	random := rand.New(rand.NewSource(99))
	const most = 256 << 20 // of one mbox
	for i := 0; octets > 0; i++ {
		path := filepath.Join(t.TempDir(), "fill.mbox")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		size := min(octets, most)
		for written := int64(0); written < size; {
			msg := randomMessage(random, fmt.Sprint("fill", i, "-", written), 2000+random.Intn(200_000))
			k, err := fmt.Fprintf(f, "From x Mon Nov 23 01:00:00 2026\n%s\n", strings.ReplaceAll(string(msg), "\r\n", "\n"))
			if err != nil {
				t.Fatal(err)
			}
			written += int64(k)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		_, err = n.Run(ctx, "", "import", "--account", users[i%len(users)], "--mailbox", "Archive", "--format", "mbox", path)
		cancel()
		if err = errors.Join(err, os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		octets -= size
	}
}

// Clients work while backups are taken; nobody waits for long, and a second
// backup moves only what is new.
func TestBackupStalls(t *testing.T) {
	n := install(t)
	octets, clients := int64(48<<20), 4
	if gb := os.Getenv(backupGB); gb != "" {
		x, err := strconv.ParseFloat(gb, 64)
		if err != nil {
			t.Fatal(err)
		}
		octets, clients = int64(x*(1<<30)), 20
	} else if testing.Short() {
		octets = 16 << 20
	}
	command(t, n, "", "init")
	users := []string{"anna", "bert", "carl", "dora"}
	for _, u := range users {
		if err := n.AddAccount(t.Context(), u, "a password"); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, n, users[:2], octets)
	s := start(t, n)
	dir := filepath.Join(t.TempDir(), "backup")
	measure := func(name string, f func()) {
		stop := team(t, s, users, clients, 20*time.Millisecond)
		time.Sleep(300 * time.Millisecond)
		f()
		workers := stop()
		for _, what := range []string{"NOOP", "STORE", "APPEND"} {
			p50, p99, most, count := slowest(workers, what)
			t.Logf("%s: %s: %d, p50 %v, p99 %v, longest %v", name, what, count, p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond), most.Round(10*time.Microsecond))
			// A bound for a machine that others use too: a backup that holds
			// an account's state for its whole length fails it.
			if name != "quiet" && most > 2*time.Second {
				t.Errorf("%s waited %v while a backup was taken", what, most)
			}
		}
	}
	quiet := time.Second
	if clients > 4 {
		quiet = 30 * time.Second // as long as the others, for the longest
	}
	measure("quiet", func() { time.Sleep(quiet) })
	var first, second backupReport
	measure("first backup", func() { first = takeBackup(t, n, dir) })
	measure("second backup", func() { second = takeBackup(t, n, dir) })
	for _, line := range strings.Split(s.Log(), "\n") {
		if strings.Contains(line, "event=backup_account ") {
			t.Log(line)
		}
	}
	t.Logf("first %+v", first)
	t.Logf("second %+v", second)
	if first.Octets < octets/2 {
		t.Errorf("the first moved %d octets of %d", first.Octets, octets)
	}
	// What the server does in quiet moments comes to an end; then a backup has
	// nothing to move but system.db.
	for try := 0; ; try++ {
		r := takeBackup(t, n, dir)
		if r.Octets < 1<<20 {
			t.Logf("of the same: %+v", r)
			break
		}
		if try == 50 {
			t.Fatalf("a backup of the same moved %d octets", r.Octets)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// A snapshot of the whole folder, taken at one moment while the server works,
// opens, is sound, and has all that was acknowledged before. The server is
// stopped for the moment of the copy, as a file system's snapshot would do it.
func TestSnapshotIsABackup(t *testing.T) {
	n := install(t)
	command(t, n, "", "init")
	if err := n.AddAccount(t.Context(), "anna", "a password"); err != nil {
		t.Fatal(err)
	}
	s := start(t, n)
	for round := range 4 {
		stop := team(t, s, []string{"anna"}, 3, 0)
		time.Sleep(time.Duration(150+100*round) * time.Millisecond)
		copied := filepath.Join(t.TempDir(), fmt.Sprint("snapshot", round))
		before := time.Now()
		if err := s.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		awaitStopped(t, s.PID())
		out, err := exec.Command("cp", "-r", n.Data, copied).CombinedOutput()
		if cerr := s.Signal(syscall.SIGCONT); err != nil && !strings.Contains(string(out), "control.sock") || cerr != nil {
			t.Fatal(err, cerr, string(out))
		}
		lookAtSnapshot(t, copied, stop(), before)
	}
}

// awaitStopped waits until no thread of a process runs any more.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			t.Skip("no /proc here: ", err)
		}
		running := 0
		for _, path := range threads {
			b, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(b), ") ")
			if err == nil && !strings.HasPrefix(state, "T") {
				running++
			}
		}
		if running == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server doesn't stop")
		}
	}
}

// lookAtSnapshot opens a snapshot and restores from it.
func lookAtSnapshot(t *testing.T, dir string, workers []*worker, before time.Time) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "restored")
	r, err := storage.RestoreDir(t.Context(), dir, to, storage.Options{NoSync: true})
	if err != nil || len(r.Findings) > 0 {
		t.Fatal(err, r.Findings)
	}
	st, err := storage.Open(dir, storage.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if findings, err := st.Check(); err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	have, must := messageIDs(t, st), 0
	for _, w := range workers {
		for _, a := range w.acked {
			if a.at.Before(before) {
				must++
				if !have[a.id] {
					t.Errorf("%s was acknowledged before and is not in the snapshot", a.id)
				}
			}
		}
	}
	if must == 0 {
		t.Error("nothing was acknowledged before the snapshot")
	}
	t.Logf("%d messages in the snapshot, %d of this round acknowledged before, %d restored", len(have), must, r.Messages)
}

func messageIDs(t *testing.T, st *storage.Store) map[string]bool {
	t.Helper()
	info, err := st.FindAccount("anna")
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	box, err := a.MailboxByName("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	uids, err := a.UIDs(box.Space, 1, box.UIDNext, make([]imap.UID, 0, box.Messages+1))
	for len(uids) > 0 && err == nil {
		k := min(len(uids), storage.ReadRows)
		var rows []storage.Row
		if rows, err = a.Rows(box.Space, uids[:k], nil); err != nil {
			break
		}
		blobs := make([]storage.BlobID, len(rows))
		for i := range rows {
			blobs[i] = rows[i].Blob
		}
		err = a.Headers(blobs, func(_ int, header []byte) bool {
			_, id, _ := strings.Cut(string(header), "Subject: message ")
			id, _, _ = strings.Cut(id, "\r\n")
			have[id] = true
			return true
		})
		uids = uids[k:]
	}
	if err != nil || len(have) != int(box.Messages) {
		t.Fatalf("%d messages, %d of them read: %v", box.Messages, len(have), err)
	}
	return have
}
