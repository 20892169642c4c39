package imap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// The model test of DESIGN.md §8.2: sessions do things at random; a fake
// client behind each sees only the lines and keeps its own list of messages,
// as RFC 3501 §7.4.1 has it.

// A modelClient is what a client knows of the selected mailbox.
type modelClient struct {
	*testClient
	r    *rand.Rand
	name string // selected, or ""
	ro   bool
	list []modelMessage
	uid  bool // the running command may tell of expunges
}

type modelMessage struct {
	uid   imap.UID // 0: not known
	flags []string // nil: not known
}

// take digests one untagged line.
func (c *modelClient) take(line string) {
	c.t.Helper()
	fields := strings.SplitN(strings.TrimPrefix(line, "* "), " ", 3)
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		return // FLAGS, OK, SEARCH
	}
	switch fields[1] {
	case "EXISTS":
		if n < len(c.list) {
			c.t.Fatalf("%q, but there are %d", line, len(c.list))
		}
		c.list = append(c.list, make([]modelMessage, n-len(c.list))...)
	case "RECENT":
		if n > len(c.list) {
			c.t.Fatalf("%q of %d", line, len(c.list))
		}
	case "EXPUNGE":
		if !c.uid {
			c.t.Fatalf("%q while expunges are to be withheld", line)
		}
		if n < 1 || n > len(c.list) {
			c.t.Fatalf("%q of %d", line, len(c.list))
		}
		c.list = slices.Delete(c.list, n-1, n)
	case "FETCH":
		if n < 1 || n > len(c.list) {
			c.t.Fatalf("%q of %d", line, len(c.list))
		}
		c.takeFetch(n, fields[2], line)
	}
}

func (c *modelClient) takeFetch(n int, items, line string) {
	c.t.Helper()
	m := &c.list[n-1]
	if _, rest, ok := strings.Cut(items, "UID "); ok {
		uid, err := strconv.Atoi(rest[:strings.IndexAny(rest, " )")])
		must(c.t, err)
		if m.uid != 0 && m.uid != imap.UID(uid) {
			c.t.Fatalf("%q, but message %d has UID %d", line, n, m.uid)
		}
		m.uid = imap.UID(uid)
		last := imap.UID(0)
		for i := range c.list {
			if u := c.list[i].uid; u != 0 {
				if u <= last {
					c.t.Fatalf("%q: UIDs not ascending: %v", line, c.list)
				}
				last = u
			}
		}
	}
	if _, rest, ok := strings.Cut(items, "FLAGS ("); ok {
		m.flags = sortedFlags(strings.Fields(rest[:strings.IndexByte(rest, ')')]))
	}
}

