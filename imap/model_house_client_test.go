package imap

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// A houseMode is a kind of session.
type houseMode struct {
	condstore, resync, uidOnly bool
	notify                     string // SELECTED, SELECTED-DELAYED or none
}

// A houseClient believes what it reads. Flags are by UID; the places of
// messages too, unless it has said that it uses UIDs only.
type houseClient struct {
	*testClient
	house *house
	login string
	mode  houseMode
	r     *rand.Rand
	last  string // command
	trace []string
	byes  int

	closed   bool
	name     string // selected, or ""
	id       storage.MailboxID
	objectID string
	since    int        // the house's step then
	seqs     []imap.UID // 0: not known
	count    int
	cache    *resyncCache
	caches   map[string]*resyncCache

	earlier    bool // as resyncClient has them
	seen, told uint64
	silent     func(flags []string) []string
	silently   func()                   // to be done at OK
	contexts   map[string]*houseContext // by tag
	opening    func()                   // at the boundary of two mailboxes
	listed     []string
	fresh      map[string]bool // of boxes: told by STATUS in the last command
	boxes      map[string]int  // with NOTIFY: messages by name, -1 for not known
}

func newHouseClient(h *house, login string, mode houseMode, r *rand.Rand) *houseClient {
	return &houseClient{house: h, login: login, mode: mode, r: r, closed: true, caches: map[string]*resyncCache{}}
}

// fail ends the test, with what the client sent and read before. With
// -model-trace the whole story goes to a file.
func (c *houseClient) fail(format string, args ...any) {
	c.house.t.Helper()
	what := fmt.Sprintf("%s %+v in %q at step %d: %s", c.login, c.mode, c.name, c.house.step, fmt.Sprintf(format, args...))
	if *modelTrace != "" {
		story := strings.Join(c.house.story, "\n") + "\n\n" + strings.Join(c.trace, "\n") + "\n" + what + "\n"
		must(c.house.t, os.WriteFile(*modelTrace, []byte(story), 0o600))
	}
	c.house.t.Fatalf("%s\n%s", what, strings.Join(c.trace[max(0, len(c.trace)-60):], "\n"))
}

func (c *houseClient) note(text string) {
	if len(c.trace) > 200 && *modelTrace == "" {
		c.trace = slices.Delete(c.trace, 0, 100)
	}
	c.trace = append(c.trace, fmt.Sprintf("%d %.300s", c.house.step, text))
}

func (c *houseClient) connect() {
	c.testClient = c.house.box.dial()
	c.closed = false
	c.leave()
	c.ok(`LOGIN ` + c.login + ` "` + testPassword + `"`)
	enable := ""
	for _, x := range []struct {
		on   bool
		name string
	}{{c.mode.condstore, " CONDSTORE"}, {c.mode.resync, " QRESYNC"}, {c.mode.uidOnly, " UIDONLY"}} {
		if x.on {
			enable += x.name
		}
	}
	if enable != "" {
		c.ok("ENABLE" + enable)
	}
	if c.mode.notify != "" {
		c.notify()
	}
}

// leave is what it means that no mailbox is selected.
func (c *houseClient) leave() {
	if b := c.house.boxes[c.id]; c.name != "" && c.boxes != nil && b != nil && !c.house.parallel {
		if _, ok := c.boxes[c.house.nameFor(c.login, b)]; ok {
			c.boxes[c.house.nameFor(c.login, b)] = c.count
		}
	}
	c.name, c.id, c.cache, c.seqs, c.count = "", storage.MailboxID{}, nil, nil, 0
	c.contexts = nil
}

