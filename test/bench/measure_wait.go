package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"nestbox/test/raw"
)

// idles: how long after an APPEND's OK an idling connection hears of it.
func (m *measurement) idles() error {
	writer, err := m.dial(0, rawDefault)
	if err != nil {
		return err
	}
	defer writer.Close()
	if err := writer.Recreate(loadBox); err != nil {
		return err
	}
	idler, err := m.dial(0, rawDefault)
	if err != nil {
		return err
	}
	defer idler.Close()
	if _, err := idler.Select(loadBox); err != nil {
		return err
	}
	tag, err := idler.Idle()
	if err != nil {
		return err
	}
	if err := idler.Arm(); err != nil {
		return err
	}
	heard := make(chan time.Time, m.idle+1)
	ended := make(chan error, 1)
	go func() {
		ended <- idler.Wait(tag, func(line []byte) {
			if bytes.HasSuffix(line, []byte(" EXISTS")) {
				heard <- time.Now()
			}
		})
	}()
	var times []float64
	for i := range m.idle {
		// Past any limit of the server's on how often it tells, and at
		// different moments of its polling.
		time.Sleep(1100*time.Millisecond + time.Duration(i)*37*time.Millisecond)
		if err := writer.Append(loadBox, "", sized(4000, int64(i))); err != nil {
			return err
		}
		ok := time.Now()
		select {
		case at := <-heard:
			times = append(times, float64(at.Sub(ok))/1e6)
		case err := <-ended:
			return fmt.Errorf("the idling connection: %w", err)
		case <-time.After(70 * time.Second):
			return errors.New("no EXISTS within 70 s of an APPEND")
		}
	}
	m.samples.add("idle", quantile(times, 0.5))
	idler.SendRaw([]byte("DONE\r\n"))
	return errors.Join(idler.Flush(), <-ended, idler.Do("CLOSE", nil), writer.Do("DELETE "+loadBox, nil), writer.Logout())
}

// logins: connect, LOGIN, LOGOUT by clients that the server knows already.
func (m *measurement) logins() error {
	login := func(i int) error {
		c, err := raw.Dial(m.server.addr(false), raw.Options{Timeout: longest, Buffer: 4096})
		if err != nil {
			return err
		}
		return errors.Join(c.Do("LOGIN "+m.server.user(i)+" "+m.server.password(), nil), c.Logout())
	}
	for i := range m.users {
		if err := login(i); err != nil {
			return err
		}
	}
	for _, load := range []struct {
		key string
		n   int
	}{{"login1", 1}, {"login8", 8}} {
		if err := m.perSecond(load.key, load.n, func(i, turn int) error { return login(turn*load.n + i) }); err != nil {
			return err
		}
	}
	return nil
}

// atRest: memory some time after the last command, with no connection.
func (m *measurement) atRest() error {
	if m.server.pid() == 0 || m.rest == 0 {
		return nil
	}
	time.Sleep(m.rest)
	f := memory(m.server.pid())
	m.samples.add("rest_pss", float64(f.pss)/1e3)
	m.samples.add("rest_anon", float64(f.anon)/1e3)
	return nil
}

// day: what ten clients that log in, look and go make the server write. It
// counts only a server of one process: those that have ended can't be asked.
func (m *measurement) day() error {
	if _, ok := m.server.(*nestboxServer); !ok {
		return nil
	}
	const logins, clients, perDay = 100, 10, 24 * 12
	before := written(m.server.pid())
	for i := range logins {
		c, err := m.dial(i%clients, rawDefault)
		if err != nil {
			return err
		}
		if _, err := c.Select("INBOX"); err != nil {
			return err
		}
		if err := errors.Join(c.Do("NOOP", nil), c.Logout()); err != nil {
			return err
		}
	}
	quiet(m.server.pid(), 10*time.Second)
	m.samples.add("day", float64(written(m.server.pid())-before)/logins*clients*perDay/1e6)
	return nil
}

// bigMessage: how much more memory the server takes while one big message
// comes in, and goes out.
func (m *measurement) bigMessage() error {
	pid := m.server.pid()
	if pid == 0 {
		return nil
	}
	c, err := m.dial(1, rawDefault)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Recreate(loadBox); err != nil {
		return err
	}
	message := sized(m.big, time.Now().UnixNano())
	for _, step := range []struct {
		key string
		do  func() error
	}{
		{"big_append", func() error { return c.Append(loadBox, "", message) }},
		{"", func() error { _, err := c.Select(loadBox); return err }},
		{"big_fetch", func() error { return c.Do("FETCH 1 (BODY.PEEK[])", discard) }},
	} {
		before, stop := memory(pid), peak(pid)
		err := step.do()
		top := stop()
		if err != nil {
			return err
		}
		if step.key != "" {
			m.samples.add(step.key, float64(top.pss-before.pss)/1e3)
			m.samples.add(step.key+"_anon", float64(top.anon-before.anon)/1e3)
		}
	}
	return errors.Join(c.Do("CLOSE", nil), c.Do("DELETE "+loadBox, nil), c.Logout())
}

func (m *measurement) connectionsUnused() error { return m.idleMemory("idle_tls", 0) }
func (m *measurement) connectionsUsed() error   { return m.idleMemory("idle_tls_used", 64_000) }

// idleMemory: what a TLS connection in IDLE costs, after it has appended used
// bytes.
func (m *measurement) idleMemory(key string, used int) error {
	pid := m.server.pid()
	if pid == 0 || m.server.addr(true) == "" {
		return nil
	}
	// What one user's files cost is no connection's.
	first, err := m.openIdle(used)
	if err != nil {
		return err
	}
	defer first.Close()
	before := memory(pid)
	connections := make([]*raw.Conn, m.options.connections)
	slots := make(chan bool, 16)
	err = each(len(connections), func(i int) error {
		slots <- true
		defer func() { <-slots }()
		c, err := m.openIdle(used)
		connections[i] = c
		return err
	})
	defer func() {
		for _, c := range connections {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	if err != nil {
		return err
	}
	quiet(pid, time.Minute)
	time.Sleep(11 * time.Second) // a server may give memory back only at rest
	m.samples.add(key, float64(memory(pid).pss-before.pss)/float64(len(connections)))
	return nil
}

func (m *measurement) openIdle(used int) (*raw.Conn, error) {
	c, err := m.dial(0, raw.Options{TLS: true, Buffer: 4096})
	if err != nil {
		return nil, err
	}
	if used > 0 {
		err = c.Append("INBOX", "", sized(used, 1))
	}
	if err == nil {
		_, err = c.Select(corpusBox)
	}
	if err == nil {
		_, err = c.Idle()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}
