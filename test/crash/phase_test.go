package crash

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"nestbox/test/tap"
)

// A phase is something that the server is in the middle of when it is killed.
type phase struct {
	name   string
	weight int // how often it is chosen
	// at reports whether a call that changes files belongs to the phase.
	at func(s *scene, e tap.Event) bool
	// calls bounds at which of its calls the kill comes.
	calls int
	// load is what works on the server; nil: all clients at once.
	load func(s *scene, r *round) error
	// starting: the kill comes while the server starts, after a first kill at a
	// random moment.
	starting bool
	// migrating: at that start the server knows a later format.
	migrating bool
	// tool: a command is killed, and not the server.
	tool bool
	// slow: a command must have begun. As for tool, the backup is looked at
	// afterwards.
	slow bool
}

// phases are what a long run must hit, each of them.
var phases = []phase{
	{name: "append", weight: 3, calls: 60, at: command("append")},
	{name: "flags", weight: 3, calls: 60, at: command("flags")},
	{name: "copy", weight: 2, calls: 40, at: command("copy")},
	{name: "move", weight: 2, calls: 40, at: command("move")},
	{name: "replace", weight: 2, calls: 40, at: command("replace")},
	{name: "expunge", weight: 2, calls: 40, at: command("expunge")},
	{name: "mailbox names", weight: 2, calls: 20, at: command("names")},
	{name: "bulk copy", weight: 1, calls: 60, at: command("bulk copy")},
	{name: "bulk move", weight: 1, calls: 60, at: command("bulk move")},
	{name: "bulk flags", weight: 1, calls: 60, at: command("bulk flags")},
	{name: "bulk expunge", weight: 1, calls: 60, at: command("bulk expunge")},
	{name: "expunge to restore", weight: 1, calls: 30, at: command("expunge to restore")},
	{name: "undelete", weight: 2, calls: 30, at: command("undelete"), load: (*scene).restoreLoad, slow: true},
	{name: "flag journal", weight: 1, calls: 60, at: file("flags.journal*")},
	{name: "new flag journal", weight: 1, calls: 4, at: file("flags.journal.new")},
	{name: "body volume", weight: 2, calls: 60, at: file("body-????.db")},
	{name: "new body volume", weight: 1, calls: 12, at: file("body-*.db.new")},
	{name: "quiet work", weight: 2, calls: 20, at: quiet, load: (*scene).quietLoad},
	{name: "start", weight: 2, calls: 30, at: always, starting: true},
	{name: "migration", weight: 4, calls: 80, at: file("mail.db*"), starting: true, migrating: true},
	{name: "stop", weight: 1, calls: 20, at: always, load: (*scene).stopLoad},
	{name: "vanished disk", weight: 1, calls: 1, at: never, load: (*scene).vanishLoad},
	{name: "system.db", weight: 1, calls: 12, at: file("system.db"), load: (*scene).adminLoad},
	{name: "accounts", weight: 2, calls: 60, at: elsewhere, load: (*scene).adminLoad},
	{name: "expiry and free space", weight: 2, calls: 60, at: expiring, load: (*scene).expireLoad},
	{name: "compaction", weight: 3, calls: 60, at: file("*.compact"), load: (*scene).expireLoad, slow: true},
	{name: "search index", weight: 1, calls: 20, at: file("search.db*"), load: (*scene).expireLoad, slow: true},
	{name: "purge", weight: 1, calls: 60, at: command("purge"), load: (*scene).purgeLoad, slow: true},
	{name: "backup, server", weight: 1, calls: 500, at: command("backup"), load: (*scene).backupLoad, slow: true},
	{name: "backup, command", weight: 2, calls: 60, at: always, load: (*scene).backupLoad, tool: true},
	{name: "restore of messages", weight: 1, calls: 150, at: command("restore of messages"), load: (*scene).restoreMessagesLoad, slow: true},
	{name: "restore of a folder", weight: 1, calls: 120, at: always, load: (*scene).restoreFolderLoad, tool: true},
}

// any moment is what a kill by the clock falls into.
const anyMoment = "any moment"

