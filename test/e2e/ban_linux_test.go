package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tryLogin connects from an address of this machine's own network and logs in.
// It returns the server's last line, and an error when there is none.
func tryLogin(from, addr, user, password string) (string, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 30 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return "", err
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "* OK") {
		return line, err
	}
	if _, err := fmt.Fprintf(c, "a LOGIN %s %s\r\n", user, password); err != nil {
		return "", err
	}
	for err == nil && !strings.HasPrefix(line, "a ") {
		line, err = r.ReadString('\n')
	}
	return line, err
}

// TestBan: an address that guesses is banned before TLS, another one and the
// owner are not, and the ban can be listed and lifted.
func TestBan(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "ann", "--password-stdin")
	n.Env = append(n.Env, "NESTBOX_BAN_AFTER=3", "NESTBOX_BAN_EXEMPT=192.0.2.0/24")
	s := start(t, n)
	const guesser, owner = "127.0.3.7", "127.0.3.8"
	for i := range 3 {
		if line, err := tryLogin(guesser, s.Addr, "ann", fmt.Sprintf("guess-%d", i)); err != nil || !strings.HasPrefix(line, "a NO [AUTHENTICATIONFAILED]") {
			t.Fatalf("guess %d: %q, %v", i, line, err)
		}
	}
	if line, err := tryLogin(guesser, s.Addr, "ann", "secret-enough-1"); err != nil || !strings.HasPrefix(line, "* BYE") {
		t.Errorf("not banned: %q, %v", line, err)
	}
	if line, err := tryLogin(guesser, s.TLSAddr, "", ""); err == nil {
		t.Errorf("TLS is spoken with a banned address: %q", line)
	}
	if line, err := tryLogin(owner, s.Addr, "ann", "secret-enough-1"); err != nil || !strings.HasPrefix(line, "a OK") {
		t.Errorf("the owner: %q, %v", line, err)
	}
	var bans []struct {
		Address  string
		Failures int
		Until    time.Time
	}
	if err := json.Unmarshal([]byte(command(t, n, "", "ban", "list", "--json")), &bans); err != nil || len(bans) != 1 ||
		bans[0].Address != guesser || bans[0].Failures != 3 || time.Until(bans[0].Until) < 5*time.Minute {
		t.Errorf("ban list: %+v, %v", bans, err)
	}
	command(t, n, "", "ban", "lift", guesser)
	if line, err := tryLogin(guesser, s.Addr, "ann", "secret-enough-1"); err != nil || !strings.HasPrefix(line, "a OK") {
		t.Errorf("after ban lift: %q, %v", line, err)
	}
	for _, event := range []string{`event=ban_begun time=\S+ level=warn peer=` + guesser + " failures=3 seconds=900", `event=ban_lifted time=\S+ peer=` + guesser} {
		if !regexp.MustCompile(event).MatchString(s.Log()) {
			t.Errorf("the log lacks %s\n%s", event, s.Log())
		}
	}
}
