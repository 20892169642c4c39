package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nestbox/test/raw"
)

// A measurement is one round with one server.
type measurement struct {
	options
	server      server
	samples     samples
	interrupted <-chan os.Signal
}

// A group is rows that are measured together.
type group struct {
	name    string
	measure func(*measurement) error
	// fresh: the server is restarted before, so that it has nothing in memory.
	fresh bool
}

// groups in the order in which they run: those that read the corpus come
// before those that change much.
var groups = []group{
	{name: "fill", measure: (*measurement).fill},
	{name: "select", measure: (*measurement).selects, fresh: true},
	{name: "fetch", measure: (*measurement).fetches, fresh: true},
	{name: "search", measure: (*measurement).searches},
	{name: "store", measure: (*measurement).stores},
	{name: "copy", measure: (*measurement).copies},
	{name: "idle", measure: (*measurement).idles},
	{name: "login", measure: (*measurement).logins},
	{name: "append", measure: (*measurement).appends},
	{name: "rest", measure: (*measurement).atRest},
	{name: "day", measure: (*measurement).day},
	{name: "big", measure: (*measurement).bigMessage, fresh: true},
	{name: "connections", measure: (*measurement).connectionsUnused, fresh: true},
	{name: "used", measure: (*measurement).connectionsUsed, fresh: true},
}

func groupNames() (names []string) {
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// wants reports whether a group runs. All others read what fill fills.
func (m *measurement) wants(name string) bool {
	return m.only == "" || name == "fill" || slices.Contains(strings.Split(m.only, ","), name)
}

// round measures everything once, with new data.
func (m *measurement) round(number int) (err error) {
	if dir := m.server.dir(); dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := m.server.start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.server.stop()) }()
	for _, g := range groups {
		if !m.wants(g.name) {
			continue
		}
		select {
		case s := <-m.interrupted:
			return fmt.Errorf("stopped by %v", s)
		default:
		}
		if g.fresh {
			if err := errors.Join(m.server.stop(), m.server.start()); err != nil {
				return err
			}
		}
		start := time.Now()
		if err := g.measure(m); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s, round %d: %s took %.1f s\n", m.server.name(), number+1, g.name, time.Since(start).Seconds())
	}
	return m.binary()
}

// The mailbox that fill fills, and those that loads make and delete.
const (
	corpusBox = "bench"
	loadBox   = "bench-load"
)

// longest is how long a single command may take.
const longest = 5 * time.Minute

// dial connects and logs in as the i-th user.
func (m *measurement) dial(i int, o raw.Options) (*raw.Conn, error) {
	o.Timeout = longest
	c, err := raw.Dial(m.server.addr(o.TLS), o)
	if err != nil {
		return nil, err
	}
	if err := c.Login(m.server.user(i), m.server.password()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// open is dial with large buffers, and the corpus selected.
func (m *measurement) open() (*raw.Conn, error) {
	c, err := m.dial(0, raw.Options{Buffer: 256 << 10})
	if err != nil {
		return nil, err
	}
	n, err := c.Select(corpusBox)
	if err == nil && n < m.messages {
		err = fmt.Errorf("%s has only %d messages", corpusBox, n)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// each runs f for all numbers below n at once.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { errs[i] = f(i) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// timed is how long f takes, in milliseconds, and the server's processor time
// of that. A server whose pid is not known has none.
func (m *measurement) timed(f func() error) (t cost, err error) {
	before, start := onCPU(m.server.pid()), time.Now()
	err = f()
	t.ms = float64(time.Since(start)) / 1e6
	t.cpu = float64(onCPU(m.server.pid())-before) / 1e6
	return t, err
}

// A cost is time in milliseconds: that passed, and that the server worked.
type cost struct{ ms, cpu float64 }

// addMedian adds the median of several costs to the samples.
func (m *measurement) addMedian(key string, costs []cost) {
	var ms, cpu []float64
	for _, c := range costs {
		ms, cpu = append(ms, c.ms), append(cpu, c.cpu)
	}
	m.samples.add(key, quantile(ms, 0.5))
	m.samples.add(key+cpuSuffix, quantile(cpu, 0.5))
}

// discard takes untagged responses.
func discard([]byte) {}

// binary is the size of nestbox's.
func (m *measurement) binary() error {
	s, ok := m.server.(*nestboxServer)
	if !ok {
		return nil
	}
	info, err := os.Stat(filepath.Clean(s.nestbox.Binary))
	if err == nil {
		m.samples.add("binary", float64(info.Size())/1e6)
	}
	return err
}
