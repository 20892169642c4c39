package storage

import (
	"bytes"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/mail"
)

// Criteria choose messages; all that are set must match. Strings are looked
// for in normal text, as SEARCH does (RFC 9051 §6.4.4).
type Criteria struct {
	Mailbox  string    // of this mailbox; "" for all
	Expunged bool      // only expunged messages
	Before   time.Time // INTERNALDATE
	Since    time.Time
	From     string // in From
	To       string // in To, Cc or Bcc
	Subject  string
	// MessageID is the whole id, with or without brackets.
	MessageID string
	UIDs      imap.UIDSet // needs Mailbox
	Larger    int64       // octets
}

// A matcher looks at one message after the other.
type matcher struct {
	Criteria
	id      mail.Hash
	hasID   bool
	headers []headerNeedle
	buf     []byte
}

type headerNeedle struct {
	fields []string
	text   []byte
}

func newMatcher(c Criteria) (*matcher, error) {
	m := &matcher{Criteria: c}
	if c.MessageID != "" {
		id := strings.TrimSpace(c.MessageID)
		if !strings.HasPrefix(id, "<") {
			id = "<" + id + ">"
		}
		if m.id, m.hasID = mail.HashMessageID(id); !m.hasID {
			return nil, &NameError{Name: c.MessageID, Why: "is no Message-ID"}
		}
	}
	for _, h := range []struct {
		text   string
		fields []string
	}{{c.From, []string{"FROM"}}, {c.To, []string{"TO", "CC", "BCC"}}, {c.Subject, []string{"SUBJECT"}}} {
		if h.text != "" {
			m.headers = append(m.headers, headerNeedle{h.fields, []byte(mail.Normal(h.text))})
		}
	}
	return m, nil
}

// row decides what the row alone can.
func (m *matcher) row(r *Row) bool {
	switch {
	case !m.Before.IsZero() && r.Date >= m.Before.Unix(),
		!m.Since.IsZero() && r.Date < m.Since.Unix(),
		m.Larger > 0 && r.Size <= m.Larger,
		m.UIDs != nil && !m.UIDs.Contains(r.UID):
		return false
	}
	return true
}

// filter keeps those of rows that match. It reads records and headers only
// where they are asked for.
func (m *matcher) filter(a *Account, rows []Row) ([]Row, error) {
	rows = keepIf(rows, func(i int) bool { return m.row(&rows[i]) })
	if m.hasID && len(rows) > 0 {
		yes := make([]bool, len(rows))
		err := a.Records(blobsOf(rows), func(i int, rec mail.Record) bool {
			h, ok := rec.MessageID()
			yes[i] = ok && h == m.id
			return true
		})
		if err != nil {
			return nil, err
		}
		rows = keepIf(rows, func(i int) bool { return yes[i] })
	}
	if len(m.headers) == 0 || len(rows) == 0 {
		return rows, nil
	}
	yes := make([]bool, len(rows))
	err := a.Headers(blobsOf(rows), func(i int, header []byte) bool {
		yes[i] = m.header(header)
		return true
	})
	return keepIf(rows, func(i int) bool { return yes[i] }), err
}

func (m *matcher) header(header []byte) bool {
	for _, n := range m.headers {
		found := false
		for _, field := range n.fields {
			mail.HeaderField(header, field, func(value []byte) bool {
				m.buf = mail.AppendNormalHeader(m.buf[:0], value)
				found = found || bytes.Contains(m.buf, n.text)
				return !found
			})
		}
		if !found {
			return false
		}
	}
	return true
}

func blobsOf(rows []Row) []BlobID {
	ids := make([]BlobID, len(rows))
	for i := range rows {
		ids[i] = rows[i].Blob
	}
	return ids
}

// keepIf keeps the rows whose number keep takes, in place.
func keepIf(rows []Row, keep func(i int) bool) []Row {
	n := 0
	for i := range rows {
		if keep(i) {
			rows[n] = rows[i]
			n++
		}
	}
	return rows[:n]
}

// eachLive calls f with the messages of a mailbox, a page at a time and
// without a transaction open. The slice is only valid in f.
func (a *Account) eachLive(m *Mailbox, f func(rows []Row) error) error {
	uids, rows := make([]imap.UID, 0, ReadRows), make([]Row, 0, ReadRows)
	for lo := imap.UID(1); lo < m.UIDNext; {
		var err error
		if uids, err = a.UIDs(m.Space, lo, m.UIDNext-1, uids[:0]); err != nil || len(uids) == 0 {
			return err
		}
		lo = uids[len(uids)-1] + 1
		if rows, err = a.Rows(m.Space, uids, rows[:0]); err != nil {
			return err
		}
		live := keepIf(rows, func(i int) bool { return !rows[i].Expunged })
		if err := f(live); err != nil {
			return err
		}
	}
	return nil
}
