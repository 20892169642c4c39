package imap

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// The model test of a household: two logins and a shared account, mailboxes
// that are made, renamed and deleted, rights that are given and taken, and
// sessions of every kind in the same mailboxes. Besides what each client
// believes (model_house_client_test.go), each step is held against what the
// rights allow, and against what may never happen to a mailbox.
//
//	go test ./imap -run TestModelHouse -model-steps 10000 -model-seed 17

var (
	modelSteps = flag.Int("model-steps", 300, "steps of a run of TestModelHouse")
	modelTrace = flag.String("model-trace", "", "a file for the story of a failure of TestModelHouse")
	modelSeed  = flag.Uint64("model-seed", 0, "the one seed of TestModelHouse, if it isn't 0")
)

// A house is what the model knows of the store: it looks at it after each step.
type house struct {
	t        testing.TB
	box      *testBox
	logins   []string // ann, bob
	ids      map[string]storage.AccountID
	accounts map[string]*storage.Account // team too
	step     int
	done     map[string]int // commands, by how they ended
	story    []string       // commands, with -model-trace
	boxes    map[storage.MailboxID]*houseBox
	// names are the mailboxes that ever had a name and a UIDVALIDITY.
	names map[string]storage.MailboxID

	// In a parallel run nobody knows what is where until it ends: blind is set
	// up to then.
	parallel, blind bool
	mu              sync.Mutex // of done
}

// A houseBox is a mailbox as it was after the last step.
type houseBox struct {
	storage.Mailbox
	owner string
	rows  map[imap.UID]houseRow
	// lost is the last step after which a login could not read it.
	lost map[string]int
	gone bool
}

type houseRow struct {
	flags  []string
	modSeq storage.ModSeq
}

var houseNames = []string{"INBOX", "one", "two", "two/sub", "three"}

func newHouse(t testing.TB) *house {
	h := &house{t: t, box: newTestBox(t, nil), logins: []string{"ann", "bob"},
		ids: map[string]storage.AccountID{}, accounts: map[string]*storage.Account{},
		boxes: map[storage.MailboxID]*houseBox{}, names: map[string]storage.MailboxID{}, done: map[string]int{}}
	st := h.box.st
	credential, err := testCredential()
	must(t, err)
	_, err = st.CreateAccount("bob", credential)
	must(t, err)
	_, err = st.CreateSharedAccount("team")
	must(t, err)
	for _, name := range []string{"ann", "bob", "team"} {
		info, err := st.FindAccount(name)
		must(t, err)
		h.ids[name] = info.ID
		h.accounts[name], err = st.Account(info.ID)
		must(t, err)
		for _, use := range []string{"Archive", "Drafts", "Junk", "Sent", "Trash"} {
			_ = h.accounts[name].DeleteMailbox(use) // few mailboxes, much in each
		}
	}
	for _, name := range []string{"one", "two", "two/sub"} {
		_, err := h.accounts["ann"].CreateMailbox(name)
		must(t, err)
	}
	h.grant("ann", "one", "bob", storage.AllRights)
	h.grant("ann", "two", "bob", storage.RightLookup|storage.RightRead|storage.RightSeen)
	h.grant("team", "INBOX", "ann", storage.AllRights)
	h.grant("team", "INBOX", "bob", storage.AllRights&^storage.RightAdmin)
	_, err = h.accounts["team"].CreateMailbox("one")
	must(t, err)
	must(t, h.accounts["team"].SetPrivateSeen("one", true))
	h.look("", nil)
	return h
}

func (h *house) grant(owner, name, who string, rights storage.Rights) {
	h.t.Helper()
	box, err := h.accounts[owner].MailboxByName(name)
	must(h.t, err)
	must(h.t, h.accounts[owner].ChangeACL(box.ID, storage.ACLChange{Who: storage.AccountIdentifier(h.ids[who]), Rights: rights}))
}

// rights are those that a login has in a mailbox.
func (h *house) rights(login string, b *houseBox) storage.Rights {
	if b.owner == login {
		return storage.AllRights
	}
	who, err := h.box.st.Principal(h.ids[login])
	must(h.t, err)
	return b.ACL.Rights(who)
}

