package imap

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nestbox/storage"
)

// What the clients of the household do with mailboxes, and what they are told
// of names.

var houseRights = []string{"lr", "lrs", "lrswi", "lrswite", "lrswipkxtea", "lrswipkxte", "l", "r", "lrx", "lrk", "lre", "lrte", "", "+e", "-r", "+lr", "-s", "+i"}

func (c *houseClient) administer() {
	name := c.someBox()
	switch c.r.IntN(12) {
	case 0, 1:
		who := []string{"ann", "bob", "bob", "anyone", "-bob"}[c.r.IntN(5)]
		c.run("SETACL " + name + " " + who + ` "` + houseRights[c.r.IntN(len(houseRights))] + `"`)
	case 2:
		c.run("DELETEACL " + name + " " + []string{"bob", "anyone", "-bob"}[c.r.IntN(3)])
	case 3, 4, 5:
		name = c.house.anyName(c.r, c.login)
		if status, alive := c.run("CREATE " + name); alive && c.boxes != nil && strings.HasPrefix(status, "OK") {
			if !c.house.blind {
				c.house.look(c.login, c)
			}
			if slices.Contains(c.house.visible(c.login), name) { // who may create there needn't see it
				c.boxes[name] = -1
			}
		}
	case 6:
		c.delete(name)
	case 7, 10, 11:
		to := c.house.anyName(c.r, c.login)
		for range 10 { // mostly a name that is free, in the same account
			if c.house.find(c.login, to) == nil && strings.Count(to, "/") == strings.Count(name, "/") {
				break
			}
			to = c.house.anyName(c.r, c.login)
		}
		if status, alive := c.run("RENAME " + name + " " + to); alive && strings.HasPrefix(status, "OK") {
			c.renamed(name, to, true)
		}
	case 8:
		if c.mode.notify != "" { // what is to be told without LIST is told first
			if _, alive := c.run("NOOP"); !alive {
				return
			}
		}
		c.listed = []string{}
		if _, alive := c.run(`LIST "" *`); alive {
			slices.Sort(c.listed)
			if want := c.house.visible(c.login); !c.house.blind && !slices.Equal(c.listed, want) {
				c.fail("LIST shows %q, want %q", c.listed, want)
			}
		}
		c.listed = nil
	case 9: // somebody else, with nestbox acl
		if c.house.blind {
			return
		}
		for _, b := range c.house.boxes {
			if b.owner == "team" && !b.gone && c.house.rights("ann", b) == 0 {
				c.house.grant("team", b.Name, "ann", storage.AllRights)
			}
		}
		c.house.look("", nil)
	}
}

func (c *houseClient) delete(name string) {
	if c.r.IntN(2) == 0 {
		return
	}
	if status, alive := c.run("DELETE " + name); alive && strings.HasPrefix(status, "OK") {
		delete(c.boxes, name)
	}
}

// renamed takes the messages' counts along.
func (c *houseClient) renamed(old, now string, own bool) {
	if c.boxes == nil {
		return
	}
	if strings.HasSuffix(old, "INBOX") {
		c.boxes[now], c.boxes[old] = -1, -1
		return
	}
	moved := map[string]int{}
	for name, n := range c.boxes {
		if rest, below := strings.CutPrefix(name, old); below && (rest == "" || rest[0] == '/') {
			delete(c.boxes, name)
			delete(c.fresh, name)
			moved[now+rest] = n
		}
	}
	for name, n := range moved {
		if !own || !c.fresh[name] { // told while its own RENAME ran
			c.boxes[name] = n
		}
	}
}

// notify asks to be told of everything.
func (c *houseClient) notify() {
	const events = " (MessageNew MessageExpunge FlagChange MailboxName))"
	c.boxes = map[string]int{}
	c.run("NOTIFY SET STATUS (" + c.mode.notify + " (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (personal" + events + " (subtree (Users Shared)" + events)
}

var (
	houseList     = regexp.MustCompile(`^LIST \(([^)]*)\) "/" (\S+)(?: \("OLDNAME" \((\S+)\)\))?`)
	houseMessages = regexp.MustCompile(`^(\S+) \(.*MESSAGES (\d+)`)
)

func (c *houseClient) takeList(text string) {
	c.house.t.Helper()
	m := houseList.FindStringSubmatch(text)
	if m == nil {
		c.fail("%s", text)
	}
	attrs, name, old := strings.Fields(m[1]), m[2], m[3]
	missing := slices.Contains(attrs, `\NonExistent`)
	if c.listed != nil && strings.HasPrefix(c.last, "LIST") {
		if !missing {
			c.listed = append(c.listed, name)
		}
		return
	}
	switch _, known := c.boxes[name]; {
	case c.boxes == nil:
		c.fail("nobody asked for %s", text)
	case missing:
		delete(c.boxes, name)
	case old != "":
		c.renamed(old, name, false)
	case !known || name != c.name:
		c.boxes[name] = -1
	}
}

func (c *houseClient) takeStatus(text string) {
	c.house.t.Helper()
	if m := houseMessages.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[2])
		must(c.house.t, err)
		c.boxes[m[1]] = n
		c.fresh[m[1]] = true
	}
}

// agreeNames compares what NOTIFY told with the store.
func (c *houseClient) agreeNames() {
	if c.boxes == nil {
		return
	}
	var names []string
	for name := range c.boxes {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := c.house.visible(c.login); !slices.Equal(names, want) {
		c.fail("told of %q, want %q", names, want)
	}
	for _, name := range names {
		b := c.house.find(c.login, name)
		if b.ID == c.id || c.house.rights(c.login, b)&storage.RightRead == 0 {
			continue
		}
		switch n := c.boxes[name]; {
		case n < 0:
			if _, alive := c.run("STATUS " + name + " (MESSAGES)"); !alive {
				return
			}
		case n != int(b.Messages):
			c.fail("%s has %d messages, the client was told of %d", name, b.Messages, n)
		}
	}
}