func sortedFlags(flags []string) []string {
	out := []string{}
	for _, f := range flags {
		if f != `\Recent` {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}

// run does a command and digests its lines.
func (c *modelClient) run(command string) (status string) {
	c.t.Helper()
	c.uid = !strings.HasPrefix(command, "FETCH") && !strings.HasPrefix(command, "STORE") && !strings.HasPrefix(command, "SEARCH")
	untagged, status := c.do(command)
	for _, line := range untagged {
		c.take(line)
	}
	return status
}

func (c *modelClient) open(name string) {
	c.t.Helper()
	c.list = nil
	c.name = ""
	command := "SELECT "
	if c.ro = c.r.IntN(6) == 0; c.ro {
		command = "EXAMINE "
	}
	untagged, status := c.do(command + name)
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%s%s: %s", command, name, status)
	}
	for _, line := range untagged {
		if strings.Contains(line, "[CLOSED]") {
			c.list = nil
		}
		c.take(line)
	}
	c.name = name
}

// seqSet is a random set of sequence numbers of the client's list.
func (c *modelClient) seqSet() (text string, in []bool) {
	n := len(c.list)
	in = make([]bool, n)
	var parts []string
	for range 1 + c.r.IntN(3) {
		lo, hi := 1+c.r.IntN(n), 1+c.r.IntN(n)
		parts = append(parts, fmt.Sprintf("%d:%d", lo, hi))
		for i := min(lo, hi); i <= max(lo, hi); i++ {
			in[i-1] = true
		}
	}
	return strings.Join(parts, ","), in
}

func (c *modelClient) uidSet() string {
	lo := 1 + c.r.IntN(60)
	return fmt.Sprintf("%d:%d,%d", lo, lo+c.r.IntN(8), 1+c.r.IntN(60))
}

var modelFlags = []string{`\Seen`, `\Deleted`, `\Deleted`, `\Flagged`, `\Answered`, "tea", "rum"}

func (c *modelClient) flags() []string {
	var flags []string
	for range 1 + c.r.IntN(2) {
		flags = append(flags, modelFlags[c.r.IntN(len(modelFlags))])
	}
	slices.Sort(flags)
	return slices.Compact(flags)
}

// store is a STORE; after a silent one the client does to its own list what it
// asked the server to do.
func (c *modelClient) store() {
	c.t.Helper()
	flags := c.flags()
	op := []string{"FLAGS", "+FLAGS", "-FLAGS"}[c.r.IntN(3)]
	silent := c.r.IntN(2) == 0
	item := op
	if silent {
		item += ".SILENT"
	}
	if c.r.IntN(2) == 0 {
		c.run(fmt.Sprintf("UID STORE %s %s (%s)", c.uidSet(), item, strings.Join(flags, " ")))
		// Which of the messages it doesn't know were meant, it can't tell.
		for i := range c.list {
			c.list[i].flags = nil
		}
		return
	}
	set, in := c.seqSet()
	c.uid = false
	untagged, status := c.do(fmt.Sprintf("STORE %s %s (%s)", set, item, strings.Join(flags, " ")))
	if silent && strings.HasPrefix(status, "OK") {
		for i := range c.list {
			if m := &c.list[i]; in[i] && m.flags != nil {
				m.flags = apply(m.flags, op, flags)
			}
		}
	}
	for _, line := range untagged {
		c.take(line)
	}
}

func apply(have []string, op string, flags []string) []string {
	switch op {
	case "FLAGS":
		have = nil
	case "-FLAGS":
		have = slices.DeleteFunc(slices.Clone(have), func(f string) bool { return slices.Contains(flags, f) })
		return sortedFlags(have)
	}
	all := sortedFlags(append(slices.Clone(have), flags...))
	return slices.Compact(all)
}

// step does one random thing.
func (c *modelClient) step(boxes []string) {
	c.t.Helper()
	if c.name == "" || c.r.IntN(25) == 0 {
		c.open(boxes[c.r.IntN(len(boxes))])
		return
	}
	other := boxes[c.r.IntN(len(boxes))]
	if len(c.list) > 60 {
		c.run("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
		for i := range c.list {
			c.list[i].flags = nil
		}
		c.run("EXPUNGE")
		return
	}
	if len(c.list) > 0 {
		switch set, _ := c.seqSet(); c.r.IntN(12) {
		case 0, 1:
			c.run("FETCH " + set + " (UID FLAGS)")
			return
		case 2, 3:
			c.store()
			return
		case 4:
			c.run("COPY " + set + " " + other)
			return
		case 5:
			c.run("MOVE " + set + " " + other)
			return
		case 6:
			c.run("SEARCH FLAGGED")
			return
		case 7:
			c.run("FETCH " + set + " (BODY[HEADER.FIELDS (SUBJECT)])")
			return
		}
	}
	switch c.r.IntN(10) {
	case 0, 1, 2:
		c.run(fmt.Sprintf("APPEND %s (%s) {%d+}\r\n%s", other, strings.Join(c.flags(), " "), len(smallMessage), smallMessage))
	case 3:
		c.run("EXPUNGE")
	case 4:
		c.run("UID EXPUNGE " + c.uidSet())
	case 5:
		c.run("UID FETCH " + c.uidSet() + " (FLAGS)")
	case 6:
		c.run("UID MOVE " + c.uidSet() + " " + other)
	case 7:
		c.run("UID COPY " + c.uidSet() + " " + other)
	case 8:
		tag := c.start("IDLE\r\nDONE")
		c.uid = true
		untagged, _ := c.finish(tag)
		for _, line := range untagged {
			c.take(line)
		}
	case 9:
		c.run("NOOP")
	}
}

// agree syncs, and compares the client's list with the store.
func (c *modelClient) agree(account *storage.Account) {
	c.t.Helper()
	if c.name == "" {
		return
	}
	c.run("NOOP")
	box, err := account.MailboxByName(c.name)
	must(c.t, err)
	uids, err := account.UIDs(box.Space, 1, box.UIDNext, make([]imap.UID, 0, 10000))
	must(c.t, err)
	if len(uids) != len(c.list) {
		c.t.Fatalf("%s has %d messages, the client knows %d", c.name, len(uids), len(c.list))
	}
	var rows []storage.Row
	for part := range slices.Chunk(uids, 500) {
		rows, err = account.Rows(box.Space, part, rows)
		must(c.t, err)
	}
	for i, m := range c.list {
		if m.uid != 0 && m.uid != uids[i] {
			c.t.Fatalf("%s: message %d is %d, the client has %d", c.name, i+1, uids[i], m.uid)
		}
		if m.flags == nil {
			continue
		}
		var flags []string
		for _, f := range box.FlagNames(rows[i].Flags) {
			flags = append(flags, string(f))
		}
		if want := sortedFlags(flags); !slices.Equal(m.flags, want) {
			c.t.Fatalf("%s: message %d (UID %d) has %q, the client has %q", c.name, i+1, uids[i], want, m.flags)
		}
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			b := newTestBox(t, nil)
			r := rand.New(rand.NewPCG(seed, 99))
			setup := b.login()
			setup.ok("CREATE one")
			boxes := []string{"INBOX", "one"}
			var clients []*modelClient
			for i := range 4 {
				clients = append(clients, &modelClient{testClient: b.login(), r: rand.New(rand.NewPCG(seed, uint64(i)))})
			}
			for i := range 400 {
				clients[r.IntN(len(clients))].step(boxes)
				if i%20 == 19 {
					clients[r.IntN(len(clients))].agree(b.account)
				}
			}
			for _, c := range clients {
				c.agree(b.account)
			}
		})
	}
}

// TestModelParallel: all at once; the lines must still make sense, and agree
// when it is quiet again.
func TestModelParallel(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	setup := b.login()
	setup.ok("CREATE one")
	boxes := []string{"INBOX", "one"}
	var all sync.WaitGroup
	var clients []*modelClient
	for i := range 6 {
		c := &modelClient{testClient: b.login(), r: rand.New(rand.NewPCG(5, uint64(i)))}
		clients = append(clients, c)
		all.Go(func() {
			for range 200 {
				c.step(boxes)
			}
		})
	}
	all.Wait()
	for _, c := range clients {
		c.agree(b.account)
	}
}
