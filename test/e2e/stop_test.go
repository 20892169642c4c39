package e2e

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// oneAccount is an installation with an account.
func oneAccount(t *testing.T) (*rig.Nestbox, login) {
	t.Helper()
	n := install(t)
	command(t, n, "", "init")
	l := login{user: "ann", password: "secret"}
	if err := n.AddAccount(t.Context(), l.user, l.password); err != nil {
		t.Fatal(err)
	}
	return n, l
}

// at is the login at a server.
func (l login) at(s *rig.Server) login {
	l.addr, l.tlsAddr = s.Addr, s.TLSAddr
	return l
}

// TestStop: SIGTERM ends the server cleanly within 5 s, whatever the clients
// do; those who listen hear BYE.
func TestStop(t *testing.T) {
	t.Parallel()
	n, l := oneAccount(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := start(t, n)
		l := l.at(s)
		greeted, err := raw.Dial(s.Addr, raw.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer greeted.Close()
		idle, quiet, late, stuck := l.connect(t), l.connect(t), l.connect(t), l.connect(t)
		if _, err := idle.Select("INBOX"); err != nil {
			t.Fatal(err)
		}
		if _, err := idle.Idle(); err != nil {
			t.Fatal(err)
		}
		late.SendRaw([]byte("x APPEND INBOX {10000+}\r\nSubject: never all of it"))
		stuckReader(t, stuck)
		if err := late.Flush(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := s.Signal(sig); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*raw.Conn{"before login": greeted, "in IDLE": idle, "between commands": quiet} {
			if err := hearBye(c); err != nil {
				t.Errorf("%v, %s: %v", sig, name, err)
			}
		}
		<-s.Done()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%v: the end took %v", sig, took)
		}
		if _, err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// stuckReader asks for more than the sockets hold and reads nothing of it.
func stuckReader(t *testing.T, c *raw.Conn) {
	t.Helper()
	if err := c.Append("INBOX", "", append([]byte("Subject: big\r\n\r\n"), bytes.Repeat([]byte("0123456789abcdef\r\n"), 1<<16)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c.Send("FETCH 1 BODY.PEEK[]")
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// hearBye reads up to the BYE, after which the server must close.
func hearBye(c *raw.Conn) error {
	bye := false
	for {
		line, err := c.Read()
		switch {
		case err != nil && bye:
			return nil
		case err != nil:
			return errors.New("no BYE: " + err.Error())
		}
		bye = bye || strings.HasPrefix(string(line), "* BYE ")
	}
}

// TestReload: SIGHUP disturbs no client.
func TestReload(t *testing.T) {
	t.Parallel()
	n, l := oneAccount(t)
	s := start(t, n)
	c := l.at(s).connect(t)
	for range 3 {
		if err := s.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if err := c.Do("NOOP", nil); err != nil {
			t.Fatal(err)
		}
	}
}