// run does a command and digests its lines; it reports false when the server has
// ended the connection.
func (c *houseClient) run(command string) (status string, alive bool) {
	c.house.t.Helper()
	c.last, c.fresh = command, map[string]bool{}
	c.note("C: " + command)
	if *modelTrace != "" {
		c.house.story = append(c.house.story, fmt.Sprintf("%d %s %+v in %s: %.200q", c.house.step, c.login, c.mode, c.name, command))
	}
	c.tags++
	tag := fmt.Sprintf("a%d", c.tags)
	_, _ = io.WriteString(c.conn, tag+" "+command+"\r\n") // a broken connection is met in reading
	var lines []string
	for {
		line, err := c.tryLine()
		if err != nil {
			c.bye(err)
			return "", false
		}
		c.note("S: " + line)
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			status = rest
			break
		}
		lines = append(lines, line)
	}
	verb, _, _ := strings.Cut(strings.TrimPrefix(command, "UID "), " ")
	switch result, _, _ := strings.Cut(status, " "); result {
	case "OK", "NO":
		c.house.mu.Lock()
		c.house.done[strings.Split(verb, "\r")[0]+" "+result]++
		c.house.mu.Unlock()
	default:
		c.fail("%s", status)
	}
	for _, line := range lines {
		c.take(command, line)
	}
	// Nobody changes flags while a command runs: with NOTIFY a line may be from
	// before it, none is from after it.
	if c.silently != nil && strings.HasPrefix(status, "OK") {
		c.silently()
	}
	c.silently = nil
	c.takeCode(status)
	if c.cache != nil { // RFC 7162 §6
		if c.told != 0 {
			c.cache.modSeq = c.told
		} else if c.seen > c.cache.modSeq {
			c.cache.modSeq = c.seen
		}
		c.cache.complete = len(c.cache.flags) == c.count
	}
	c.seen, c.told, c.silent = 0, 0, nil
	return status, true
}

// bye: only a mailbox that was deleted, or may not be read any more, ends it.
func (c *houseClient) bye(err error) {
	c.house.t.Helper()
	c.note("S: " + err.Error())
	if !c.house.blind {
		c.house.look(c.login, c) // this step may have done it
	}
	if c.name == "" || !c.house.parallel && c.house.boxes[c.id].lost[c.login] < c.since {
		c.fail("the connection ended: %v", err)
	}
	c.byes++
	c.drop()
}

// drop ends the connection.
func (c *houseClient) drop() {
	_ = c.conn.Close()
	c.boxes, c.silent, c.silently, c.listed, c.seen, c.told = nil, nil, nil, nil, 0, 0
	c.leave()
	c.closed = true
}

func (c *houseClient) takeCode(text string) {
	if m := highestModSeq.FindStringSubmatch(text); m != nil {
		c.told, _ = strconv.ParseUint(m[1], 10, 64)
	}
}

// take digests a line.
func (c *houseClient) take(command, line string) {
	c.house.t.Helper()
	text := strings.TrimPrefix(line, "* ")
	switch {
	case strings.HasPrefix(text, "OK [CLOSED]"):
		c.leave()
		if c.opening != nil {
			c.opening()
		}
	case strings.HasPrefix(text, "OK [UIDVALIDITY "):
		c.validity(text)
	case strings.HasPrefix(text, "OK [MAILBOXID ("):
		c.objectID, _, _ = strings.Cut(strings.TrimPrefix(text, "OK [MAILBOXID ("), ")")
	case strings.HasPrefix(text, "OK "):
		c.takeCode(text)
	case strings.HasPrefix(text, "VANISHED (EARLIER) "):
		if !c.earlier {
			c.fail("%s: %s", command, line)
		}
		for _, uid := range expand(c.house.t, strings.TrimPrefix(text, "VANISHED (EARLIER) ")) {
			delete(c.cache.flags, uid)
		}
	case strings.HasPrefix(text, "VANISHED "):
		c.mayExpunge(line)
		for _, uid := range expand(c.house.t, strings.TrimPrefix(text, "VANISHED ")) {
			c.vanish(uid)
		}
	case strings.HasPrefix(text, "ESEARCH "):
		c.takeESearch(text)
	case strings.HasPrefix(text, "STATUS "):
		c.takeStatus(strings.TrimPrefix(text, "STATUS "))
	case strings.HasPrefix(text, "LIST "):
		c.takeList(text)
	default:
		c.takeNumbered(line, text)
	}
}

func (c *houseClient) validity(text string) {
	value, _, _ := strings.Cut(strings.TrimPrefix(text, "OK [UIDVALIDITY "), "]")
	n, err := strconv.ParseUint(value, 10, 32)
	must(c.house.t, err)
	if c.cache.validity != uint32(n) {
		*c.cache = resyncCache{validity: uint32(n), flags: map[imap.UID][]string{}}
	}
}

