package crash

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nestbox/test/raw"
)

// read reads a worker's mailboxes back. Unless whole, of messages that are
// where the state before has them only flags and size are read.
func (w *worker) read(c *raw.Conn, whole bool) (state, error) {
	s := state{}
	var names []string
	if err := c.Do(`LIST "" `+w.name+"-*", func(line []byte) {
		words := strings.Fields(string(line))
		if bytes.Contains(line, []byte(`\NonExistent`)) || bytes.Contains(line, []byte(`\Noselect`)) {
			return // the name above another
		}
		names = append(names, strings.Trim(words[len(words)-1], `"`))
	}); err != nil {
		return nil, err
	}
	for _, name := range names {
		box, err := w.readMailbox(c, name, whole)
		if err != nil {
			return nil, err
		}
		s[name] = box
	}
	return s, nil
}

// readMailbox reads one of them.
func (w *worker) readMailbox(c *raw.Conn, name string, whole bool) (*mailbox, error) {
	m, err := readMailbox(c, name, whole)
	if err != nil || whole {
		return m, err
	}
	before := w.states[0][name]
	var fresh []uint32
	for uid, msg := range m.messages {
		size, known := 0, false
		if before != nil && before.validity == m.validity {
			msg.sum = before.messages[uid].sum
			size, known = w.sizes[msg.sum]
		}
		if !known {
			fresh = append(fresh, uid)
			continue
		}
		if size != msg.size {
			return nil, fmt.Errorf("%s: UID %d has %d bytes, and had %d", name, uid, msg.size, size)
		}
		m.messages[uid] = msg
	}
	if len(fresh) == 0 {
		return m, nil
	}
	slices.Sort(fresh)
	err = fetch(c, m, name, set(fresh), true)
	for _, uid := range fresh {
		w.sizes[m.messages[uid].sum] = m.messages[uid].size
	}
	return m, err
}

// readMailbox reads a mailbox, with the sums of its messages if whole.
func readMailbox(c *raw.Conn, name string, whole bool) (*mailbox, error) {
	m := newMailbox()
	if err := c.Do("EXAMINE "+name, func(line []byte) {
		for code, n := range map[string]*uint32{"[UIDNEXT ": &m.next, "[UIDVALIDITY ": &m.validity} {
			if _, rest, ok := strings.Cut(string(line), code); ok {
				v, _ := strconv.ParseUint(rest[:strings.IndexByte(rest, ']')], 10, 32)
				*n = uint32(v)
			}
		}
	}); err != nil {
		return nil, err
	}
	return m, fetch(c, m, name, "1:*", whole)
}

// fetch reads messages of the selected mailbox into m.
func fetch(c *raw.Conn, m *mailbox, name, uids string, whole bool) error {
	items := "UID FLAGS RFC822.SIZE"
	if whole {
		items += " BODY.PEEK[]"
	}
	var wrong error
	err := c.DoWhole("UID FETCH "+uids+" ("+items+")", func(r raw.Response) {
		if !strings.Contains(r.Text, " FETCH (") || whole && len(r.Literals) != 1 {
			return // EXISTS and the like
		}
		uid, flags, size, err := parseFetch(r.Text)
		msg := message{flags: flags, size: size}
		if whole {
			msg.sum = sum([]byte(r.Literals[0]))
			if err == nil && size != len(r.Literals[0]) {
				err = fmt.Errorf("%s: UID %d has %d bytes and RFC822.SIZE %d", name, uid, len(r.Literals[0]), size)
			}
		}
		wrong = errors.Join(wrong, err)
		m.messages[uid] = msg
	})
	return errors.Join(err, wrong)
}

// parseFetch reads "* 1 FETCH (UID 7 FLAGS (\Seen) RFC822.SIZE 9 BODY[] {9})".
func parseFetch(text string) (uid uint32, flags string, size int, err error) {
	number := func(item string) (n int) {
		_, rest, ok := strings.Cut(text, item+" ")
		if end := strings.IndexAny(rest, " )"); ok && end > 0 {
			n, err = strconv.Atoi(rest[:end])
			return n
		}
		err = fmt.Errorf("no %s in %q", item, text)
		return 0
	}
	uid, size = uint32(number("UID")), number("RFC822.SIZE")
	_, list, _ := strings.Cut(text, "FLAGS (")
	list, _, _ = strings.Cut(list, ")")
	words := slices.DeleteFunc(strings.Fields(list), func(f string) bool { return f == `\Recent` })
	return uid, sortFlags(words), size, err
}

// settle compares what the server has with what it may have, and goes on from
// there.
func (w *worker) settle(c *raw.Conn, whole bool) error {
	got, err := w.read(c, whole)
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	text := got.text()
	for _, s := range w.states {
		if s.text() == text && s.precedes(got) {
			w.states = []state{got}
			return nil
		}
	}
	return fmt.Errorf("%s: the mailboxes are as after none of the last %d commands; against what was acknowledged: %s; against all that was sent: %s",
		w.name, len(w.states)-1, difference(text, w.states[0].text()), difference(text, w.last().text()))
}