// nameFor is a mailbox's name for a login.
func (h *house) nameFor(login string, b *houseBox) string {
	return housePrefix(login, b.owner) + b.Name
}

func housePrefix(login, owner string) string {
	switch owner {
	case login:
		return ""
	case "team":
		return "Shared/team/"
	}
	return "Users/" + owner + "/"
}

// find is the mailbox that a login knows under a name, if it exists.
func (h *house) find(login, name string) *houseBox {
	for _, b := range h.boxes {
		if !b.gone && h.nameFor(login, b) == name {
			return b
		}
	}
	return nil
}

// byID is a mailbox by what clients call its id.
func (h *house) byID(id string) *houseBox {
	for _, b := range h.boxes {
		if b.ID.String() == id {
			return b
		}
	}
	return nil
}

// anyName is a name that there may be or not.
func (h *house) anyName(r *rand.Rand, login string) string {
	owners := []string{"ann", "ann", "bob", "team"}
	return housePrefix(login, owners[r.IntN(len(owners))]) + houseNames[r.IntN(len(houseNames))]
}

// look reads the store after a step of a login, and holds what changed against
// what may be.
func (h *house) look(login string, c *houseClient) {
	h.t.Helper()
	h.step++
	before := h.boxes
	h.boxes = map[storage.MailboxID]*houseBox{}
	for _, owner := range []string{"ann", "bob", "team"} {
		all, err := h.accounts[owner].ByLogin("").Mailboxes()
		must(h.t, err)
		for _, m := range all {
			b := &houseBox{Mailbox: m, owner: owner, lost: map[string]int{}}
			was := before[m.ID]
			if was != nil {
				b.lost = was.lost
			}
			if was != nil && was.HighestModSeq == b.HighestModSeq && was.UIDNext == b.UIDNext {
				b.rows = was.rows
			} else {
				b.rows = h.read(b)
			}
			h.boxes[m.ID] = b
			h.neverBack(was, b)
			if login != "" {
				h.allowed(login, was, b, c)
			}
		}
	}
	for id, was := range before {
		if h.boxes[id] == nil {
			if !was.gone && login != "" && h.rights(login, was)&storage.RightDelete == 0 {
				h.t.Fatalf("%s deleted %s/%s with %q: %s", login, was.owner, was.Name, h.rights(login, was), c.last)
			}
			was.gone = true
			h.boxes[id] = was
		}
		for _, login := range h.logins {
			if b := h.boxes[id]; b.gone || h.rights(login, b)&storage.RightRead == 0 {
				b.lost[login] = h.step
			}
		}
	}
}

func (h *house) read(b *houseBox) map[imap.UID]houseRow {
	account := h.accounts[b.owner]
	uids, err := account.UIDs(b.Space, 1, b.UIDNext, make([]imap.UID, 0, 10000))
	must(h.t, err)
	all := map[imap.UID]houseRow{}
	for part := range slices.Chunk(uids, 500) {
		rows, err := account.Rows(b.Space, part, nil)
		must(h.t, err)
		for _, row := range rows {
			all[row.UID] = houseRow{h.flagsOf(b, row.Flags), row.ModSeq}
		}
	}
	return all
}

func (h *house) flagsOf(b *houseBox, f storage.Flags) []string {
	var flags []string
	for _, name := range b.FlagNames(f) {
		flags = append(flags, string(name))
	}
	return sortedFlags(flags)
}

// neverBack: counters only grow, and a name with a UIDVALIDITY means the same
// mailbox for ever.
func (h *house) neverBack(was, is *houseBox) {
	h.t.Helper()
	key := fmt.Sprint(is.owner, "/", is.Name, " ", is.UIDValidity)
	if id, ok := h.names[key]; ok && id != is.ID {
		h.t.Fatalf("%s is another mailbox than it was", key)
	}
	h.names[key] = is.ID
	if was == nil {
		return
	}
	if is.HighestModSeq < was.HighestModSeq || is.UIDNext < was.UIDNext {
		h.t.Fatalf("%s: MODSEQ %d after %d, UIDNEXT %d after %d", key, is.HighestModSeq, was.HighestModSeq, is.UIDNext, was.UIDNext)
	}
	for uid, row := range is.rows {
		old, there := was.rows[uid]
		switch {
		case !there && uid < was.UIDNext:
			h.t.Fatalf("%s: UID %d is there again", key, uid)
		case row.modSeq < old.modSeq, row.modSeq > is.HighestModSeq:
			h.t.Fatalf("%s: UID %d has MODSEQ %d after %d, of %d", key, uid, row.modSeq, old.modSeq, is.HighestModSeq)
		case there && row.modSeq == old.modSeq && !slices.Equal(row.flags, old.flags):
			h.t.Fatalf("%s: UID %d has other flags and the same MODSEQ", key, uid)
		}
	}
}

