package e2e

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

var (
	spaceMB   = flag.Int64("space-mb", 24, "mail of TestLittleAddressSpace")
	spaceReal = flag.String("space-machine", "", "run it on 386 (with 1 GB of address space) or mipsle (with 512 MB); empty: on this one, with a budget as for 64 MB")
)

// TestLittleAddressSpace: several accounts with more mail than there is
// address space are imported, served to several clients at a time, purged,
// which compacts them, backed up meanwhile, checked, and restored. Nothing is
// lost or stays refused, and every message is what it was. make small has the
// long forms.
func TestLittleAddressSpace(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a binary of its own")
	}
	h := &littleHouse{t: t, n: install(t), seed: 1, began: time.Now()}
	h.machine()
	command(t, h.n, "", "init")
	for i, share := range []int64{42, 22, 14, 12, 10} {
		h.accounts = append(h.accounts, h.fill(fmt.Sprint("user", i), *spaceMB<<20*share/100))
	}
	h.step("imported")
	s := start(t, h.n)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i, a := range h.accounts {
		for n, work := range []func(*patientConn, *rand.Rand) error{a.read, a.change} {
			clients.Go(func() { h.client(s, a, rand.New(rand.NewSource(int64(10*i+n))), stop, work) })
		}
	}
	for _, a := range h.accounts[:3] {
		a.purging.Store(true)
		command(t, h.n, "", "purge", "--account", a.name, "--subject", "erase", "--yes")
		a.purged()
		h.step("purged " + a.name)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	r := takeBackup(t, h.n, dir)
	h.step(fmt.Sprintf("backed up %d MB", r.Octets>>20))
	close(stop)
	clients.Wait()
	h.step(fmt.Sprintf("the clients did %d rounds, %d commands were put off", h.rounds.Load(), h.refused.Load()))
	if h.refused.Load()*50 > h.rounds.Load() {
		t.Errorf("%d commands were put off in %d rounds", h.refused.Load(), h.rounds.Load())
	}
	h.verify(s)
	h.step("compared; " + peaks(s.PID()))
	dir2 := filepath.Join(t.TempDir(), "backup2")
	takeBackup(t, h.n, dir2)
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"panic", "level=ERROR", "database isn't correctly mapped", "fatal error"} {
		if strings.Contains(s.Log(), bad) {
			t.Errorf("the log says %s:\n%.4000s", bad, s.Log())
		}
	}
	command(t, h.n, "", "check")
	h.step("checked")
	if err := os.RemoveAll(h.n.Data); err != nil {
		t.Fatal(err)
	}
	h.n.Data = filepath.Join(t.TempDir(), "restored")
	command(t, h.n, "", "restore", dir2)
	h.step("restored")
	s = start(t, h.n)
	h.verify(s)
	h.step("compared again; " + peaks(s.PID()))
}

// A littleHouse is the installation with what is known of its mail.
type littleHouse struct {
	t        *testing.T
	n        *rig.Nestbox
	accounts []*littleAccount
	seed     int64
	began    time.Time
	// What the clients did, and how often they were told to try again.
	rounds, refused atomic.Int64
}

type littleAccount struct {
	name string
	mu   sync.Mutex
	sums map[string][32]byte // by subject
	here map[string]bool
	next int

	purging atomic.Bool // or it was
}

func (h *littleHouse) machine() {
	t := h.t
	var env []string
	tags := ""
	switch *spaceReal {
	case "386":
		h.n.Runner, env = []string{"sh", "-c", `ulimit -v 1048576; exec "$0" "$@"`}, []string{"GOARCH=386"}
		if runtime.GOARCH != "amd64" {
			t.Skip("no machine for it")
		}
	case "mipsle":
		need(t, "qemu-mipsel-static")
		h.n.Runner, env = []string{"qemu-mipsel-static", "-R", "536870912"}, []string{"GOARCH=mipsle", "GOMIPS=softfloat"}
	default:
		tags = "torture"
		h.n.Env = append(h.n.Env, "TEST_NESTBOX_SPACE=67108864")
	}
	binary, err := rig.BuildTagged(t.TempDir(), tags, env...)
	if err != nil {
		t.Fatal(err)
	}
	h.n.Binary, h.n.StartTime = binary, 2*time.Minute
}

func (h *littleHouse) step(what string) {
	h.t.Logf("%6.1f s: %s", time.Since(h.began).Seconds(), what)
}

