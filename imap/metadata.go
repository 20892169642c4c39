package imap

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extMetadata: entries of mailboxes, of the login and of the server (RFC 5464).
// What is the server's stands in the household's settings: a login can read it,
// and one that runs the box can write it.
var extMetadata = extension{
	name: "METADATA", rfc: "RFC 5464",
	caps:     []capability{{name: "METADATA"}},
	enable:   "METADATA",
	onEnable: func(s *session) { m := watchMetadata(s); m.all, m.enabledServer = true, true }, onTell: tellMetadata,
	commands: []*command{
		{name: "GETMETADATA", state: loggedIn, parse: parseGetMetadata},
		{name: "SETMETADATA", state: loggedIn, parse: parseSetMetadata},
	},
}

// extMetadataServer is for clients that look for the server's entries alone.
var extMetadataServer = extension{
	name: "METADATA-SERVER", rfc: "RFC 5464", needs: []*extension{&extMetadata},
	caps:   []capability{{name: "METADATA-SERVER"}},
	enable: "METADATA-SERVER", onEnable: func(s *session) { watchMetadata(s).enabledServer = true },
}

// The entries of the server that there are (RFC 5464 §3.2.1.1).
const (
	entryComment = "/shared/comment"
	entryAdmin   = "/shared/admin"
)

// parseEntry reads the name of an entry (RFC 5464 §3.2). whole names have the
// components that one with a value must have.
func parseEntry(d *wire.Decoder, whole bool) string {
	name := d.Astring()
	if d.Err() != nil {
		return ""
	}
	if why := badEntry(name, whole); why != "" {
		d.FailErr(bad("the name of an entry %s", why))
	}
	return name
}

func badEntry(name string, whole bool) string {
	parts := strings.Split(strings.ToLower(name), "/")
	switch {
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '*' || r == '%' }):
		return "has printable ASCII without * and % only"
	case len(parts) < 2 || parts[0] != "" || parts[1] != "private" && parts[1] != "shared":
		return "begins with /private or /shared"
	case slices.Contains(parts[1:], ""):
		return "has no empty component"
	case len(name) > storage.MaxAnnotationEntry:
		return "has at most " + strconv.Itoa(storage.MaxAnnotationEntry) + " octets"
	case whole && len(parts) < 3, whole && parts[2] == "vendor" && len(parts) < 5:
		return "has too few components"
	}
	return ""
}

type getMetadataCmd struct {
	mailbox string
	metadataQuery
	maxSize    int64
	hasMaxSize bool
}

// A metadataQuery names entries, and how far below them.
type metadataQuery struct {
	entries []string
	depth   int // of entries below them: 0, 1, or -1 for all
}

// parseGetMetadata takes the options before the mailbox, as the formal syntax
// has them, and behind it, as the RFC's examples do.
func parseGetMetadata(d *wire.Decoder, _ *request) runner {
	c := new(getMetadataCmd)
	d.SP()
	options := d.Peek() == '('
	if options {
		c.list(d, true)
		d.SP()
	}
	c.mailbox = d.Mailbox()
	d.SP()
	if d.Peek() == '(' && c.list(d, !options) == nil && !options {
		d.SP()
		if d.Peek() == '(' {
			c.list(d, false)
		}
	}
	if len(c.entries) == 0 && d.Err() == nil {
		c.entries = []string{parseEntry(d, false)}
	}
	d.End()
	return c
}

// list reads a list of entries, or where they may be, of options.
func (c *getMetadataCmd) list(d *wire.Decoder, options bool) []string {
	seen := map[string]bool{}
	d.List(func() {
		entry := strings.IndexByte(`/"{`, d.Peek()) >= 0
		if len(c.entries) > 0 || entry || !options {
			if len(seen) > 0 {
				d.Fail("an option of GETMETADATA")
			}
			c.entries = append(c.entries, parseEntry(d, false))
			return
		}
		name := d.Word()
		if seen[name] {
			d.FailErr(bad("%s is given twice", name))
		}
		seen[name] = true
		c.option(d, name)
	})
	if len(c.entries) == 0 && len(seen) == 0 {
		d.Fail("an entry")
	}
	return c.entries
}

func (c *getMetadataCmd) option(d *wire.Decoder, name string) {
	d.SP()
	switch {
	case name == "MAXSIZE":
		c.maxSize, c.hasMaxSize = int64(d.Number()), true
	case name == "DEPTH" && d.TryWord("0"):
		c.depth = 0
	case name == "DEPTH" && d.TryWord("1"):
		c.depth = 1
	case name == "DEPTH" && d.TryWord("infinity"):
		c.depth = -1
	default:
		d.Fail("MAXSIZE, or DEPTH 0, 1 or infinity")
	}
}

// has reports whether the query names an entry, given in lower case, or one
// that it is below.
func (q *metadataQuery) has(entry string) bool {
	return slices.ContainsFunc(q.entries, func(name string) bool { return q.under(strings.ToLower(name), entry) })
}

func (q *metadataQuery) under(name, entry string) bool {
	rest, ok := strings.CutPrefix(entry, name)
	switch {
	case !ok:
		return false
	case rest == "":
		return true
	}
	return rest[0] == '/' && (q.depth < 0 || q.depth == 1 && strings.LastIndexByte(rest, '/') == 0)
}