// mayExpunge fails if expunges were to be withheld.
func (c *houseClient) mayExpunge(line string) {
	c.house.t.Helper()
	verb, _, _ := strings.Cut(c.last, " ")
	if c.mode.notify != "SELECTED" && (verb == "FETCH" || verb == "STORE" || verb == "SEARCH") {
		c.fail("%s while expunges are to be withheld", line)
	}
	if c.count--; c.count < 0 {
		c.fail("%s of no messages", line)
	}
	c.count++
}

func (c *houseClient) takeNumbered(line, text string) {
	c.house.t.Helper()
	number, rest, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return // FLAGS, SEARCH
	}
	switch word, items, _ := strings.Cut(rest, " "); word {
	case "EXISTS":
		if n < c.count {
			c.fail("%s, and there were %d", line, c.count)
		}
		c.count = n
		if !c.mode.uidOnly {
			c.seqs = append(c.seqs, make([]imap.UID, n-len(c.seqs))...)
		}
	case "EXPUNGE":
		c.mayExpunge(line)
		if c.mode.resync || c.mode.uidOnly || n < 1 || n > c.count {
			c.fail("%s of %d", line, c.count)
		}
		delete(c.cache.flags, c.seqs[n-1])
		c.seqs = slices.Delete(c.seqs, n-1, n)
		c.count--
	case "FETCH":
		if c.mode.uidOnly || n < 1 || n > c.count {
			c.fail("%s of %d", line, c.count)
		}
		c.mayRead(line)
		c.takeItems(c.place(n, items, line), items)
	case "UIDFETCH":
		if !c.mode.uidOnly {
			c.fail("%s", line)
		}
		c.mayRead(line)
		c.takeItems(imap.UID(n), items)
	}
}

// mayRead fails if the right to read was gone when the command began. With
// NOTIFY a line may be older.
func (c *houseClient) mayRead(line string) {
	c.house.t.Helper()
	if c.house.parallel || c.mode.notify != "" {
		return
	}
	if b := c.house.boxes[c.id]; !b.gone && c.house.rights(c.login, b)&storage.RightRead == 0 {
		c.fail("%s without the right to read", line)
	}
}

// place is the UID of message n, or 0.
func (c *houseClient) place(n int, items, line string) imap.UID {
	c.house.t.Helper()
	uid, ok := itemNumber(items, "UID ")
	if !ok {
		if c.mode.resync {
			c.fail("%s has no UID", line)
		}
		return c.seqs[n-1]
	}
	if had := c.seqs[n-1]; had != 0 && had != imap.UID(uid) {
		c.fail("%s, but message %d has UID %d", line, n, had)
	}
	c.seqs[n-1] = imap.UID(uid)
	last := imap.UID(0)
	for _, u := range c.seqs {
		if u != 0 && u <= last {
			c.fail("%s: UIDs not ascending: %v", line, c.seqs)
		}
		last = max(last, u)
	}
	return imap.UID(uid)
}

// vanish removes a message from the places: if it isn't known which one it was,
// one of those between its neighbours.
func (c *houseClient) vanish(uid imap.UID) {
	c.house.t.Helper()
	delete(c.cache.flags, uid)
	if c.count--; c.count < 0 {
		c.fail("VANISHED %d of no messages", uid)
	}
	if c.mode.uidOnly {
		return
	}
	at := slices.Index(c.seqs, uid)
	for i, u := range c.seqs {
		if at < 0 && u > uid {
			break
		}
		if u == 0 && !slices.Contains(c.seqs, uid) {
			if later := slices.IndexFunc(c.seqs[i:], func(u imap.UID) bool { return u != 0 }); later < 0 || c.seqs[i+later] > uid {
				at = i
				break
			}
		}
	}
	if at < 0 {
		c.fail("VANISHED %d of %v", uid, c.seqs)
	}
	c.seqs = slices.Delete(c.seqs, at, at+1)
}

func (c *houseClient) takeItems(uid imap.UID, items string) {
	if uid == 0 {
		return
	}
	if m, ok := itemNumber(items, "MODSEQ ("); ok {
		c.seen = max(c.seen, m)
	}
	if _, rest, ok := strings.Cut(items, "FLAGS ("); ok {
		c.cache.flags[uid] = sortedFlags(strings.Fields(rest[:strings.IndexByte(rest, ')')]))
	} else if have, known := c.cache.flags[uid]; known && c.silent != nil {
		c.cache.flags[uid] = c.silent(have)
	}
}
