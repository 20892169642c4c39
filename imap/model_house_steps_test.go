package imap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// What the clients of the household do.

// step does one random thing.
func (c *houseClient) step() {
	switch {
	case c.closed:
		c.connect()
	case c.r.IntN(60) == 0: // the connection breaks off
		c.drop()
	case c.r.IntN(9) == 0:
		c.administer()
	case c.name == "" || c.r.IntN(20) == 0:
		c.open(c.someBox())
	case c.count > 60:
		if _, alive := c.run(`UID STORE 1:* +FLAGS (\Deleted)`); alive {
			c.run("UID EXPUNGE 1:*")
		}
	case c.r.IntN(3) == 0:
		c.other()
	default:
		c.message()
	}
}

// someBox is a name, mostly one that exists.
func (c *houseClient) someBox() string {
	if names := c.house.visible(c.login); len(names) > 0 && c.r.IntN(8) > 0 {
		return names[c.r.IntN(len(names))]
	}
	return c.house.anyName(c.r, c.login)
}

// message does something with some messages.
func (c *houseClient) message() {
	prefix, set := c.messages()
	other := c.someBox()
	switch c.r.IntN(9) {
	case 8:
		c.context()
	case 0, 1:
		c.store(prefix, set)
	case 2:
		c.run(prefix + "FETCH " + set + " (UID FLAGS)")
	case 3:
		item := " (UID BODY[HEADER.FIELDS (SUBJECT)])"
		if c.mode.condstore || c.mode.resync {
			item = fmt.Sprintf(" (UID FLAGS) (CHANGEDSINCE %d)", c.cache.modSeq/2)
		}
		c.run(prefix + "FETCH " + set + item)
	case 4:
		c.made(other, prefix+"MOVE "+set+" "+other)
	case 5:
		c.made(other, prefix+"COPY "+set+" "+other)
	case 6:
		c.run(prefix + "SEARCH UNSEEN")
	case 7:
		if c.mode.resync {
			c.earlier = true
			c.run(fmt.Sprintf("UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %d VANISHED)", max(c.cache.modSeq, 1)))
			c.earlier = false
		}
	}
}

func (c *houseClient) other() {
	switch name := c.someBox(); c.r.IntN(11) {
	case 9: // two messages at once, or none
		c.made(name, fmt.Sprintf("APPEND %s (\\Flagged) {%d+}\r\n%s (%s) {%d+}\r\n%s", name, len(smallMessage), smallMessage,
			modelFlags[c.r.IntN(len(modelFlags))], len(smallMessage), smallMessage))
	case 10:
		if known := slices.Sorted(maps.Keys(c.cache.flags)); len(known) > 0 {
			c.made(name, fmt.Sprintf("UID REPLACE %d %s (\\Draft) {%d+}\r\n%s", known[c.r.IntN(len(known))], name, len(smallMessage), smallMessage))
		}
	case 0, 1, 2:
		c.made(name, fmt.Sprintf("APPEND %s (%s) {%d+}\r\n%s", name, modelFlags[c.r.IntN(len(modelFlags))], len(smallMessage), smallMessage))
	case 3:
		c.run("EXPUNGE")
	case 4:
		c.run("UID EXPUNGE " + c.uids())
	case 5:
		c.run("IDLE\r\nDONE")
	case 6:
		if verb := []string{"CLOSE", "UNSELECT"}[c.r.IntN(2)]; c.r.IntN(3) == 0 {
			if _, alive := c.run(verb); alive {
				c.leave()
			}
		}
	default:
		c.run("NOOP")
	}
}

// made does what may put messages in another mailbox, of which NOTIFY need not
// tell who put them there.
func (c *houseClient) made(name, command string) {
	if _, alive := c.run(command); !alive {
		return
	}
	if _, known := c.boxes[name]; known {
		c.boxes[name] = -1
	}
}

// messages is a set, and the prefix of the command that takes it.
func (c *houseClient) messages() (prefix, set string) {
	// Who hears of expunges at any time can't use numbers (RFC 5465 §6.1).
	if c.mode.uidOnly || c.mode.notify == "SELECTED" || c.count == 0 || c.r.IntN(2) == 0 {
		return "UID ", c.uids()
	}
	return "", fmt.Sprintf("%d:%d", 1+c.r.IntN(c.count), 1+c.r.IntN(c.count))
}

// uids is a set of UIDs, mostly of messages that there are.
func (c *houseClient) uids() string {
	known := slices.Sorted(maps.Keys(c.cache.flags))
	if len(known) == 0 || c.r.IntN(6) == 0 {
		lo := 1 + c.r.IntN(60)
		return fmt.Sprintf("%d:%d", lo, lo+c.r.IntN(8))
	}
	lo := c.r.IntN(len(known))
	hi := min(lo+c.r.IntN(4), len(known)-1)
	return fmt.Sprintf("%d:%d,%d", known[lo], known[hi], known[c.r.IntN(len(known))])
}

