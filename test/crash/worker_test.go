package crash

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"nestbox/test/raw"
)

// A worker is one connection at a time that changes mailboxes of its own. It
// sends its commands in bursts, so that several are under way when the server
// dies; afterwards the mailboxes must be as after one of them.
type worker struct {
	name   string
	random *rand.Rand
	serial int
	// states[0] is acknowledged; each further one has one more command of
	// those that are under way.
	states   []state
	selected string
	acked    int

	account string
	board   *board
	sizes   map[string]int // of messages that were read, by sum
}

func newWorker(name string, seed uint64) *worker {
	w := &worker{name: name, random: rand.New(rand.NewPCG(seed, 1)), states: []state{{}}, sizes: map[string]int{}}
	return w
}

// last is the state after all that was sent.
func (w *worker) last() state { return w.states[len(w.states)-1] }

// An operation is a command and what it does to the mailboxes.
type operation struct {
	kind    string // as phases call it
	command string
	literal []byte // of an APPEND or REPLACE, which command then ends before
	apply   func(s state)
}

// work sends bursts of commands until the connection breaks, which is no
// error: then the server has been killed. A command that the server refuses
// is one.
func (w *worker) work(c *raw.Conn, stop <-chan struct{}) error {
	w.selected = ""
	for !closed(stop) {
		var tags, kinds []string
		for range 1 + w.random.IntN(4) {
			op := w.next()
			s := w.last().clone()
			op.apply(s)
			w.states = append(w.states, s)
			w.board.begin(w.account, op.kind)
			tag, err := send(c, op)
			if err != nil {
				return nil
			}
			tags, kinds = append(tags, tag), append(kinds, op.kind)
		}
		if c.Flush() != nil {
			return nil
		}
		for i, tag := range tags {
			err := c.Wait(tag, nil)
			var status *raw.StatusError
			if errors.As(err, &status) {
				return fmt.Errorf("%w: after %s", err, w.states[0].text())
			}
			if err != nil {
				return nil
			}
			w.board.end(w.account, kinds[i])
			w.states = w.states[1:]
			w.acked++
		}
	}
	return nil
}

