package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nestbox/test/rig"
	"nestbox/test/tap"
)

type auditEvent struct {
	Time                            time.Time
	Count                           int
	Event, Account, Address, Client string
	Detail                          string
}

func audit(t *testing.T, n *rig.Nestbox, args ...string) (all []auditEvent) {
	t.Helper()
	out := command(t, n, "", append([]string{"audit", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return all
}

// TestLoginsWriteNothing: 1000 logins change no file of the data folder; when the
// server ends, one commit has them all, and the next start knows them.
func TestLoginsWriteNothing(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "ann", "--password-stdin")
	first, err := n.Start() // makes certificates, of which a copy is made a while later
	if err == nil {
		_, err = first.Stop()
	}
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var calls []string
	n.Tap = &tap.Options{Root: n.Data, After: func(_ *tap.Tap, e tap.Event) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, e.String())
	}}
	seen := func() []string {
		mu.Lock()
		defer mu.Unlock()
		was := calls
		calls = nil
		return was
	}
	s, err := n.Start()
	if err != nil {
		t.Fatal(err)
	}
	log := func(from string) {
		c, err := s.Connect("ann", "secret-enough-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(`ID ("name" "phone" "version" "`+from+`" "os" "none")`, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Logout(); err != nil {
			t.Fatal(err)
		}
	}
	seen()
	begin := time.Now()
	for range 1000 {
		log("1.0")
	}
	took := time.Since(begin)
	t.Logf("1000 logins in %v", took)
	if was := seen(); len(was) > 0 && took < 50*time.Second { // on a slower machine the minute was over
		t.Errorf("1000 logins: %d calls that change files: %q", len(was), was[:min(len(was), 20)])
	}
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	syncs := 0
	for _, call := range seen() {
		if call == "sync events.db" {
			syncs++
		}
	}
	if syncs != 2 { // what bbolt needs for a commit: the pages, then the root
		t.Errorf("events.db was synced %d times at the end", syncs)
	}
	n.Tap = nil
	all := audit(t, n, "--event", "login", "--account", "ann", "--since", "1h")
	if len(all) != 1 || all[0].Count != 1000 || all[0].Client != "phone 1.0, none" || all[0].Address != "127.0.0.1" || all[0].Detail != "imap, no TLS" {
		t.Errorf("%+v", all)
	}
}

