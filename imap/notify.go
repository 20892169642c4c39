package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extNotify: a client says what it wants to be told of, at any time and of
// mailboxes that it has not selected (RFC 5465). What is told is the difference
// between the mailbox rows that it was told of and those that there are
// (notify_tell.go).
var extNotify = extension{
	name: "NOTIFY", rfc: "RFC 5465", caps: []capability{{name: "NOTIFY"}},
	commands: []*command{{name: "NOTIFY", state: loggedIn, parse: parseNotify}},
	onTell:   tellNotify,
}

// notifyEvents is a set of events.
type notifyEvents uint8

const (
	eventNew notifyEvents = 1 << iota
	eventExpunge
	eventFlags
	eventName
	eventSubscription
	eventMetadata
	eventServerMetadata
	eventUnsupported

	messageEvents = eventNew | eventExpunge | eventFlags
)

var notifyEventNames = map[string]notifyEvents{
	"MESSAGENEW": eventNew, "MESSAGEEXPUNGE": eventExpunge, "FLAGCHANGE": eventFlags,
	"MAILBOXNAME": eventName, "SUBSCRIPTIONCHANGE": eventSubscription,
	"MAILBOXMETADATACHANGE": eventMetadata, "SERVERMETADATACHANGE": eventServerMetadata,
}

// Limits of one NOTIFY: each mailbox that changes is compared with all names.
const (
	maxNotifyGroups = 50
	maxNotifyNames  = 500
)

// notifyNote is under which the session keeps what belongs to it.
const notifyNote = "NOTIFY"

const codeNotifyOverflow = "NOTIFICATIONOVERFLOW" // RFC 5465 §5.8

// A notifyGroup is some mailboxes, and what is told of them.
type notifyGroup struct {
	kind   string   // INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES
	names  []string // of the last two
	events notifyEvents
}

type notifyCmd struct {
	none, status bool
	// selected is SELECTED or SELECTED-DELAYED, if either is given, and chosen
	// its events.
	selected string
	chosen   notifyEvents
	fetch    *fetchCmd // of MessageNew
	groups   []notifyGroup
	names    int
	unknown  bool // an event that is none here
}

func parseNotify(d *wire.Decoder, r *request) runner {
	c := new(notifyCmd)
	d.SP()
	switch {
	case d.TryWord("NONE"):
		c.none = true
	case d.TryWord("SET"):
		d.SP()
		if d.TryWord("STATUS") {
			c.status = true
			d.SP()
		}
		for c.group(d, r); d.TrySP(); {
			c.group(d, r)
		}
	default:
		d.Fail("SET or NONE")
	}
	d.End()
	return c
}

// group reads an event-group.
func (c *notifyCmd) group(d *wire.Decoder, r *request) {
	d.Byte('(')
	g := notifyGroup{kind: d.Word()}
	selected := false
	switch g.kind {
	case "SELECTED", "SELECTED-DELAYED":
		if c.selected != "" {
			d.FailErr(bad("only one of SELECTED and SELECTED-DELAYED, and once")) // RFC 5465 §6.1
		}
		c.selected, selected = g.kind, true
	case "INBOXES", "PERSONAL", "SUBSCRIBED":
	case "SUBTREE", "MAILBOXES":
		d.SP()
		c.mailboxes(d, &g)
	default:
		d.Fail("SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES")
	}
	d.SP()
	if !d.TryWord("NONE") {
		n := 0
		d.List(func() {
			n++
			g.events |= c.event(d, r, selected)
		})
		if n == 0 {
			d.Fail("an event")
		}
	}
	d.Byte(')')
	if d.Err() == nil {
		d.FailErr(g.wrong(selected))
	}
	if selected {
		c.chosen = g.events
	} else {
		c.groups = append(c.groups, g)
	}
}

// wrong is why the events can't stand together (RFC 5465 §5, §6.1).
func (g *notifyGroup) wrong(selected bool) error {
	switch both := g.events & (eventNew | eventExpunge); {
	case both == eventNew || both == eventExpunge:
		return bad("MessageNew and MessageExpunge are given together")
	case g.events&eventFlags != 0 && both == 0:
		return bad("FlagChange needs MessageNew and MessageExpunge")
	case selected && g.events&^(messageEvents|eventUnsupported) != 0:
		return bad("%s takes events of messages only", g.kind)
	}
	return nil
}