// allowed holds what a login did in a mailbox against its rights.
func (h *house) allowed(login string, was, is *houseBox, c *houseClient) {
	h.t.Helper()
	if was == nil || is.owner == login {
		return
	}
	rights := h.rights(login, was)
	need := func(r storage.Rights, what string) {
		if rights&r == 0 {
			h.t.Fatalf("%s in %s/%s: %s with the rights %q: %s", login, is.owner, is.Name, what, rights, c.last)
		}
	}
	for uid := range was.rows {
		if _, there := is.rows[uid]; !there && !strings.HasPrefix(c.last, "RENAME") {
			need(storage.RightExpunge, "removed a message")
		}
	}
	for uid, row := range is.rows {
		old, there := was.rows[uid]
		if !there {
			need(storage.RightInsert, "added a message")
		}
		for _, f := range changedFlags(old.flags, row.flags) {
			switch f {
			case `\Seen`:
				need(storage.RightSeen, `changed \Seen`)
			case `\Deleted`:
				need(storage.RightDeleteMail, `changed \Deleted`)
			default:
				need(storage.RightWrite, "changed "+f)
			}
		}
	}
	// What is below a mailbox goes with it (RFC 4314 §4 asks for "x" to that one).
	if source, _, _ := strings.Cut(strings.TrimPrefix(c.last, "RENAME "), " "); was.Name != is.Name && source == h.nameFor(login, was) {
		need(storage.RightDelete, "renamed it")
	}
	if !slices.Equal(was.ACL, is.ACL) {
		need(storage.RightAdmin, "changed the ACL")
	}
}

func changedFlags(old, now []string) (changed []string) {
	for _, f := range old {
		if !slices.Contains(now, f) {
			changed = append(changed, f)
		}
	}
	for _, f := range now {
		if !slices.Contains(old, f) {
			changed = append(changed, f)
		}
	}
	return changed
}

// visible are the names that LIST shows a login.
func (h *house) visible(login string) (names []string) {
	for _, b := range h.boxes {
		if !b.gone && h.rights(login, b)&storage.RightLookup != 0 {
			names = append(names, h.nameFor(login, b))
		}
	}
	slices.Sort(names)
	return names
}

// houseModes are the kinds of sessions.
var houseModes = []houseMode{
	{},
	{condstore: true},
	{resync: true},
	{resync: true, uidOnly: true},
	{uidOnly: true},
	{notify: "SELECTED-DELAYED"},
	{resync: true, notify: "SELECTED"},
	{resync: true, uidOnly: true, notify: "SELECTED"},
}

func TestModelHouse(t *testing.T) {
	t.Parallel()
	seeds := []uint64{1, 2, 3, 4}
	if *modelSeed != 0 {
		seeds = []uint64{*modelSeed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d, %d steps", seed, *modelSteps)
			h := newHouse(t)
			r := rand.New(rand.NewPCG(seed, 4314))
			clients := h.clients(seed)
			for i := range *modelSteps {
				c := clients[r.IntN(len(clients))]
				c.step()
				h.look(c.login, c)
				if i%10 == 9 {
					c := clients[r.IntN(len(clients))]
					c.agree()
				}
			}
			for _, c := range clients {
				c.agree()
			}
			byes := 0
			for _, c := range clients {
				byes += c.byes
			}
			t.Logf("%v, BYE:%d", h.done, byes)
		})
	}
}

// clients are one of each kind for each login.
func (h *house) clients(seed uint64) (all []*houseClient) {
	for i, mode := range houseModes {
		for _, login := range h.logins {
			all = append(all, newHouseClient(h, login, mode, rand.New(rand.NewPCG(seed, uint64(10*i+len(login))+uint64(login[0])))))
		}
	}
	return all
}
