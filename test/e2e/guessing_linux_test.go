package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nestbox/test/rig"
)

// The long form (make guessing) has the bans of the default configuration, and so
// more of the delays before them.
var guessingLong = flag.Bool("guessing-long", false, "TestGuessing with the default ban_after; takes some minutes")

// through connects as a proxy does that speaks for an address.
func through(addr, client string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.5.1")}, Timeout: time.Minute}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	family := "TCP4"
	if strings.Contains(client, ":") {
		family = "TCP6"
	}
	to := map[string]string{"TCP4": "192.0.2.1", "TCP6": "2001:db8::1"}[family]
	if _, err := fmt.Fprintf(c, "PROXY %s %s %s 50412 143\r\n", family, client, to); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// loginThrough logs in for an address by a proxy that has TLS with the server; it
// returns the server's last line.
func loginThrough(addr, client, user, password string) (string, error) {
	raw, err := through(addr, client)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
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

// processor is what a process has used so far, and its memory now and at most.
func processUse(t *testing.T, pid int) (cpu time.Duration, rss, peak int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &rss)
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, rss / 1024, peak / 1024
}

// The guessers of TestGuessing.
const (
	guessers     = 50
	guesses      = 10_000 // of the long form
	guessesShort = 4_000
	guessersEach = 4 // connections at a time
)

// TestGuessing: 10,000 guesses (4,000 in the short form) from 50 addresses, four at
// a time each, half of them at ann's account. They end in bans, cost the server few hashes and little
// memory, and meanwhile ann, from where she was before, and bob, from addresses
// that nobody knows, log in without delay.
func TestGuessing(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "ann", "--password-stdin")
	command(t, n, "secret-enough-2\n", "account", "add", "bob", "--password-stdin")
	after := 6
	n.Env = append(n.Env, "NESTBOX_PROXY_FROM=127.0.5.0/24")
	if *guessingLong {
		after = 20
	} else {
		n.Env = append(n.Env, fmt.Sprint("NESTBOX_BAN_AFTER=", after))
	}
	s := start(t, n)
	begin := time.Now()
	if line, err := loginThrough(s.TLSAddr, "198.51.100.1", "ann", "secret-enough-1"); err != nil || !strings.HasPrefix(line, "a OK") {
		t.Fatalf("%q, %v", line, err)
	}
	alone := time.Since(begin)
	cpuBefore, rssBefore, _ := processUse(t, s.PID())

	over := make(chan struct{})
	var good sync.WaitGroup
	var worst [2]time.Duration
	var logins [2]int
	for i := range worst {
		good.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				case <-time.After(200 * time.Millisecond):
				}
				user, password, from := "ann", "secret-enough-1", "198.51.100.1"
				if i == 1 {
					user, password, from = "bob", "secret-enough-2", fmt.Sprintf("2001:db8:0:%x::7", n)
				}
				begin := time.Now()
				if line, err := loginThrough(s.TLSAddr, from, user, password); err != nil || !strings.HasPrefix(line, "a OK") {
					t.Errorf("%s from %s: %q, %v", user, from, line, err)
				}
				worst[i] = max(worst[i], time.Since(begin))
				logins[i]++
			}
		})
	}
	total := guessesShort
	if *guessingLong {
		total = guesses
	}
	answers := guess(t, s, total)
	close(over)
	good.Wait()
	cpu, rss, peak := processUse(t, s.PID())
	took := time.Since(begin)
	cpu -= cpuBefore

	hashed := guessed(t, n)
	t.Logf("%d guesses from %d addresses in %v: %d refused, %d throttled, %d banned, %d passwords looked at", total, guessers, took.Round(time.Millisecond), answers.refused.Load(), answers.throttled.Load(), answers.banned.Load(), hashed)
	t.Logf("processor %v, memory %d MB before, %d MB after, %d MB at most", cpu, rssBefore, rss, peak)
	t.Logf("%d logins of ann from where she is known: %v at most; %d of bob from elsewhere: %v at most; alone it took %v", logins[0], worst[0].Round(time.Millisecond), logins[1], worst[1].Round(time.Millisecond), alone.Round(time.Millisecond))
	// One may be under way when the ban begins.
	if most := guessers * (after + 2); hashed > most {
		t.Errorf("%d passwords were looked at, more than %d", hashed, most)
	}
	if peak-rssBefore > 64 {
		t.Errorf("memory grew from %d MB to %d MB", rssBefore, peak)
	}
	// A guesser is held back for up to 10 s, or refused. The rest is this machine's.
	for i, w := range worst {
		if w > 9*time.Second+50*alone || logins[i] == 0 {
			t.Errorf("good login %d: %d, up to %v", i, logins[i], w)
		}
	}
	guessersAreBanned(t, n, s)
}

type answers struct{ refused, throttled, banned, other atomic.Int32 }

// guess is all guessers at work.
func guess(t *testing.T, s *rig.Server, total int) *answers {
	t.Helper()
	a := new(answers)
	var all sync.WaitGroup
	for i := range guessers * guessersEach {
		all.Go(func() {
			from := fmt.Sprintf("10.77.0.%d", 1+i%guessers)
			for n := range total / (guessers * guessersEach) {
				user := "ann"
				if n%2 == 1 {
					user = fmt.Sprintf("nobody-%d-%d", i, n)
				}
				line, err := loginThrough(s.TLSAddr, from, user, fmt.Sprintf("guess-%d-%d", i, n))
				switch {
				case err != nil: // a banned address gets no TLS
					a.banned.Add(1)
				case strings.HasPrefix(line, "a NO [AUTHENTICATIONFAILED]"):
					a.refused.Add(1)
				case strings.HasPrefix(line, "a NO"), strings.HasPrefix(line, "a BAD"), strings.HasPrefix(line, "* BYE"):
					a.throttled.Add(1)
				default:
					a.other.Add(1)
					t.Errorf("guess %d of %s: %q", n, from, line)
				}
			}
		})
	}
	all.Wait()
	return a
}

// guessed is how many passwords were looked at, by the audit log.
func guessed(t *testing.T, n *rig.Nestbox) (count int) {
	t.Helper()
	for _, e := range audit(t, n, "--event", "login-refused", "--address", "10.77.0.0/24") {
		if !strings.HasSuffix(e.Detail, "throttled") {
			count += max(e.Count, 1)
		}
	}
	return count
}

// guessersAreBanned: all of them, after a restart too; one whose ban is lifted
// may try again.
func guessersAreBanned(t *testing.T, n *rig.Nestbox, s *rig.Server) {
	t.Helper()
	count := func() int {
		var bans []struct{ Address string }
		if err := json.Unmarshal([]byte(command(t, n, "", "ban", "list", "--json")), &bans); err != nil {
			t.Fatal(err)
		}
		return len(bans)
	}
	if got := count(); got != guessers {
		t.Errorf("%d addresses are banned, want %d", got, guessers)
	}
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != guessers {
		t.Errorf("%d are banned without a server", got)
	}
	s = start(t, n)
	if line, err := loginThrough(s.TLSAddr, "10.77.0.7", "ann", "secret-enough-1"); err == nil {
		t.Errorf("banned before the restart: %q", line)
	}
	command(t, n, "", "ban", "lift", "10.77.0.7")
	if line, err := loginThrough(s.TLSAddr, "10.77.0.7", "ann", "secret-enough-1"); err != nil || !strings.HasPrefix(line, "a OK") {
		t.Errorf("after ban lift: %q, %v", line, err)
	}
}