func closed(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

func send(c *raw.Conn, op operation) (tag string, err error) {
	if op.literal == nil {
		return c.Send(op.command), nil
	}
	if op.kind == "replace" {
		return c.SendLiteral(op.command, op.literal)
	}
	name, args, _ := strings.Cut(op.command, " ")
	return c.SendAppend(name, args, op.literal)
}

// next makes up a command that must succeed.
func (w *worker) next() operation {
	s := w.last()
	a, b := w.name+"-a", w.name+"-b"
	for _, name := range []string{a, b} {
		if s[name] == nil {
			return operation{kind: "names", command: "CREATE " + name, apply: func(s state) { s[name] = newMailbox() }}
		}
	}
	if w.selected == "" || w.random.IntN(20) == 0 {
		w.selected = []string{a, b}[w.random.IntN(2)]
		return operation{kind: "select", command: "SELECT " + w.selected, apply: func(state) {}}
	}
	from, to := w.selected, a
	if from == a {
		to = b
	}
	n := len(s[from].messages)
	switch dice := w.random.IntN(100); {
	case n < 4, dice < 25 && n < 60:
		return w.append([]string{a, b}[w.random.IntN(2)])
	case dice < 70:
		return w.store(from, w.some(s[from], 3))
	case dice < 78 && len(s[to].messages) < 60:
		return w.copy("UID COPY", from, to, w.some(s[from], 10), false)
	case dice < 82 && len(s[to].messages) < 60:
		return w.replace(from, []string{from, to}[w.random.IntN(2)], w.some(s[from], 1)[0])
	case dice < 90 && len(s[to].messages) < 60:
		return w.copy("UID MOVE", from, to, w.some(s[from], 10), true)
	case dice < 93:
		return w.delete(from, w.some(s[from], 12))
	case dice < 96:
		return w.expunge(from)
	}
	return w.names(s)
}

// some picks up to most UIDs, at least one.
func (w *worker) some(m *mailbox, most int) []uint32 {
	uids := m.uids()
	w.random.Shuffle(len(uids), func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
	uids = uids[:1+w.random.IntN(min(most, len(uids)))]
	slices.Sort(uids)
	return uids
}

func set(uids []uint32) string {
	words := make([]string, len(uids))
	for i, uid := range uids {
		words[i] = strconv.Itoa(int(uid))
	}
	return strings.Join(words, ",")
}

func (w *worker) append(name string) operation {
	w.serial++
	size := 200 + w.random.IntN(8000)
	if w.random.IntN(25) == 0 {
		size = 300_000 // more than is staged in memory
	}
	body := makeMessage(w.random, fmt.Sprintf("%s.%d", w.name, w.serial), size)
	flags := []string{"", `\Seen`, `\Flagged kw1`}[w.random.IntN(3)]
	return operation{
		kind:    "append",
		command: fmt.Sprintf("%s (%s) ", name, flags),
		literal: body,
		apply:   func(s state) { s[name].add(message{sum: sum(body), flags: sortFlags(strings.Fields(flags))}) },
	}
}

// replace puts a new message into to, and takes another one out of from: both
// or neither.
func (w *worker) replace(from, to string, uid uint32) operation {
	op := w.append(to)
	add := op.apply
	op.kind, op.command = "replace", fmt.Sprintf("UID REPLACE %d %s", uid, op.command)
	op.apply = func(s state) {
		add(s)
		delete(s[from].messages, uid)
	}
	return op
}

func (w *worker) store(name string, uids []uint32) operation {
	flag := []string{`\Seen`, `\Flagged`, `\Answered`, "kw1", "kw2"}[w.random.IntN(5)]
	on, sign := w.random.IntN(3) > 0, "-"
	if on {
		sign = "+"
	}
	return operation{
		kind:    "flags",
		command: fmt.Sprintf("UID STORE %s %sFLAGS (%s)", set(uids), sign, flag),
		apply: func(s state) {
			for _, uid := range uids {
				s[name].setFlag(uid, flag, on)
			}
		},
	}
}

func (w *worker) copy(command, from, to string, uids []uint32, move bool) operation {
	kind := "copy"
	if move {
		kind = "move"
	}
	return operation{
		kind:    kind,
		command: fmt.Sprintf("%s %s %s", command, set(uids), to),
		apply: func(s state) {
			for _, uid := range uids {
				s[to].add(s[from].messages[uid])
				if move {
					delete(s[from].messages, uid)
				}
			}
		},
	}
}

func (w *worker) delete(name string, uids []uint32) operation {
	return operation{
		kind:    "flags",
		command: fmt.Sprintf(`UID STORE %s +FLAGS.SILENT (\Deleted)`, set(uids)),
		apply: func(s state) {
			for _, uid := range uids {
				s[name].setFlag(uid, `\Deleted`, true)
			}
		},
	}
}

func (w *worker) expunge(name string) operation {
	return operation{kind: "expunge", command: "EXPUNGE", apply: func(s state) {
		for uid, m := range s[name].messages {
			if slices.Contains(strings.Fields(m.flags), `\Deleted`) {
				delete(s[name].messages, uid)
			}
		}
	}}
}

// names creates, fills, renames and deletes mailboxes that are not selected.
func (w *worker) names(s state) operation {
	x, y := w.name+"-x", w.name+"-tree/y"
	switch {
	case s[x] == nil && s[y] == nil:
		return operation{kind: "names", command: "CREATE " + x, apply: func(s state) { s[x] = newMailbox() }}
	case s[x] != nil && w.random.IntN(2) == 0:
		return w.append(x)
	case s[x] != nil && s[y] == nil:
		return operation{kind: "names", command: "RENAME " + x + " " + y, apply: func(s state) {
			s[y] = s[x]
			delete(s, x)
		}}
	}
	return operation{kind: "names", command: "DELETE " + y, apply: func(s state) { delete(s, y) }}
}

// makeMessage makes a message of about size bytes that compress badly.
func makeMessage(random *rand.Rand, id string, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s@example.org\r\nSubject: %s\r\nMessage-ID: <%s@example.org>\r\n\r\n", id, id, id)
	for b.Len() < size {
		fmt.Fprintf(&b, "%016x%016x%016x\r\n", random.Uint64(), random.Uint64(), random.Uint64())
	}
	return b.Bytes()
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}