// command is in an account's files while one of its clients waits for an
// answer to such a command.
func command(kind string) func(*scene, tap.Event) bool {
	return func(s *scene, e tap.Event) bool {
		dir, _, ok := strings.Cut(strings.TrimPrefix(e.Path, "accounts/"), "/")
		return ok && s.board.under(s.names[dir], kind) || s.board.under("", kind)
	}
}

func file(pattern string) func(*scene, tap.Event) bool {
	return func(_ *scene, e tap.Event) bool {
		ok, _ := path.Match(pattern, path.Base(e.Path))
		to, _ := path.Match(pattern, path.Base(e.To))
		return ok || to
	}
}

// elsewhere is in folders other than those of the clients' accounts.
func elsewhere(s *scene, e tap.Event) bool {
	dir, _, _ := strings.Cut(strings.TrimPrefix(e.Path, "accounts/"), "/")
	return strings.HasPrefix(e.Path, "accounts/") && s.names[dir] == ""
}

func never(*scene, tap.Event) bool { return false }

func always(*scene, tap.Event) bool { return true }

// quiet is the work in accounts while no client waits for anything.
func quiet(s *scene, e tap.Event) bool {
	return strings.HasPrefix(e.Path, "accounts/") && s.board.idle()
}

// A board tells which commands are under way, by account and kind.
type board struct {
	mu  sync.Mutex
	now map[string]map[string]int
}

func (b *board) begin(account, kind string) { b.add(account, kind, 1) }
func (b *board) end(account, kind string)   { b.add(account, kind, -1) }

func (b *board) add(account, kind string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil {
		b.now = map[string]map[string]int{}
	}
	if b.now[account] == nil {
		b.now[account] = map[string]int{}
	}
	b.now[account][kind] += n
}

func (b *board) under(account, kind string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now[account][kind] > 0
}

func (b *board) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kinds := range b.now {
		for _, n := range kinds {
			if n > 0 {
				return false
			}
		}
	}
	return true
}

func (b *board) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.now)
}

// A trigger kills the server at one of the calls of a phase.
type trigger struct {
	s *scene

	mu    sync.Mutex
	armed *phase
	left  int  // calls of the phase until then
	after bool // the call is done, and nobody told
	fired string
}

// arm chooses the call.
func (g *trigger) arm(p *phase, random *rand.Rand) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed, g.left, g.after, g.fired = p, 1+random.IntN(1+random.IntN(p.calls)), random.IntN(2) == 0, ""
}

// disarm returns the call at which it fired, "" if it didn't.
func (g *trigger) disarm() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = nil
	fired := g.fired
	g.fired = ""
	return fired
}

// hold keeps it from firing until goOn.
func (g *trigger) hold() (goOn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	armed := g.armed
	g.armed = nil
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.armed = armed
	}
}

// hit reports whether it fired.
func (g *trigger) hit() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fired != ""
}

func (g *trigger) before(t *tap.Tap, e tap.Event) { g.see(t, e, false) }
func (g *trigger) done(t *tap.Tap, e tap.Event)   { g.see(t, e, true) }

func (g *trigger) see(t *tap.Tap, e tap.Event, after bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.armed == nil || g.after != after || !g.armed.at(g.s, e) {
		return
	}
	if g.left--; g.left > 0 {
		return
	}
	g.fired = fmt.Sprintf("%s, after %v: %v", g.armed.name, after, e)
	g.armed = nil
	t.Kill()
}

// hits counts the kills by phase.
type hits struct {
	mu sync.Mutex
	n  map[string]int
}

func (h *hits) count(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == nil {
		h.n = map[string]int{}
	}
	h.n[name]++
}

func (h *hits) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(h.n)) {
		all = append(all, fmt.Sprintf("%s %d", name, h.n[name]))
	}
	return strings.Join(all, ", ")
}

// missed lists the phases that no kill fell into.
func (h *hits) missed() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range phases {
		if h.n[p.name] == 0 {
			names = append(names, p.name)
		}
	}
	return names
}

// choose picks a phase by its weight.
func choose(random *rand.Rand) *phase {
	all := 0
	for i := range phases {
		all += phases[i].weight
	}
	n := random.IntN(all)
	for i := range phases {
		if n -= phases[i].weight; n < 0 {
			return &phases[i]
		}
	}
	panic("unreachable")
}

// roundTime bounds a round whose phase doesn't come.
const roundTime = 1500 * time.Millisecond