// mixedMessage is one of a size that mail has.
func mixedMessage(random *rand.Rand, subject string) []byte {
	size := 1000 + random.Intn(7000)
	switch k := random.Intn(200); {
	case k < 3:
		size = 1<<20 + random.Intn(3<<20)
	case k < 50:
		size = 20_000 + random.Intn(80_000)
	}
	m := randomMessage(random, subject, size)
	return append(m, fmt.Sprintf("the word is needle%d\r\n", random.Intn(1000))...)
}

// fill makes an account of so many octets, in two mailboxes.
func (h *littleHouse) fill(name string, octets int64) *littleAccount {
	t := h.t
	a := &littleAccount{name: name, sums: map[string][32]byte{}, here: map[string]bool{}}
	if err := h.n.AddAccount(t.Context(), name, "secret"); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewSource(h.seed))
	h.seed++
	const most = 200 << 20 // of one mbox
	for part := 0; octets > 0; part++ {
		path := filepath.Join(t.TempDir(), "fill.mbox")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w := bufio.NewWriter(f)
		size := int64(0)
		for ; size < min(octets, most); a.next++ {
			subject := fmt.Sprintf("%s-%d-%s", name, a.next, []string{"keep", "erase", "keep"}[a.next%3])
			m := mixedMessage(random, subject)
			a.add(subject, m)
			size += int64(len(m))
			fmt.Fprintf(w, "From x Mon Nov 23 01:00:00 2026\n%s\n", strings.ReplaceAll(string(m), "\r\n", "\n"))
		}
		octets -= size
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		command(t, h.n, "", "import", "--account", name, "--mailbox", []string{"INBOX", "Archive"}[part%2], path)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	h.step(fmt.Sprintf("%s has %d messages", name, len(a.here)))
	return a
}

func (a *littleAccount) add(subject string, m []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sums[subject], a.here[subject] = sha256.Sum256(m), true
}

func (a *littleAccount) purged() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.here {
		if strings.HasSuffix(s, "-erase") {
			delete(a.here, s)
		}
	}
}

// client logs in and out again and works, until stop.
func (h *littleHouse) client(s *rig.Server, a *littleAccount, random *rand.Rand, stop chan struct{}, work func(*patientConn, *rand.Rand) error) {
	for {
		c, err := raw.Dial(s.Addr, raw.Options{Timeout: 2 * time.Minute})
		if err == nil {
			err = c.Login(a.name, "secret")
		}
		for i := 0; i < 20 && err == nil; i++ {
			err = work(&patientConn{c, h}, random)
			h.rounds.Add(1)
			select {
			case <-stop:
				i = 20
			case <-time.After(time.Duration(min(10+*spaceMB/4, 250)) * time.Millisecond):
			}
		}
		if a.purging.Load() && erasedMeanwhile(err) {
			err = nil
		}
		if err != nil {
			h.t.Errorf("%s: %v", a.name, err)
			return
		}
		_ = c.Logout()
		_ = c.Close()
		select {
		case <-stop:
			return
		default:
		}
	}
}

// A patientConn does again, a moment later, what the server can't do now.
type patientConn struct {
	*raw.Conn
	h *littleHouse
}

func (c *patientConn) again(do func() error) (err error) {
	for range 20 {
		if err = do(); err == nil || !strings.Contains(err.Error(), "NO [UNAVAILABLE]") {
			return err
		}
		c.h.refused.Add(1)
		time.Sleep(time.Second)
	}
	return err
}

func (c *patientConn) Do(command string, untagged func([]byte)) error {
	return c.again(func() error { return c.Conn.Do(command, untagged) })
}

func (c *patientConn) DoWhole(command string, untagged func(raw.Response)) error {
	return c.again(func() error { return c.Conn.DoWhole(command, untagged) })
}

func (c *patientConn) Append(mailbox, args string, text []byte) error {
	return c.again(func() error { return c.Conn.Append(mailbox, args, text) })
}

func (c *patientConn) Select(mailbox string) (n int, err error) {
	err = c.again(func() error {
		n, err = c.Conn.Select(mailbox)
		return err
	})
	return n, err
}

// erasedMeanwhile says that a message was erased while it was sent, or before
// the session had heard of its end (RFC 2180, section 4.1).
func erasedMeanwhile(err error) bool {
	var no *raw.StatusError
	return errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &no) && strings.HasPrefix(no.Text, "NO [NONEXISTENT]")
}

