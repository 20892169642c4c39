package imap

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// An extension is a part of the protocol that is announced by a name and can
// be switched off, for the server or for an account. What it adds is in the
// tables that it lists; nothing registers itself.
type extension struct {
	name string // by which it is switched off, and its title in docs/extensions.md
	rfc  string
	caps []capability
	// enable is its name in ENABLE (RFC 5161), or "". onEnable is run when it
	// is enabled for the first time.
	enable   string
	onEnable func(s *session)
	fixed    bool // can't be switched off
	// needs are the extensions without which it is switched off too.
	needs []*extension
	// appendsMany: APPEND takes more than one message.
	appendsMany bool
	// onUpload may refuse a message that came, before it is in any mailbox.
	onUpload func(s *session, u *storage.Upload) error
	// onSelect writes untagged data of every SELECT and EXAMINE.
	onSelect func(s *session)
	// onSync tells of what else may have changed in the selected mailbox, once
	// its changes and new messages are told.
	onSync func(s *session) error
	// onExpunge is told of messages, ascending, that the client is about to be
	// told are expunged; their sequence numbers still hold.
	onExpunge func(s *session, gone []imap.UID)
	// onTell tells what changed besides the selected mailbox, before a tagged
	// reply and to clients in IDLE.
	onTell func(s *session) error
	// onSetEntry may refuse the value of an entry of a mailbox, or of the server
	// ("").
	onSetEntry func(s *session, mailbox string, an *storage.Annotation) error
	// most is how many messages a command may deal with; 0: any number.
	most func(s *session) int
	// progress gives the response code that tells how far the command is.
	progress func(s *session, done, goal int) string
	// home finds the home of names that are not the login's own; its account is
	// nil when it has none for the name.
	home func(s *session, name string) (h home, local string, err error)
	// homes are those in which names that match a pattern may be.
	homes func(s *session, patterns []pattern) ([]home, error)
	// namespaces are what NAMESPACE tells of other users' and of shared mailboxes.
	namespaces func(s *session) (others, shared string)
	// onCreate gives the response code of a successful CREATE.
	onCreate func(box *storage.Mailbox) string

	commands       []*command
	fetchItems     []fetchItem
	fetchModifiers []fetchModifier
	storeModifiers []storeModifier
	searchKeys     []searchKey
	searchReturns  []searchReturn
	sortKeys       []sortKey
	sortOptions    []sortOption
	threadings     []threading
	statusItems    []statusItem
	selectParams   []selectParam
	listOptions    []listOption
	appendData     []appendDatum

	bit extSet // its place in the list
}

// A capability is announced when its condition holds, or always.
type capability struct {
	name string
	// text, if any, is what is announced instead: a name with a value.
	text func(s *session) string
	when func(s *session) bool
}

// has is the condition of a capability that makes no sense without x.
func has(x *extension) func(s *session) bool {
	return func(s *session) bool { return s.off&x.bit == 0 }
}

// extSet is a set of extensions.
type extSet uint64

// A statusItem is one line of the table of STATUS items.
type statusItem struct {
	name string
	// parse, if any, is called when a command asks for the item.
	parse func(r *request)
	// write writes the value; the name and the SP are written already.
	write func(s *session, box *place, w *wire.Encoder) error
}

// A selectParam is a parameter of SELECT and EXAMINE, "(CONDSTORE)".
type selectParam struct {
	name  string
	parse func(d *wire.Decoder, r *request, c *selectCmd)
}

// A listOption is a selection or return option of LIST (RFC 5258 §3).
type listOption struct {
	name   string
	where  listWhere
	parse  func(d *wire.Decoder, r *request, c *listCmd)
	follow func(s *session, c *listCmd, box *place) error // data after the LIST line of box
}

// listWhere says in which of the two lists of LIST an option may stand.
type listWhere uint8

const (
	listSelection listWhere = 1 << iota
	listReturn
)

// protocol lists the extensions in the order of announcement. It is a function
// because commands refer to some of them.
func protocol() []*extension {
	return []*extension{
		&extBase, &extStartTLS, &extLiteral, &extSASLIR, &extID, &extEnable, &extIdle, &extNamespace, &extUnselect,
		&extUIDPlus, &extMove, &extESearch, &extSearchRes,
		&extListExtended, &extListStatus, &extChildren, &extSpecialUse, &extCreateSpecialUse,
		&extBinary, &extStatusSize,
		&extCondStore, &extQResync, &extUIDOnly, &extCompress, &extPartial, &extInProgress,
		&extAppendLimit, &extUnauthenticate, &extPreview,
		&extMultiAppend, &extCatenate, &extURLPartial, &extURLAuth, &extUTF8Accept, &extReplace,
		&extMultiSearch, &extI18NLevel, &extObjectID, &extSaveDate, &extWithin, &extMessageLimit, &extFuzzy,
		&extSort, &extSortDisplay, &extESort, &extContext, &extThread,
		&extQuota, &extShared, &extACL, &extListMyRights, &extQuotaSet,
		&extThreadRefs, &extUIDBatches,
		&extMetadata, &extMetadataServer, &extListMetadata,
		&extFilters, &extLanguage, &extNotify,
	}
}

