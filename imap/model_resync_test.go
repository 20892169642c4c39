package imap

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// The model test's clients that keep a cache by UID, and come back with it: with
// QRESYNC, and some with UIDONLY. They compute the MODSEQ to come back with as
// RFC 7162 §6 says, and lose their connection at random.

// A resyncCache is what such a client keeps of a mailbox.
type resyncCache struct {
	validity uint32
	modSeq   uint64
	flags    map[imap.UID][]string
	complete bool // at the last tagged response there was no other message
}

type resyncClient struct {
	*testClient
	box     *testBox
	r       *rand.Rand
	uidOnly bool
	caches  map[string]*resyncCache

	name     string // selected, or ""
	cache    *resyncCache
	count    int
	withheld bool   // the running command may not tell of expunges
	earlier  bool   // the running command may answer VANISHED (EARLIER)
	seen     uint64 // the highest MODSEQ since the last tagged response
	told     uint64 // HIGHESTMODSEQ since then
	silent   func(flags []string) []string
}

func (c *resyncClient) connect() {
	c.testClient, c.name, c.cache = c.box.login(), "", nil
	if c.uidOnly {
		c.ok("ENABLE UIDONLY QRESYNC")
	} else {
		c.ok("ENABLE QRESYNC")
	}
}

// run does a command, and digests its lines.
func (c *resyncClient) run(command string) (status string) {
	c.t.Helper()
	verb, _, _ := strings.Cut(command, " ")
	c.withheld = verb == "FETCH" || verb == "STORE" || verb == "SEARCH"
	untagged, status := c.do(command)
	for _, line := range untagged {
		c.take(command, line)
	}
	if strings.HasPrefix(status, "BAD") {
		c.t.Fatalf("%s: %s", command, status)
	}
	c.takeCode(status)
	if c.cache != nil { // RFC 7162 §6
		if c.told != 0 {
			c.cache.modSeq = c.told
		} else if c.seen > c.cache.modSeq {
			c.cache.modSeq = c.seen
		}
	}
	if c.cache != nil {
		c.cache.complete = len(c.cache.flags) == c.count
	}
	c.seen, c.told, c.silent = 0, 0, nil
	return status
}

func (c *resyncClient) takeCode(text string) {
	if m := highestModSeq.FindStringSubmatch(text); m != nil {
		c.told, _ = strconv.ParseUint(m[1], 10, 64)
	}
}

func (c *resyncClient) take(command, line string) {
	c.t.Helper()
	text := strings.TrimPrefix(line, "* ")
	switch {
	case strings.HasPrefix(text, "OK [UIDVALIDITY "):
		validity, _, _ := strings.Cut(strings.TrimPrefix(text, "OK [UIDVALIDITY "), "]")
		n, err := strconv.ParseUint(validity, 10, 32)
		must(c.t, err)
		if c.cache.validity != 0 && c.cache.validity != uint32(n) {
			c.t.Fatalf("%s: UIDVALIDITY was %d: %s", c.name, c.cache.validity, line)
		}
		c.cache.validity = uint32(n)
		return
	case strings.HasPrefix(text, "OK "):
		c.takeCode(text)
		return
	case strings.HasPrefix(text, "VANISHED (EARLIER) "):
		if !c.earlier {
			c.t.Fatalf("%s: %s", command, line)
		}
		for _, uid := range expand(c.t, strings.TrimPrefix(text, "VANISHED (EARLIER) ")) {
			delete(c.cache.flags, uid)
		}
		return
	case strings.HasPrefix(text, "VANISHED "):
		if c.withheld {
			c.t.Fatalf("%s: %s", command, line)
		}
		for _, uid := range expand(c.t, strings.TrimPrefix(text, "VANISHED ")) {
			delete(c.cache.flags, uid)
			c.count--
		}
		if c.count < 0 {
			c.t.Fatalf("%s: %s: more than there were", command, line)
		}
		return
	}
	number, rest, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return
	}
	switch word, items, _ := strings.Cut(rest, " "); word {
	case "EXISTS":
		if n < c.count {
			c.t.Fatalf("%s: %s, and there were %d", command, line, c.count)
		}
		c.count = n
	case "EXPUNGE":
		c.t.Fatalf("%s: %s", command, line)
	case "FETCH":
		if c.uidOnly || n > c.count {
			c.t.Fatalf("%s: %s of %d", command, line, c.count)
		}
		uid, ok := itemNumber(items, "UID ")
		if !ok {
			c.t.Fatalf("%s: %s has no UID", command, line)
		}
		c.takeItems(imap.UID(uid), items)
	case "UIDFETCH":
		if !c.uidOnly {
			c.t.Fatalf("%s: %s", command, line)
		}
		c.takeItems(imap.UID(n), items)
	}
}