// TestNoSecretIsKept: passwords, right and wrong, in every mechanism, in the
// wrong field, and by commands, are in no log and no file, nor is their base64.
func TestNoSecretIsKept(t *testing.T) {
	t.Parallel()
	n := install(t)
	var secrets []string
	canary := func(kind string) string {
		s := "canary+" + kind + "/4711-Geheim"
		secrets = append(secrets, s)
		return s
	}
	right := canary("right")
	command(t, n, right+"\n", "account", "add", "ann", "--password-stdin")
	n.Env = append(n.Env, "NESTBOX_LOG_LEVEL=debug", "NESTBOX_BAN_AFTER=10000")
	s := start(t, n)
	app := strings.TrimSpace(command(t, n, "", "app-password", "add", "ann", "tablet"))
	if len(app) != 35 || strings.Contains(app, " ") {
		t.Fatalf("%q is no app password", app)
	}
	secrets = append(secrets, app)
	for _, line := range secretLines(right, canary) {
		c, err := tls.Dial("tcp", s.TLSAddr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 4096)
		for i, part := range append([]string{""}, strings.SplitAfter(line, "\n")...) {
			if _, err := c.Write([]byte(part)); err != nil && i > 0 {
				break
			}
			if part == "" && i > 0 {
				break
			}
			if _, err := c.Read(buf); err != nil {
				break // a BYE
			}
		}
		_ = c.Close()
	}
	command(t, n, canary("changed")+"\n", "account", "passwd", "ann", "--password-stdin")
	events := audit(t, n)
	text := fmt.Sprint(events)
	for _, want := range []string{"login", "login-refused", "password", "admin"} {
		if !slices.ContainsFunc(events, func(e auditEvent) bool { return e.Event == want }) {
			t.Errorf("no event %s", want)
		}
	}
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.Log(), "reason=wrong_password") {
		t.Error("no login was refused")
	}
	places := map[string][]byte{"the log": []byte(s.Log()), "nestbox audit": []byte(text)}
	err := filepath.WalkDir(n.Data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			places[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(places) < 6 {
		t.Errorf("only %d places", len(places))
	}
	for place, b := range places {
		for _, secret := range secrets {
			for _, form := range []string{secret, inBase64(secret, 0), inBase64(secret, 1), inBase64(secret, 2)} {
				if bytes.Contains(b, []byte(form)) {
					t.Errorf("%s holds %q", place, form)
				}
			}
		}
	}
}

// inBase64 is the part of the base64 of a longer text that is the secret's alone,
// when it begins at that octet of three.
func inBase64(secret string, at int) string {
	whole := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", at) + secret))
	from := map[int]int{0: 0, 1: 2, 2: 3}[at]
	return strings.TrimRight(whole, "=")[from : len(whole)-4]
}

// secretLines are what clients send that log in, or try to.
func secretLines(right string, canary func(string) string) (lines []string) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, user := range []string{"ann", "nobody", canary("user")} {
		for _, password := range []string{right, canary("wrong-" + user[:3])} {
			lines = append(lines,
				fmt.Sprintf("a LOGIN %s %s\r\n", user, password),
				fmt.Sprintf("a LOGIN %q %q extra\r\n", user, password),
				fmt.Sprintf("a AUTHENTICATE PLAIN %s\r\n", b64("\x00"+user+"\x00"+password)),
				fmt.Sprintf("a AUTHENTICATE PLAIN\r\n%s\r\n", b64("other\x00"+user+"\x00"+password)),
				fmt.Sprintf("a AUTHENTICATE PLAIN %s\r\n", b64(user+" "+password)),
				fmt.Sprintf("a AUTHENTICATE LOGIN\r\n%s\r\n%s\r\n", b64(user), b64(password)),
				fmt.Sprintf("a AUTHENTICATE SCRAM-SHA-256 %s\r\n", b64("n,,n="+user+",r="+password)),
				fmt.Sprintf("a AUTHENTICATE OAUTHBEARER %s\r\n", b64("n,a="+user+",\x01auth=Bearer "+password+"\x01\x01")),
				fmt.Sprintf("a AUTHENTICATE XOAUTH2 %s\r\n", b64("user="+user+"\x01auth=Bearer "+password+"\x01\x01")),
				fmt.Sprintf("a AUTHENTICATE EXTERNAL %s\r\n", b64(password)),
				fmt.Sprintf("%s\r\n", password), fmt.Sprintf("a %s\r\n", password), fmt.Sprintf("a AUTHENTICATE %s\r\n", password),
			)
		}
	}
	return lines
}

// onDisk is what is in the audit log of the files as they are now.
func onDisk(t *testing.T, n *rig.Nestbox) (all []string) {
	t.Helper()
	look := &rig.Nestbox{Binary: n.Binary, Data: t.TempDir()}
	for _, name := range []string{"nestbox.id", "system.db", "events.db"} {
		b, err := os.ReadFile(filepath.Join(n.Data, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(look.Data, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(look.Data, "accounts"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := look.Run(t.Context(), "", "audit", "--json")
	if err != nil {
		return nil // copied in the middle of a commit
	}
	var events []auditEvent
	if err := json.Unmarshal([]byte(out), &events); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		all = append(all, fmt.Sprint(e.Event, " ", e.Account, " ", e.Address, " ", e.Detail))
	}
	return all
}

// TestAuditAfterKill: a new password and a ban are on the disk at once, so that a
// kill -9 loses neither.
func TestAuditAfterKill(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "ann", "--password-stdin")
	n.Env = append(n.Env, "NESTBOX_BAN_AFTER=2", "NESTBOX_BAN_EXEMPT=192.0.2.0/24")
	s, err := n.Start()
	if err != nil {
		t.Fatal(err)
	}
	await := func(want string) {
		// Half of the time after which all is written.
		for deadline := time.Now().Add(30 * time.Second); !slices.Contains(onDisk(t, n), want); {
			if time.Now().After(deadline) {
				t.Errorf("%q isn't on the disk", want)
				return
			}
		}
	}
	command(t, n, "secret-enough-2\n", "account", "passwd", "ann", "--password-stdin")
	await("password ann  changed")
	const guesser = "127.0.7.7"
	for i := range 2 {
		if line, err := tryLogin(guesser, s.Addr, "ann", fmt.Sprint("guess-", i)); err != nil || !strings.HasPrefix(line, "a NO") {
			t.Errorf("%q, %v", line, err)
		}
	}
	await("ban  127.0.7.7 banned for 15m0s after 2 failed logins")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	if line, err := tryLogin(guesser, s.Addr, "ann", "secret-enough-2"); err != nil || !strings.HasPrefix(line, "* BYE") {
		t.Errorf("not banned: %q, %v", line, err)
	}
}