// tables are the extensions by name: what dispatch and the parsers look up.
type tables struct {
	extensions     []*extension
	off            atomic.Uint64 // an extSet: those switched off for the server
	commands       map[string]entry[*command]
	fetchItems     map[string]entry[fetchItem]
	fetchModifiers map[string]entry[fetchModifier]
	storeModifiers map[string]entry[storeModifier]
	searchKeys     map[string]entry[searchKey]
	searchReturns  map[string]entry[searchReturn]
	sortKeys       map[string]entry[sortKey]
	sortOptions    map[string]entry[sortOption]
	threadings     map[string]entry[threading]
	statusItems    map[string]entry[statusItem]
	selectParams   map[string]entry[selectParam]
	listSelections map[string]entry[listOption]
	listReturns    map[string]entry[listOption]
	appendData     map[string]entry[appendDatum]
	enable         map[string]*extension
}

// An entry is a value of a table and the extension that it belongs to.
type entry[T any] struct {
	value T
	bit   extSet
}

// numbered gives each extension its bit, once for all servers.
var numbered sync.Once

// newTables indexes the extensions. off names those that are switched off;
// names that are none are returned.
func newTables(off []string) (t *tables, unknown []string) {
	t = &tables{extensions: protocol(), enable: make(map[string]*extension)}
	numbered.Do(func() {
		for i, x := range t.extensions {
			x.bit = 1 << i
		}
	})
	for _, x := range t.extensions {
		fill(&t.commands, x, x.commands, func(c *command) string { return c.name })
		fill(&t.fetchItems, x, x.fetchItems, func(v fetchItem) string { return v.name })
		fill(&t.fetchModifiers, x, x.fetchModifiers, func(v fetchModifier) string { return v.name })
		fill(&t.storeModifiers, x, x.storeModifiers, func(v storeModifier) string { return v.name })
		fill(&t.searchKeys, x, x.searchKeys, func(v searchKey) string { return v.name })
		fill(&t.searchReturns, x, x.searchReturns, func(v searchReturn) string { return v.name })
		fill(&t.sortKeys, x, x.sortKeys, func(v sortKey) string { return v.name })
		fill(&t.sortOptions, x, x.sortOptions, func(v sortOption) string { return v.name })
		fill(&t.threadings, x, x.threadings, func(v threading) string { return v.name })
		fill(&t.statusItems, x, x.statusItems, func(v statusItem) string { return v.name })
		fill(&t.selectParams, x, x.selectParams, func(v selectParam) string { return v.name })
		fill(&t.appendData, x, x.appendData, func(v appendDatum) string { return v.name })
		for _, v := range x.listOptions {
			if v.where&listSelection != 0 {
				fill(&t.listSelections, x, []listOption{v}, func(v listOption) string { return v.name })
			}
			if v.where&listReturn != 0 {
				fill(&t.listReturns, x, []listOption{v}, func(v listOption) string { return v.name })
			}
		}
		if x.enable != "" {
			t.enable[strings.ToUpper(x.enable)] = x
		}
	}
	set, unknown := t.switchedOff(off)
	t.off.Store(uint64(set))
	return t, unknown
}

func fill[T any](m *map[string]entry[T], x *extension, values []T, name func(T) string) {
	if *m == nil {
		*m = make(map[string]entry[T])
	}
	for _, v := range values {
		(*m)[name(v)] = entry[T]{v, x.bit}
	}
}

// switchedOff is the set of the extensions named; unknown are the other names.
func (t *tables) switchedOff(names []string) (off extSet, unknown []string) {
names:
	for _, name := range names {
		for _, x := range t.extensions {
			if x.name == name && !x.fixed {
				off |= x.bit
				continue names
			}
		}
		unknown = append(unknown, name)
	}
	for again := off != 0; again; {
		again = false
		for _, x := range t.extensions {
			for _, needed := range x.needs {
				if off&needed.bit != 0 && off&x.bit == 0 {
					off |= x.bit
					again = true
				}
			}
		}
	}
	return off, unknown
}

// look finds a name in a table, unless its extension is switched off for s.
func look[T any](s *session, m map[string]entry[T], name string) (v T, ok bool) {
	e, ok := m[name]
	if !ok || e.bit&s.off != 0 {
		return v, false
	}
	return e.value, true
}
