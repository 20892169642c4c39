package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
	"nestbox/test/tap"
)

// A clockHouse is an installation on a machine whose clock the test sets. All
// that may go by its age is there: a message in a mailbox with a rule, an
// expunged one, a deleted account.
type clockHouse struct {
	*testing.T
	n        *rig.Nestbox
	s        *rig.Server
	clock    *tap.Clock
	messages [][]byte // in the INBOX
	validity uint32   // of the last mailbox that was made
	boxes    int
}

// TestClockJumps: the program starts in 1970 on a box without a clock chip,
// wakes up in 2036 because the battery is empty, and gets the right time in the
// end. Nothing goes, and UIDVALIDITY only rises; only when somebody vouches for
// the clock what is old goes by its age.
//
// The program is a torture build, which looks every 100 ms what has become old,
// in the place of once an hour. It has its time from the kernel, as always; the
// kernel asks the test.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a binary of its own")
	}
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	h := newClockHouse(t)
	h.to(time.Unix(100, 0), false)
	command(t, h.n, "", "init")
	command(t, h.n, "", "set", "host_names", "box.local")
	for _, name := range []string{"ann", "carl"} {
		if err := h.n.AddAccount(t.Context(), name, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	stop := h.serve()
	h.fill()
	built := h.visit("in 1970")
	h.status("before the day this program was built")
	if _, err := h.handshake(); err == nil {
		t.Error("a certificate of 1970")
	}
	h.to(time.Date(2036, 6, 1, 12, 0, 0, 0, time.UTC), false)
	h.visit("in 2036")
	h.status("not synchronised")
	stop()
	stop = h.serve()
	h.clock.Pass(20 * time.Hour)
	h.visit("20 hours later, after a restart")
	ahead, err := h.handshake()
	if err != nil {
		t.Error(err)
	}
	home := built.Add(5 * 24 * time.Hour)
	h.to(home, true)
	if at := h.visit("back"); at.Before(home) || at.After(home.Add(time.Hour)) {
		t.Errorf("a message of the right time has the date %v, want %v", at, home)
	}
	h.status("synchronised")
	stop()
	h.to(time.Unix(50, 0), false)
	stop = h.serve()
	if at := h.visit("in 1970 again"); at.Before(home) {
		t.Errorf("in 1970 again a message has the date %v, before the last one that was right, %v", at, home)
	}

	// What all of this has not done, a clock that somebody keeps does.
	h.to(home.AddDate(0, 2, 0), true)
	await(t, "what is old to go", func() bool { return strings.Join(h.aged(), " ") == "" })
	h.inbox("two months later")
	stop()
	// Who has installed the CA that was made in 2036 is served.
	stop = h.serve()
	if now, err := h.handshake(); err != nil || now.NotBefore.After(h.clock.Now()) || now.Equal(ahead) {
		t.Errorf("the certificate at the right time: %v", err)
	}
	stop()
	command(t, h.n, "", "check")
	if h.clock.Asked() < 100 {
		t.Errorf("the program asked for the time %d times", h.clock.Asked())
	}
}

func newClockHouse(t *testing.T) *clockHouse {
	h := &clockHouse{T: t, n: install(t), clock: &tap.Clock{}}
	dir := t.TempDir()
	binary, err := rig.BuildTagged(dir, "torture")
	if err != nil {
		t.Fatal(err)
	}
	h.n.Binary = filepath.Join(dir, "asks")
	if err := tap.AskForTime(h.n.Binary, binary); err != nil {
		t.Fatal(err)
	}
	h.n.NoTLSYet = true
	h.n.Env = append(h.n.Env, "TEST_NESTBOX_CLOCK=1", "TEST_NESTBOX_UPKEEP_MS=100")
	h.n.Tap = &tap.Options{Root: filepath.Dir(h.n.Data), Clock: h.clock}
	h.n.RunTap = h.n.Tap
	return h
}

func (h *clockHouse) to(at time.Time, synced bool) { h.clock.Set(at, synced) }

func (h *clockHouse) serve() (stop func()) {
	h.Helper()
	h.s = start(h.T, h.n)
	return func() {
		h.Helper()
		if _, err := h.s.Stop(); err != nil {
			h.Fatal(err)
		}
	}
}

func (h *clockHouse) connect() *raw.Conn {
	h.Helper()
	c, err := h.s.Connect("ann", "secret")
	if err != nil {
		h.Fatal(err)
	}
	return c
}

func (h *clockHouse) do(c *raw.Conn, commands ...string) (answer string) {
	h.Helper()
	for _, line := range commands {
		err := c.Do(line, func(b []byte) { answer += string(b) + "\n" })
		if err != nil {
			h.Fatal(err)
		}
	}
	return answer
}

// handshake verifies the server's certificate as a client does that has the
// box's CA, and the right time.
func (h *clockHouse) handshake() (*x509.Certificate, error) {
	ca, err := h.n.Run(h.Context(), "", "cert", "ca")
	roots := x509.NewCertPool()
	if err == nil && !roots.AppendCertsFromPEM([]byte(ca)) {
		err = errors.New("no CA")
	}
	if err != nil {
		return nil, err
	}
	c, err := tls.Dial("tcp", h.s.TLSAddr, &tls.Config{RootCAs: roots, ServerName: "box.local", Time: h.clock.Now})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// fill makes what may go by its age.
func (h *clockHouse) fill() {
	h.Helper()
	c := h.connect()
	h.do(c, "CREATE Old", "CREATE Gone")
	for _, box := range []string{"Old", "Gone"} {
		if err := c.Append(box, "", []byte("Subject: "+box+"\r\n\r\nold\r\n")); err != nil {
			h.Fatal(err)
		}
	}
	h.do(c, "SELECT Gone", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE", "LOGOUT")
	command(h.T, h.n, "", "retention", "add", "--account", "ann", "--mailbox", "Old", "--age", "30d")
	command(h.T, h.n, "", "account", "delete", "carl", "--yes")
}

// aged is what is still there of it.
func (h *clockHouse) aged() (all []string) {
	h.Helper()
	c := h.connect()
	defer c.Close()
	if n, err := c.Select("Old"); err != nil {
		h.Fatal(err)
	} else if n > 0 {
		all = append(all, "message")
	}
	if strings.Contains(command(h.T, h.n, "", "restore", "--account", "ann", "--mailbox", "Gone", "--list"), "Gone") {
		all = append(all, "expunged")
	}
	if strings.Contains(command(h.T, h.n, "", "account", "undelete"), "carl") {
		all = append(all, "account")
	}
	return all
}

var (
	dateItem     = regexp.MustCompile(`INTERNALDATE "([^"]+)"`)
	validityItem = regexp.MustCompile(`UIDVALIDITY (\d+)`)
)

// visit lets the upkeep look some times, makes a mailbox and a message, and
// looks whether all is there. It returns the date of the message.
func (h *clockHouse) visit(when string) (date time.Time) {
	h.Helper()
	time.Sleep(time.Second)
	if all := strings.Join(h.aged(), " "); all != "message expunged account" {
		h.Errorf("%s there is %q of what may go by its age", when, all)
	}
	h.boxes++
	box := fmt.Sprint("box", h.boxes)
	m := []byte("Subject: " + when + "\r\n\r\nyoung\r\n")
	c := h.connect()
	defer c.Close()
	h.do(c, "CREATE "+box)
	if err := c.Append("INBOX", "", m); err != nil {
		h.Fatal(err)
	}
	h.messages = append(h.messages, m)
	var validity uint32
	if found := validityItem.FindStringSubmatch(h.do(c, "STATUS "+box+" (UIDVALIDITY)")); found != nil {
		_, _ = fmt.Sscan(found[1], &validity)
	}
	if validity <= h.validity {
		h.Errorf("%s a mailbox has the UIDVALIDITY %d, the one before has %d", when, validity, h.validity)
	}
	h.validity = validity
	found := dateItem.FindStringSubmatch(h.do(c, "SELECT INBOX", fmt.Sprintf("FETCH %d INTERNALDATE", len(h.messages))))
	if found == nil {
		h.Fatalf("%s: no date", when)
	}
	date, err := time.Parse("_2-Jan-2006 15:04:05 -0700", found[1])
	if err != nil {
		h.Fatal(err)
	}
	h.Logf("%s: the machine's clock is at %s, a message gets the date %s", when, h.clock.Now().UTC().Format(time.RFC3339), date.UTC().Format(time.RFC3339))
	h.inbox(when)
	return date
}

func (h *clockHouse) inbox(when string) {
	h.Helper()
	c := h.connect()
	defer c.Close()
	same(h.T, when, contents(h.T, c, "INBOX"), h.messages)
}

// status looks at what the command says of the clock. It may end with 1, as
// there is no backup.
func (h *clockHouse) status(want string) {
	h.Helper()
	out, _ := h.n.Run(h.Context(), "", "status")
	for line := range strings.Lines(out) {
		if strings.Contains(line, "clock") && strings.Contains(line, want) {
			return
		}
	}
	h.Errorf("no clock with %q in\n%s", want, out)
}