func itemNumber(items, name string) (uint64, bool) {
	_, rest, ok := strings.Cut(items, name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(rest[:strings.IndexAny(rest, " )")], 10, 64)
	return n, err == nil
}

func (c *resyncClient) takeItems(uid imap.UID, items string) {
	if m, ok := itemNumber(items, "MODSEQ ("); ok {
		c.seen = max(c.seen, m)
	}
	if _, rest, ok := strings.Cut(items, "FLAGS ("); ok {
		c.cache.flags[uid] = sortedFlags(strings.Fields(rest[:strings.IndexByte(rest, ')')]))
	} else if have, known := c.cache.flags[uid]; known && c.silent != nil {
		c.cache.flags[uid] = c.silent(have)
	}
}

// open selects a mailbox with what is cached of it.
func (c *resyncClient) open(name string) {
	c.t.Helper()
	c.name, c.count = name, 0
	c.cache = c.caches[name]
	if c.cache == nil {
		c.cache = &resyncCache{flags: map[imap.UID][]string{}}
		c.caches[name] = c.cache
	}
	command := "SELECT " + name
	if c.cache.validity != 0 {
		command += fmt.Sprintf(" (QRESYNC (%d %d%s))", c.cache.validity, max(c.cache.modSeq, 1), c.known())
	}
	c.earlier = true
	if status := c.run(command); !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%s: %s", command, status)
	}
	c.earlier = false
	c.fetchNew()
}

// known is sometimes what the client knows: the UIDs, and a sample of them with
// their numbers, if it knows all that have lower ones.
func (c *resyncClient) known() string {
	uids := slices.Sorted(maps.Keys(c.cache.flags))
	if len(uids) == 0 || c.r.IntN(2) == 0 {
		return ""
	}
	text := fmt.Sprintf(" 1:%d", uids[len(uids)-1])
	if !c.uidOnly && c.cache.complete && c.r.IntN(2) == 0 {
		n := c.r.IntN(len(uids))
		text += fmt.Sprintf(" (%d %d)", n+1, uids[n])
	}
	return text
}

// fetchNew asks for messages above those that are known.
func (c *resyncClient) fetchNew() {
	last := imap.UID(0)
	for uid := range c.cache.flags {
		last = max(last, uid)
	}
	c.run(fmt.Sprintf("UID FETCH %d:* (UID FLAGS)", last+1))
}

func (c *resyncClient) uids() string {
	lo := 1 + c.r.IntN(60)
	return fmt.Sprintf("%d:%d,%d", lo, lo+c.r.IntN(8), 1+c.r.IntN(60))
}

// messages is a set, and the prefix of the command that takes it.
func (c *resyncClient) messages() (prefix, set string) {
	if c.uidOnly || c.count == 0 || c.r.IntN(2) == 0 {
		return "UID ", c.uids()
	}
	return "", fmt.Sprintf("%d:%d", 1+c.r.IntN(c.count), 1+c.r.IntN(c.count))
}

func (c *resyncClient) store() {
	flags := []string{modelFlags[c.r.IntN(len(modelFlags))]}
	op := []string{"FLAGS", "+FLAGS", "-FLAGS"}[c.r.IntN(3)]
	item := op
	if c.r.IntN(2) == 0 {
		item += ".SILENT"
		c.silent = func(have []string) []string { return apply(have, op, flags) }
	}
	condition := ""
	if c.r.IntN(3) == 0 {
		condition = fmt.Sprintf("(UNCHANGEDSINCE %d) ", c.cache.modSeq)
	}
	prefix, set := c.messages()
	c.run(fmt.Sprintf("%sSTORE %s %s%s (%s)", prefix, set, condition, item, flags[0]))
}

