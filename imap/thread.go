package imap

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/mail"
	"nestbox/storage"
)

// extThread threads on the server.
var extThread = extension{
	name: "THREAD", rfc: "RFC 5256", caps: []capability{{name: "THREAD=ORDEREDSUBJECT"}, {name: "THREAD=REFERENCES"}},
	commands: []*command{&cmdThread},
	threadings: []threading{
		{"ORDEREDSUBJECT", false, (*threader).orderedSubject},
		{"REFERENCES", true, (*threader).references},
	},
}

// cmdThread is THREAD and UID THREAD, RFC 5256 §3.
var cmdThread = command{name: "THREAD", state: selected, flags: hasUID | usesSeq | takesSet, parse: parseThread}

// A threading is one line of the table of algorithms.
type threading struct {
	name string
	ids  bool // it needs Message-ID and References
	// link sets the parents.
	link func(t *threader)
}

type threadCmd struct {
	searchCmd
	threading
}

func parseThread(d *wire.Decoder, r *request) runner {
	c := new(threadCmd)
	d.SP()
	algorithm, ok := look(r.s, r.s.srv.tables.threadings, d.Word())
	if !ok {
		d.Fail("a threading algorithm")
	}
	c.threading = algorithm
	d.SP()
	c.parseProgram(d, r)
	d.End()
	return c
}

func (c *threadCmd) run(s *session, r *request) (reply, error) {
	t := &threader{ids: c.ids, seed: maphash.MakeSeed()}
	if err := c.each(s, true, t.add); err != nil {
		return reply{}, err
	}
	c.link(t)
	t.write(s.w, &found{uid: r.uid, view: s.sel.view})
	return reply{}, nil
}

// A threader builds the trees. Its nodes are the messages, in ascending order,
// and behind them dummies, which hold siblings without a parent together.
type threader struct {
	ids   bool
	seed  maphash.Seed
	nodes []threadNode
	count int // of messages

	byArrival bool // the roots are ordered by the message that came last

	refs []mail.Hash // of all messages, one after the other
	ends []int       // of those of each message
}

const noNode = -1

// A threadNode is a message, or a dummy, without UID.
type threadNode struct {
	uid     imap.UID
	date    int64  // sent date
	arrived int64  // INTERNALDATE
	subject uint64 // hash of the base subject
	id      mail.Hash
	parent  int32
	first   int32 // itself; of a dummy the earliest child
	hasID   bool
	bare    bool // the base subject is empty
	reply   bool
	elder   bool // it is, or was, the parent of some
}

func (t *threader) add(row *storage.Row, rec mail.Record) {
	subject := rec.BaseSubject()
	n := threadNode{
		uid: row.UID, date: sentDate(row, rec), arrived: row.Date, subject: maphash.Bytes(t.seed, subject), bare: len(subject) == 0, reply: rec.IsReply(),
		parent: noNode, first: int32(t.count),
	}
	if t.ids {
		n.id, n.hasID = rec.MessageID()
		before := len(t.refs)
		rec.References(func(id mail.Hash) bool {
			t.refs = append(t.refs, id)
			return true
		})
		if id, ok := rec.InReplyTo(); ok && len(t.refs) == before {
			t.refs = append(t.refs, id)
		}
		t.ends = append(t.ends, len(t.refs))
	}
	t.nodes = append(t.nodes, n)
	t.count++
}

// dummy adds a dummy.
func (t *threader) dummy() int32 {
	t.nodes = append(t.nodes, threadNode{parent: noNode, first: noNode})
	return int32(len(t.nodes) - 1)
}

func (t *threader) isDummy(n int32) bool { return int(n) >= t.count }

// before is the order of siblings: by sent date, then as in the mailbox. A
// dummy stands where its first child would.
func (t *threader) before(a, b int32) int {
	x, y := t.nodes[a].first, t.nodes[b].first
	if n := cmp.Compare(t.nodes[x].date, t.nodes[y].date); n != 0 {
		return n
	}
	return cmp.Compare(x, y)
}

// orderedSubject makes the messages of a subject children of the first.
func (t *threader) orderedSubject() {
	first := make(map[uint64]int32)
	for i := range int32(t.count) {
		if f, ok := first[t.nodes[i].subject]; !ok || t.before(i, f) < 0 {
			first[t.nodes[i].subject] = i
		}
	}
	for i := range int32(t.count) {
		if f := first[t.nodes[i].subject]; f != i {
			t.nodes[i].parent = f
		}
	}
}

// children are the nodes that are left, in their order, by their parent. The
// roots come first.
func (t *threader) children() (roots []int32, of func(n int32) []int32) {
	var live []int32
	counts := make([]int32, len(t.nodes)+1)
	for i := range int32(len(t.nodes)) {
		if t.nodes[i].first == noNode {
			continue
		}
		live = append(live, i)
		if p := t.nodes[i].parent; p != noNode {
			counts[p+1]++
		}
	}
	slices.SortFunc(live, t.before)
	for i := range t.nodes {
		counts[i+1] += counts[i]
	}
	kids, next := make([]int32, len(live)), slices.Clone(counts)
	for _, n := range live {
		p := t.nodes[n].parent
		if p == noNode {
			roots = append(roots, n)
			continue
		}
		kids[next[p]] = n
		next[p]++
	}
	if t.byArrival {
		t.sortByArrival(roots)
	}
	return roots, func(n int32) []int32 { return kids[counts[n]:counts[n+1]] }
}

// write writes the answer of RFC 5256 §4. Threads may nest as deep as there
// are messages, so that there is no recursion.
func (t *threader) write(w *wire.Encoder, res *found) {
	roots, children := t.children()
	w.Raw("* THREAD")
	if len(roots) > 0 {
		w.SP()
	}
	for open := [][]int32{roots}; len(open) > 0; {
		siblings := &open[len(open)-1]
		if len(*siblings) == 0 {
			if open = open[:len(open)-1]; len(open) > 0 {
				w.Byte(')')
			}
			continue
		}
		n := (*siblings)[0]
		*siblings = (*siblings)[1:]
		w.Byte('(')
		kids := children(n)
		for t.writeNode(w, res, n); len(kids) == 1; kids = children(n) {
			n = kids[0]
			w.SP()
			t.writeNode(w, res, n)
		}
		if len(kids) == 0 {
			w.Byte(')')
			continue
		}
		if !t.isDummy(n) {
			w.SP()
		}
		open = append(open, kids)
	}
	w.CRLF()
}

func (t *threader) writeNode(w *wire.Encoder, res *found, n int32) {
	if !t.isDummy(n) {
		w.Append(func(b []byte) []byte { return strconv.AppendUint(b, uint64(res.number(t.nodes[n].uid)), 10) })
	}
}