func (c *getMetadataCmd) run(s *session, _ *request) (reply, error) {
	box, err := s.annotated(c.mailbox)
	if err != nil {
		return reply{}, err
	}
	longest := int64(0)
	tooLong := map[string]bool{}
	found, err := s.annotations(box, func(entry string, size int) bool {
		if !c.has(entry) {
			return false
		}
		if c.hasMaxSize && int64(size) > c.maxSize {
			longest = max(longest, int64(size))
			tooLong[entry] = true
			return false
		}
		return true
	})
	if err != nil {
		return reply{}, err
	}
	s.writeMetadata(c.mailbox, c.answer(found, tooLong))
	if longest > 0 {
		return reply{code: "METADATA LONGENTRIES " + strconv.FormatInt(longest, 10)}, nil
	}
	return reply{}, nil
}

// annotated is the mailbox of a name whose entries the login may read and set,
// nil for the server.
func (s *session) annotated(name string) (*place, error) {
	if name == "" {
		return nil, nil
	}
	box, err := s.anyMailbox(name)
	if err != nil {
		return nil, err
	}
	return &box, box.needsAnnotation()
}

// needsAnnotation refuses who lacks the rights of RFC 5464 §3.3.
func (p *place) needsAnnotation() error {
	const one = storage.RightRead | storage.RightSeen | storage.RightWrite | storage.RightInsert | storage.RightPost
	if p.rights&one == 0 {
		return p.needs(storage.RightLookup | storage.RightRead)
	}
	return p.needs(storage.RightLookup)
}

// answer puts what was found in the order of the query. An entry without a
// value is answered with NIL, unless there are others below it.
func (q *metadataQuery) answer(found []storage.Annotation, tooLong map[string]bool) (all []storage.Annotation) {
	done := map[string]bool{}
	for _, name := range q.entries {
		lower, any := strings.ToLower(name), false
		for _, an := range found {
			entry := strings.ToLower(an.Entry)
			if !q.under(lower, entry) {
				continue
			}
			any = true
			if done[entry] {
				continue
			}
			done[entry] = true
			if entry == lower {
				an.Entry = name
			}
			all = append(all, an)
		}
		for entry := range tooLong {
			any = any || q.under(lower, entry)
		}
		if !any && !done[lower] {
			done[lower] = true
			all = append(all, storage.Annotation{Entry: name})
		}
	}
	return all
}

// writeMetadata writes entries with their values.
func (s *session) writeMetadata(mailbox string, all []storage.Annotation) {
	if len(all) == 0 {
		return
	}
	s.w.Raw("* METADATA ").Mailbox(mailbox).Raw(" (")
	for i, an := range all {
		if i > 0 {
			s.w.SP()
		}
		s.w.Astring(an.Entry).SP()
		if an.Value == nil {
			s.w.Raw("NIL")
		} else {
			s.w.String8(an.Value)
		}
	}
	s.w.Raw(")").CRLF()
}

// annotations reads those that want chooses of a mailbox, or of the server.
func (s *session) annotations(box *place, want func(entry string, size int) bool) (found []storage.Annotation, err error) {
	id, account := storage.MailboxID{}, s.account
	if box != nil {
		id, account = box.ID, box.account.Account
	}
	if found, err = account.Annotations(id, s.login.Account, want); err != nil {
		return nil, err
	}
	for _, an := range s.computed(box) {
		if an.Value != nil && want(an.Entry, len(an.Value)) {
			found = append(found, an)
		}
	}
	return found, nil
}

// computed are the entries whose values are kept elsewhere.
func (s *session) computed(box *place) []storage.Annotation {
	if box != nil {
		if !s.has(&extSpecialUse) {
			return nil
		}
		return []storage.Annotation{{Entry: storage.SpecialUseEntry, Value: specialUseValue(&box.Mailbox)}}
	}
	entries := s.serverEntries()
	all := make([]storage.Annotation, 0, len(entries))
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		all = append(all, storage.Annotation{Entry: name, Value: []byte(entries[name])})
	}
	return all
}

// serverEntries are the shared entries of the server, by their names in lower
// case: its comment, how to reach who runs it, and what these have set.
func (s *session) serverEntries() map[string]string {
	st := s.srv.o.Store
	entries, err := st.ServerEntries()
	for name, key := range map[string]string{entryComment: storage.SettingComment, entryAdmin: storage.SettingContact} {
		var value string
		if err == nil {
			value, err = st.HouseholdSetting(key)
		}
		if value != "" {
			entries[name] = value
		}
	}
	if err != nil {
		s.log.Warn("imap_setting_unreadable", "error", err)
	}
	return entries
}

// specialUseValue is the value of /private/specialuse (RFC 6154 §4).
func specialUseValue(box *storage.Mailbox) []byte {
	var b []byte
	for i, use := range box.SpecialUse {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, use...)
	}
	return b
}

// usesOf reads a value of /private/specialuse.
func usesOf(value []byte) (uses []imap.MailboxAttr, err error) {
	for _, name := range strings.Fields(string(value)) {
		use, ok := specialUses[strings.ToUpper(name)]
		if !ok {
			return nil, no(codeUseAttr, "no mailbox can have that use")
		}
		if !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	return uses, nil
}