func (c *resyncClient) step(boxes []string) {
	c.t.Helper()
	if c.r.IntN(12) == 0 { // the connection breaks off
		must(c.t, c.conn.Close())
		c.connect()
	}
	if c.name == "" || c.r.IntN(15) == 0 {
		c.open(boxes[c.r.IntN(len(boxes))])
		return
	}
	other := boxes[c.r.IntN(len(boxes))]
	prefix, set := c.messages()
	switch c.r.IntN(12) {
	case 0, 1, 2:
		c.store()
	case 3:
		c.run(prefix + "FETCH " + set + " (UID FLAGS)")
	case 4:
		c.run(prefix + "FETCH " + set + fmt.Sprintf(" (UID FLAGS) (CHANGEDSINCE %d)", c.cache.modSeq/2))
	case 5:
		c.earlier = true
		c.run(fmt.Sprintf("UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %d VANISHED)", max(c.cache.modSeq, 1)))
		c.earlier = false
	case 6:
		c.run(prefix + "MOVE " + set + " " + other)
	case 7:
		c.run(prefix + "COPY " + set + " " + other)
	case 8:
		c.run("EXPUNGE")
	case 9:
		c.run(fmt.Sprintf("APPEND %s (%s) {%d+}\r\n%s", other, modelFlags[c.r.IntN(len(modelFlags))], len(smallMessage), smallMessage))
	case 10:
		c.run(prefix + "SEARCH UNSEEN")
	case 11:
		if c.count > 60 {
			c.run("UID STORE 1:* +FLAGS (\\Deleted)")
			c.run("UID EXPUNGE 1:*")
		}
		c.run("NOOP")
	}
}

// agree syncs, and compares the cache with the store.
func (c *resyncClient) agree(account *storage.Account) {
	c.t.Helper()
	if c.name == "" {
		return
	}
	c.run("NOOP")
	c.fetchNew()
	box, err := account.MailboxByName(c.name)
	must(c.t, err)
	uids, err := account.UIDs(box.Space, 1, box.UIDNext, make([]imap.UID, 0, 10000))
	must(c.t, err)
	if len(uids) != c.count {
		c.t.Fatalf("%s has %d messages, the client counts %d", c.name, len(uids), c.count)
	}
	var rows []storage.Row
	for part := range slices.Chunk(uids, 500) {
		rows, err = account.Rows(box.Space, part, rows)
		must(c.t, err)
	}
	cached := maps.Clone(c.cache.flags)
	for i := range rows {
		have, ok := cached[rows[i].UID]
		delete(cached, rows[i].UID)
		var flags []string
		for _, f := range box.FlagNames(rows[i].Flags) {
			flags = append(flags, string(f))
		}
		if want := sortedFlags(flags); ok && !slices.Equal(have, want) {
			c.t.Fatalf("%s: UID %d has %q, the client has %q", c.name, rows[i].UID, want, have)
		}
	}
	if len(cached) > 0 {
		c.t.Fatalf("%s: the client has %v, which are gone", c.name, cached)
	}
}

// TestModelResync mixes clients that resynchronise with such that count.
func TestModelResync(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			b := newTestBox(t, nil)
			r := rand.New(rand.NewPCG(seed, 7162))
			b.login().ok("CREATE one")
			boxes := []string{"INBOX", "one"}
			plain := &modelClient{testClient: b.login(), r: rand.New(rand.NewPCG(seed, 1))}
			var clients []*resyncClient
			for i := range 4 {
				c := &resyncClient{box: b, r: rand.New(rand.NewPCG(seed, uint64(2+i))), uidOnly: i%2 == 1, caches: map[string]*resyncCache{}}
				c.connect()
				clients = append(clients, c)
			}
			for i := range 500 {
				if n := r.IntN(len(clients) + 1); n == len(clients) {
					plain.step(boxes)
				} else {
					clients[n].step(boxes)
				}
				if i%20 == 19 {
					clients[r.IntN(len(clients))].agree(b.account)
				}
			}
			plain.agree(b.account)
			for _, c := range clients {
				for _, name := range boxes { // a resync equals a fresh SELECT
					c.open(name)
					c.agree(b.account)
				}
			}
		})
	}
}
