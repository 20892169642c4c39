package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"nestbox/test/raw"
)

var rawDefault = raw.Options{}

// fill makes the corpus' mailbox, eight APPENDs under way at a time.
func (m *measurement) fill() error {
	c, err := m.dial(0, raw.Options{Buffer: 256 << 10})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Recreate(corpusBox); err != nil {
		return err
	}
	start := time.Now()
	var tags []string
	for i := range m.messages + 8 {
		if len(tags) == 8 || i >= m.messages && len(tags) > 0 {
			if err := c.Flush(); err != nil {
				return err
			}
			if err := c.Wait(tags[0], nil); err != nil {
				return err
			}
			tags = tags[1:]
		}
		if i < m.messages {
			tag, err := c.SendAppend(corpusBox, "", message(i))
			if err != nil {
				return err
			}
			tags = append(tags, tag)
		}
	}
	m.samples.add("fill", float64(m.messages)/time.Since(start).Seconds())
	if err := c.Logout(); err != nil || m.server.dir() == "" {
		return err
	}
	quiet(m.server.pid(), longest)
	bytes, err := diskUse(m.server.dir())
	m.samples.add("disk", float64(bytes)/1e6)
	return err
}

// perSecond lets n connections repeat f for the time of a load.
func (m *measurement) perSecond(key string, n int, f func(connection, turn int) error) error {
	var done atomic.Int64
	before, start := onCPU(m.server.pid()), time.Now()
	err := each(n, func(i int) error {
		for turn := 0; time.Since(start) < m.seconds; turn++ {
			if err := f(i, turn); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	m.samples.add(key, float64(done.Load())/time.Since(start).Seconds())
	m.samples.add(key+cpuSuffix, float64(onCPU(m.server.pid())-before)/1e6/float64(max(done.Load(), 1)))
	return err
}

// appends: one after the other in each connection, each user its own mailbox.
func (m *measurement) appends() error {
	const size = 50_000
	for key, n := range map[string]int{"append1": 1, "append8": 8} {
		connections := make([]*raw.Conn, n)
		for i := range connections {
			c, err := m.dial(i, rawDefault)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Recreate(loadBox); err != nil {
				return err
			}
			connections[i] = c
		}
		messages := make([][]byte, n)
		for i := range messages {
			messages[i] = sized(size, int64(i))
		}
		err := m.perSecond(key, n, func(i, turn int) error {
			stamp(messages[i], int64(turn*n+i))
			return connections[i].Append(loadBox, "", messages[i])
		})
		if err != nil {
			return err
		}
		for _, c := range connections {
			if err := errors.Join(c.Do("DELETE "+loadBox, nil), c.Logout()); err != nil {
				return err
			}
		}
	}
	return nil
}

// stores: one flag of one message at a time, all connections in one mailbox.
func (m *measurement) stores() error {
	for _, load := range []struct {
		key string
		n   int
	}{{"store1", 1}, {"store8", 8}} {
		connections := make([]*raw.Conn, load.n)
		for i := range connections {
			c, err := m.open()
			if err != nil {
				return err
			}
			defer c.Close()
			connections[i] = c
		}
		uids, err := connections[0].UIDs()
		if err != nil {
			return err
		}
		err = m.perSecond(load.key, load.n, func(i, turn int) error {
			sign := []string{"+", "-"}[turn/1000%2]
			uid := uids[(turn%1000*load.n+i)%len(uids)]
			return connections[i].Do(fmt.Sprintf(`UID STORE %d %sFLAGS (\Flagged)`, uid, sign), discard)
		})
		if err != nil {
			return err
		}
		for _, c := range connections {
			if err := c.Logout(); err != nil {
				return err
			}
		}
	}
	return nil
}

// copies: 1000 messages to a new mailbox, from there to another one, and away.
func (m *measurement) copies() error {
	const second = loadBox + "2"
	c, err := m.open()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := errors.Join(c.Recreate(loadBox), c.Recreate(second)); err != nil {
		return err
	}
	for _, step := range []struct{ key, before, command string }{
		{"copy", "", "COPY 1:1000 " + loadBox},
		{"move", loadBox, "MOVE 1:1000 " + second},
		{"", second, `STORE 1:1000 +FLAGS.SILENT (\Deleted)`},
		{"expunge", "", "EXPUNGE"},
	} {
		if step.before != "" {
			if _, err := c.Select(step.before); err != nil {
				return err
			}
		}
		took, err := m.timed(func() error { return c.Do(step.command, discard) })
		if err != nil {
			return err
		}
		if step.key != "" {
			m.addMedian(step.key, []cost{took})
		}
	}
	return errors.Join(c.Do("CLOSE", nil), c.Do("DELETE "+loadBox, nil), c.Do("DELETE "+second, nil), c.Logout())
}