// mailboxes reads one-or-more-mailbox.
func (c *notifyCmd) mailboxes(d *wire.Decoder, g *notifyGroup) {
	add := func() {
		name := strings.TrimSuffix(d.Mailbox(), separator)
		if canonical, err := storage.MailboxName(name); err == nil {
			name = canonical // else there is no such mailbox
		}
		if c.names++; c.names <= maxNotifyNames {
			g.names = append(g.names, name)
		}
	}
	if d.Peek() != '(' {
		add()
		return
	}
	d.List(add)
	if len(g.names) == 0 && c.names <= maxNotifyNames {
		d.Fail("a mailbox")
	}
}

// event reads an event; MessageNew of the selected mailbox with what is fetched.
func (c *notifyCmd) event(d *wire.Decoder, r *request, selected bool) notifyEvents {
	e, ok := notifyEventNames[d.Word()]
	if ok && e&(eventMetadata|eventServerMetadata) != 0 && !r.s.has(&extMetadata) {
		ok = false
	}
	if !ok {
		c.unknown = true
		return eventUnsupported
	}
	if e != eventNew || !d.TryText(" (") {
		return e
	}
	if !selected {
		d.FailErr(bad("what to fetch is for SELECTED and SELECTED-DELAYED only")) // RFC 5465 §8
	}
	c.fetch = new(fetchCmd)
	c.fetch.item(d, r, d.Word())
	for n := 1; d.TrySP(); n++ {
		if n == maxFetchItems {
			d.FailErr(bad("more than %d items", maxFetchItems))
		}
		c.fetch.item(d, r, d.Word())
	}
	d.Byte(')')
	return e
}

func (c *notifyCmd) run(s *session, _ *request) (reply, error) {
	switch {
	case c.none:
		if n := s.notifying(); n != nil {
			n.end(s)
		}
		s.wishes = wishes{quiet: quietAll}
		return reply{}, nil
	case c.unknown:
		return reply{}, no(imap.ResponseCode(badEvent(s)), "an event is not supported")
	case len(c.groups) > maxNotifyGroups || c.names > maxNotifyNames:
		return reply{}, no(codeNotifyOverflow, "at most %d groups with %d names", maxNotifyGroups, maxNotifyNames)
	}
	n := s.notifying()
	if n == nil {
		n = &notifying{}
		s.keep(notifyNote, n, func() { n.stop() })
	}
	if err := n.begin(s, c.groups, c.status); err != nil {
		return reply{}, err
	}
	s.wishes = c.wishes()
	c.metadata(s, n)
	return reply{}, nil
}

// metadata begins to tell of entries, if some group wants it.
func (c *notifyCmd) metadata(s *session, n *notifying) {
	var events notifyEvents
	for i := range c.groups {
		events |= c.groups[i].events
	}
	m := s.metadataNews()
	if events&(eventMetadata|eventServerMetadata) != 0 {
		m = watchMetadata(s)
	}
	if m == nil {
		return
	}
	m.notified, m.notifiedServer = nil, events&eventServerMetadata != 0
	if events&eventMetadata != 0 {
		m.notified = func(box *place) bool {
			return n.events(box, s.own(), n.subscriptions())&eventMetadata != 0
		}
	}
}

// wishes are those for the selected mailbox: nothing, if it isn't mentioned.
func (c *notifyCmd) wishes() wishes {
	w := wishes{listens: true, delays: c.selected == "SELECTED-DELAYED", quiet: quietAll}
	switch {
	case c.chosen&eventFlags != 0:
		w.quiet, w.uids = quietNone, true // RFC 5465 §5.1
	case c.chosen != 0:
		w.quiet = quietFlags
	}
	if fetch := c.fetch; fetch != nil {
		w.arrived = func(s *session, fresh view.Ranges) error {
			return fetchUnasked(s, fetch, fresh)
		}
	}
	return w
}

// badEvent is the response code that lists what is supported.
func badEvent(s *session) string {
	names := "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
	if s.has(&extMetadata) {
		names += " MailboxMetadataChange ServerMetadataChange"
	}
	return names + ")"
}

func (s *session) notifying() *notifying {
	n, _ := s.notes[notifyNote].(*notifying)
	return n
}

// has reports whether the group is of the mailbox with that name.
func (g *notifyGroup) has(name string, own, subscribed bool) bool {
	switch g.kind {
	case "INBOXES", "PERSONAL": // RFC 5465 §6.3: the former is as the latter
		return own
	case "SUBSCRIBED":
		return subscribed
	}
	for _, n := range g.names {
		if name == n || g.kind == "SUBTREE" && strings.HasPrefix(name, n+separator) {
			return true
		}
	}
	return false
}