// store is a STORE; after a silent one the client does to its own flags what it
// asked the server to do, if nothing could be refused.
func (c *houseClient) store(prefix, set string) {
	flags := []string{modelFlags[c.r.IntN(len(modelFlags))]}
	op := []string{"FLAGS", "+FLAGS", "-FLAGS"}[c.r.IntN(3)]
	item := op
	all := !strings.HasPrefix(c.name, "Users/") && !strings.HasPrefix(c.name, "Shared/")
	if !c.house.blind {
		all = c.house.rights(c.login, c.house.boxes[c.id]) == storage.AllRights
	}
	conditions := c.mode.condstore || c.mode.resync
	if all && c.r.IntN(2) == 0 && (conditions || prefix == "UID " && !c.house.blind) {
		item += ".SILENT"
		set := set
		c.silent = func(have []string) []string { return apply(have, op, flags) }
		if !conditions {
			c.silently = func() {
				for _, uid := range expand(c.house.t, set) {
					if have, known := c.cache.flags[uid]; known {
						c.cache.flags[uid] = apply(have, op, flags)
					}
				}
			}
		}
	}
	condition := ""
	if conditions && c.r.IntN(3) == 0 {
		condition = fmt.Sprintf("(UNCHANGEDSINCE %d) ", c.cache.modSeq)
	}
	c.run(fmt.Sprintf("%sSTORE %s %s%s (%s)", prefix, set, condition, item, flags[0]))
}

// open selects a mailbox, with what is cached of it.
func (c *houseClient) open(name string) {
	b := c.house.find(c.login, name)
	may := b != nil && c.house.rights(c.login, b)&storage.RightRead != 0
	verb := "SELECT "
	if c.r.IntN(8) == 0 {
		verb = "EXAMINE "
	}
	cache := c.caches[name]
	if cache == nil || !c.mode.resync {
		cache = &resyncCache{flags: map[imap.UID][]string{}}
		c.caches[name] = cache
	}
	command := verb + name
	if c.mode.resync && cache.validity != 0 {
		command += fmt.Sprintf(" (QRESYNC (%d %d%s))", cache.validity, max(cache.modSeq, 1), c.known(cache))
	}
	c.opening = func() {
		c.name, c.cache, c.since, c.opening = name, cache, c.house.step, nil
		if b != nil {
			c.id = b.ID
		}
	}
	if c.name == "" {
		c.opening()
	}
	c.earlier = true
	status, alive := c.run(command)
	c.opening, c.earlier = nil, false
	switch ok := strings.HasPrefix(status, "OK"); {
	case !alive:
		return
	case ok != may && !c.house.blind:
		c.fail("%s: %s", command, status)
	case !ok:
		c.leave()
	case !c.house.blind && c.objectID != c.id.String():
		c.fail("%s: mailbox %s, want %s", command, c.objectID, c.id)
	default:
		c.fetchNew()
	}
}

// known is sometimes what the client knows, as resyncClient's.
func (c *houseClient) known(cache *resyncCache) string {
	uids := slices.Sorted(maps.Keys(cache.flags))
	if len(uids) == 0 || c.r.IntN(2) == 0 {
		return ""
	}
	text := fmt.Sprintf(" 1:%d", uids[len(uids)-1])
	if !c.mode.uidOnly && cache.complete && c.r.IntN(2) == 0 {
		n := c.r.IntN(len(uids))
		text += fmt.Sprintf(" (%d %d)", n+1, uids[n])
	}
	return text
}

// fetchNew asks for messages above those that are known.
func (c *houseClient) fetchNew() bool {
	last := imap.UID(0)
	for uid := range c.cache.flags {
		last = max(last, uid)
	}
	_, alive := c.run(fmt.Sprintf("UID FETCH %d:* (UID FLAGS)", last+1))
	return alive
}

// agree syncs, and compares what the client believes with the store.
func (c *houseClient) agree() {
	if c.closed {
		return
	}
	if _, alive := c.run("NOOP"); !alive {
		return
	}
	if c.name != "" {
		b := c.house.byID(c.objectID)
		if b == nil || b.gone || c.house.rights(c.login, b)&storage.RightRead == 0 {
			if _, alive := c.run("NOOP"); alive {
				c.fail("the selected mailbox is gone, or not to be read, and the session goes on")
			}
			return
		}
		if !c.fetchNew() {
			return
		}
		c.agreeMessages(b)
	}
	if !c.house.parallel {
		c.agreeNames()
	}
}

func (c *houseClient) agreeMessages(b *houseBox) {
	view := c.house.accounts[b.owner].ByLogin("")
	if b.owner != c.login {
		view = c.house.accounts[b.owner].ByLogin(c.house.ids[c.login])
	}
	uids := slices.Sorted(maps.Keys(b.rows))
	if len(uids) != c.count {
		c.fail("there are %d messages, the client counts %d", len(uids), c.count)
	}
	var rows []storage.Row
	var err error
	if len(uids) > 0 {
		rows, err = view.Rows(b.Space, uids, nil)
		must(c.house.t, err)
	}
	cached, truth := maps.Clone(c.cache.flags), map[imap.UID][]string{}
	for i := range rows {
		if !c.mode.uidOnly && c.seqs[i] != 0 && c.seqs[i] != rows[i].UID {
			c.fail("message %d is %d, the client has %d", i+1, rows[i].UID, c.seqs[i])
		}
		have, ok := cached[rows[i].UID]
		delete(cached, rows[i].UID)
		want := c.house.flagsOf(b, rows[i].Flags)
		truth[rows[i].UID] = want
		if ok && !slices.Equal(have, want) {
			c.fail("UID %d has %q, the client has %q", rows[i].UID, want, have)
		}
	}
	if len(cached) > 0 {
		c.fail("the client has %v, which are gone", cached)
	}
	c.agreeContexts(truth)
}