var subjectLine = regexp.MustCompile(`(?m)^Subject: message (\S+)\r$`)

// messages compares what a FETCH gives with what is known.
func (a *littleAccount) messages(c *patientConn, command string, each func(subject string)) (bad error) {
	err := c.DoWhole(command, func(r raw.Response) {
		if len(r.Literals) == 0 {
			return
		}
		m := subjectLine.FindStringSubmatch(r.Literals[0])
		if m == nil {
			bad = fmt.Errorf("no subject in %.200q", r.Literals[0])
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.sums[m[1]] != sha256.Sum256([]byte(r.Literals[0])) {
			bad = fmt.Errorf("message %s is not what it was", m[1])
		}
		each(m[1])
	})
	if err != nil {
		return err
	}
	return bad
}

// read is a client that reads and searches.
func (a *littleAccount) read(c *patientConn, random *rand.Rand) error {
	n, err := c.Select([]string{"INBOX", "Archive"}[random.Intn(2)])
	if err != nil || n == 0 {
		return err
	}
	first := 1 + random.Intn(n)
	if err := a.messages(c, fmt.Sprintf("UID FETCH %d:%d (BODY.PEEK[])", first, first+5), func(string) {}); err != nil {
		return err
	}
	if random.Intn(10) > 0 {
		return nil
	}
	return c.Do(fmt.Sprintf("UID SEARCH TEXT needle%d", random.Intn(1000)), func([]byte) {})
}

// change is a client that appends and expunges.
func (a *littleAccount) change(c *patientConn, random *rand.Rand) error {
	a.mu.Lock()
	a.next++
	subject := fmt.Sprintf("%s-%d-new", a.name, a.next)
	a.mu.Unlock()
	m := mixedMessage(random, subject)
	a.add(subject, m)
	if err := c.Append("INBOX", "", m); err != nil {
		return err
	}
	n, err := c.Select("INBOX")
	if err != nil || n == 0 {
		return err
	}
	// By its UID: sequence numbers may move with each answer while others purge.
	gone, uid := "", 0
	err = c.Do(fmt.Sprintf("UID SEARCH %d", 1+random.Intn(n)), func(line []byte) { _, _ = fmt.Sscanf(string(line), "* SEARCH %d", &uid) })
	if err != nil || uid == 0 {
		return err
	}
	if err := a.messages(c, fmt.Sprintf("UID FETCH %d (BODY.PEEK[])", uid), func(s string) { gone = s }); err != nil || gone == "" {
		return err
	}
	for _, command := range []string{`UID STORE %d FLAGS (\Flagged \Seen)`, `UID STORE %d +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE %d"} {
		if err := c.Do(fmt.Sprintf(command, uid), func([]byte) {}); err != nil {
			return err
		}
	}
	a.mu.Lock()
	delete(a.here, gone)
	a.mu.Unlock()
	return nil
}

// verify reads all mail: what is to be there is, and nothing else.
func (h *littleHouse) verify(s *rig.Server) {
	for _, a := range h.accounts {
		c, err := raw.Dial(s.Addr, raw.Options{Timeout: 5 * time.Minute})
		if err == nil {
			err = c.Login(a.name, "secret")
		}
		found := map[string]bool{}
		for _, mailbox := range []string{"INBOX", "Archive"} {
			if err == nil {
				_, err = c.Select(mailbox)
			}
			if err == nil {
				err = a.messages(&patientConn{c, h}, "UID FETCH 1:* (BODY.PEEK[])", func(subject string) {
					if found[subject] || !a.here[subject] {
						h.t.Errorf("%s: %s is there twice, or was erased", mailbox, subject)
					}
					found[subject] = true
				})
			}
		}
		if err != nil || len(found) != len(a.here) {
			h.t.Errorf("%s has %d messages of %d, %v", a.name, len(found), len(a.here), err)
		}
		_ = c.Close()
	}
}

// peaks are what a process took.
func peaks(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, line := range strings.Split(string(b), "\n") {
		if name, v, _ := strings.Cut(line, ":"); name == "VmPeak" || name == "VmHWM" || name == "VmSize" || name == "RssAnon" {
			out = append(out, name+" "+strings.TrimSpace(v))
		}
	}
	return strings.Join(out, ", ")
}
