package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// The service manager's protocol is a datagram of lines (sd_notify(3)), so
// there is no package for it: 40 lines of ours take less than a dependency.

// notify tells the service manager of a state, if there is one that wants to
// know. It helps nobody if that fails.
func (m *Main) notify(lines ...string) {
	path := m.getenv("NOTIFY_SOCKET")
	// vsock:... is for virtual machines as a whole.
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(strings.Join(lines, "\n")))
}

// notifyReady says that all listeners and the store stand, and what is served.
func (s *serving) notifyReady() { s.notify("READY=1", "STATUS="+s.statusText()) }

// notifyReloading begins what notifyReady ends. The time tells the answer to
// this signal from an earlier one (systemd.service(5), Type=notify-reload).
func (s *serving) notifyReloading() {
	lines := []string{"RELOADING=1"}
	if now, ok := monotonicNow(); ok {
		lines = append(lines, fmt.Sprintf("MONOTONIC_USEC=%d", now.Microseconds()))
	}
	s.notify(lines...)
}

// statusText is what `systemctl status` shows.
func (s *serving) statusText() string {
	parts := []string{}
	addrs := s.addrs()
	for _, p := range protocols {
		if len(addrs[p.name]) > 0 {
			parts = append(parts, p.name+" on "+strings.Join(addrs[p.name], " "))
		}
	}
	s.mu.Lock()
	waiting := len(s.waiting)
	s.mu.Unlock()
	if waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d addresses that the machine doesn't have yet", waiting))
	}
	if len(parts) == 0 {
		return "Serving nothing: no address is configured"
	}
	return "Serving " + strings.Join(parts, ", ")
}

// watchdogInterval is how often the service manager wants a sign of life:
// twice in the time after which it takes the server for dead. 0: never.
func (m *Main) watchdogInterval() time.Duration {
	usec, err := strconv.ParseInt(m.getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || usec > int64((1<<62)/time.Microsecond) {
		return 0
	}
	if pid := m.getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return max(time.Duration(usec)*time.Microsecond/2, time.Millisecond)
}

// watchdog gives a sign of life as long as the server's locks are free and
// the store answers. A folder that has gone away is an answer: a restart
// wouldn't bring it back.
func (s *serving) watchdog(ctx context.Context) {
	interval := s.watchdogInterval()
	if interval == 0 {
		return
	}
	s.running.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			_, _ = s.st.Settings()
			s.imap.Connections()
			s.addrs()
			s.notify("WATCHDOG=1")
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}
