package imap

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// A houseContext is a result of SEARCH that the server keeps up to date (RFC
// 5267 §4), as the client has it.
type houseContext struct {
	key  string
	uids map[imap.UID]bool
}

// contextKeys are the searches, and what is in their results.
var contextKeys = map[string]func(flags []string) bool{
	"ALL":         func([]string) bool { return true },
	"FLAGGED":     func(flags []string) bool { return slices.Contains(flags, `\Flagged`) },
	"UNSEEN":      func(flags []string) bool { return !slices.Contains(flags, `\Seen`) },
	"KEYWORD tea": func(flags []string) bool { return slices.Contains(flags, "tea") },
	"OR DELETED NOT UNKEYWORD rum": func(flags []string) bool {
		return slices.Contains(flags, `\Deleted`) || slices.Contains(flags, "rum")
	},
}

// context begins one.
func (c *houseClient) context() {
	if len(c.contexts) > 3 {
		return
	}
	keys := slices.Sorted(maps.Keys(contextKeys))
	key := keys[c.r.IntN(len(keys))]
	if c.contexts == nil {
		c.contexts = map[string]*houseContext{}
	}
	c.contexts[fmt.Sprintf("a%d", c.tags+1)] = &houseContext{key: key, uids: map[imap.UID]bool{}}
	c.run("UID SEARCH RETURN (UPDATE ALL) " + key)
}

var houseESearch = regexp.MustCompile(`^ESEARCH \(TAG "(\w+)"\)(.*)$`)

// takeESearch digests a result, or what changed of one.
func (c *houseClient) takeESearch(text string) {
	c.house.t.Helper()
	m := houseESearch.FindStringSubmatch(text)
	if m == nil || c.contexts[m[1]] == nil {
		c.fail("nobody asked for %s", text)
	}
	x := c.contexts[m[1]]
	rest := strings.TrimPrefix(m[2], " UID")
	for rest != "" {
		what, set, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
		if what != "ALL" {
			set, _ = strings.CutPrefix(set, "(0 ")
		}
		set, rest, _ = strings.Cut(set, " ")
		if rest != "" {
			rest = " " + rest
		}
		for _, uid := range expand(c.house.t, strings.TrimSuffix(set, ")")) {
			if had := x.uids[uid]; had != (what == "REMOVEFROM") {
				c.fail("%s: %s had it: %v", text, x.key, had)
			}
			x.uids[uid] = what != "REMOVEFROM"
		}
	}
}

// agreeContexts compares the results with the flags that there are.
func (c *houseClient) agreeContexts(flags map[imap.UID][]string) {
	c.house.t.Helper()
	for tag, x := range c.contexts {
		for uid, f := range flags {
			if want := contextKeys[x.key](f); x.uids[uid] != want {
				c.fail("result %s of %s: UID %d with %q is there: %v", tag, x.key, uid, f, x.uids[uid])
			}
		}
		for uid, is := range x.uids {
			if _, there := flags[uid]; is && !there {
				c.fail("result %s of %s has UID %d, which is gone", tag, x.key, uid)
			}
		}
	}
}
