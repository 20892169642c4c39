package main

import (
	"bytes"
	"errors"
	"fmt"

	"nestbox/test/raw"
)

// The items of each FETCH row.
const (
	itemsEnvelope  = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"
	itemsStructure = "(BODYSTRUCTURE)"
	itemsFields    = "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"
)

// selects: SELECT in new connections, and again in the same one.
func (m *measurement) selects() error {
	var fresh, again []cost
	for range 5 {
		c, err := m.dial(0, rawDefault)
		if err != nil {
			return err
		}
		for i := range 4 {
			took, err := m.timed(func() error { _, err := c.Select(corpusBox); return err })
			if err == nil {
				err = c.Do("CLOSE", nil)
			}
			if err != nil {
				return errors.Join(err, c.Close())
			}
			if i == 0 {
				fresh = append(fresh, took)
			} else {
				again = append(again, took)
			}
		}
		if err := c.Logout(); err != nil {
			return err
		}
	}
	m.addMedian("select_fresh", fresh)
	m.addMedian("select_again", again)
	return nil
}

// fetches: of the whole mailbox, first and again.
func (m *measurement) fetches() error {
	c, err := m.open()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, f := range []struct{ items, first, warm string }{
		{"(FLAGS)", "", "flags"},
		{itemsEnvelope, "envelope_first", "envelope_warm"},
		{itemsStructure, "structure_first", "structure_warm"},
		{itemsFields, "fields_first", "fields_warm"},
	} {
		var times []cost
		for range 4 {
			got := 0
			took, err := m.timed(func() error {
				return c.Do("UID FETCH 1:* "+f.items, func(line []byte) {
					if bytes.Contains(line[:min(len(line), 30)], []byte(" FETCH ")) {
						got++
					}
				})
			})
			if err != nil {
				return err
			}
			if got != m.messages {
				return fmt.Errorf("FETCH %s answered %d messages of %d", f.items, got, m.messages)
			}
			times = append(times, took)
		}
		if f.first != "" {
			m.addMedian(f.first, times[:1])
		}
		m.addMedian(f.warm, times[1:])
	}
	return errors.Join(m.bodies(c), c.Logout())
}

// bodies: the first 1000 messages whole.
func (m *measurement) bodies(c *raw.Conn) error {
	var rates, cpu []float64
	for range 4 {
		before := c.BytesIn()
		took, err := m.timed(func() error { return c.Do("FETCH 1:1000 (BODY.PEEK[])", discard) })
		if err != nil {
			return err
		}
		rates, cpu = append(rates, float64(c.BytesIn()-before)/1e3/took.ms), append(cpu, took.cpu)
	}
	m.samples.add("bodies", quantile(rates[1:], 0.5))
	m.samples.add("bodies"+cpuSuffix, quantile(cpu[1:], 0.5))
	return nil
}

// searches: rare words, after the server has done what it does in the
// background with new mail.
func (m *measurement) searches() error {
	if pid := m.server.pid(); pid != 0 {
		quiet(pid, longest)
	}
	c, err := m.open()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, s := range []struct{ key, criteria string }{
		{"search_subject", "SUBJECT " + rareSubject},
		{"search_body", "BODY " + rareBody},
		{"search_text", "TEXT " + rareBody},
	} {
		var times []cost
		for range 4 {
			hits := 0
			took, err := m.timed(func() error {
				return c.Do("UID SEARCH "+s.criteria, func(line []byte) {
					if rest, ok := bytes.CutPrefix(line, []byte("* SEARCH")); ok {
						hits += len(bytes.Fields(rest))
					}
				})
			})
			if err != nil {
				return err
			}
			if want := hitsOf(s.key, m.messages); hits < want {
				return fmt.Errorf("SEARCH %s found %d messages, there are %d", s.criteria, hits, want)
			}
			times = append(times, took)
		}
		m.addMedian(s.key, times[1:])
	}
	return c.Logout()
}

// hitsOf is how many of n messages certainly have the rare word: texts in
// base64 or without a body text of their own may have more.
func hitsOf(key string, n int) int {
	if key == "search_subject" {
		return (n + 749) / 1000
	}
	return (n + 499) / 1000
}
