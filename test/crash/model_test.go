package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A message is what must be there again.
type message struct {
	sum   string // of its bytes
	flags string // sorted, without \Recent
	size  int    // as read
}

// A state is what a worker's mailboxes hold: by name, the messages by UID. As
// one worker alone writes into them, every UID is known in advance.
type state map[string]*mailbox

type mailbox struct {
	next     uint32 // UIDNEXT
	validity uint32 // UIDVALIDITY, as read; 0: not read so far
	messages map[uint32]message
}

func newMailbox() *mailbox { return &mailbox{next: 1, messages: map[uint32]message{}} }

func (s state) clone() state {
	c := state{}
	for name, box := range s {
		c[name] = &mailbox{box.next, box.validity, maps.Clone(box.messages)}
	}
	return c
}

// text says what is in the mailboxes, for comparing and for people.
func (s state) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s:\n", name)
		for _, uid := range s[name].uids() {
			fmt.Fprintf(&b, "  %d %s %s\n", uid, s[name].messages[uid].sum, s[name].messages[uid].flags)
		}
	}
	return b.String()
}

// precedes reports whether no UIDNEXT of later, which has the same mailboxes, is
// below that of s, and their UIDVALIDITY is the same: no UID may be used twice.
func (s state) precedes(later state) bool {
	for name, box := range s {
		if later[name].next < box.next || box.validity != 0 && later[name].validity != box.validity {
			return false
		}
	}
	return true
}

func (m *mailbox) uids() []uint32 { return slices.Sorted(maps.Keys(m.messages)) }

func (m *mailbox) add(msg message) {
	m.messages[m.next] = msg
	m.next++
}

func (m *mailbox) setFlag(uid uint32, flag string, on bool) {
	msg := m.messages[uid]
	msg.flags = sortFlags(slices.DeleteFunc(strings.Fields(msg.flags), func(w string) bool { return w == flag }))
	if on {
		msg.flags = sortFlags(append(strings.Fields(msg.flags), flag))
	}
	m.messages[uid] = msg
}

func sortFlags(words []string) string {
	slices.Sort(words)
	return strings.Join(words, " ")
}

// difference shows the lines that two texts do not share.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	only := func(a, b []string) (lines []string) {
		for _, line := range a {
			if !slices.Contains(b, line) {
				lines = append(lines, line)
			}
		}
		return lines
	}
	return fmt.Sprintf("there, not expected: %q; expected, not there: %q", only(g, w), only(w, g))
}
