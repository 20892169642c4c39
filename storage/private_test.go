package storage

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// A seenClient keeps the flags of a mailbox by what Changes tells a login.
type seenClient struct {
	v     ByLogin
	since ModSeq
	next  imap.UID
	flags map[imap.UID]Flags
	want  map[imap.UID]bool // \Seen as the login set it
}

// pull brings the client up to date, a few changes at a time.
func (c *seenClient) pull(t *testing.T, id MailboxID) {
	t.Helper()
	upTo := ModSeq(0)
	for more := true; more; {
		m, log, again, err := c.v.Changes(id, c.since, upTo, make([]Change, 0, 3))
		if err != nil {
			t.Fatal(err)
		}
		if upTo == 0 {
			upTo = m.HighestModSeq
		}
		for i, ch := range log {
			if i > 0 && ch.ModSeq < log[i-1].ModSeq {
				t.Fatalf("%d comes after %d", ch.ModSeq, log[i-1].ModSeq)
			}
			for uid := ch.UID; uid <= ch.Last; uid++ {
				if _, had := c.flags[uid]; !had {
					continue // new, or never told
				}
				if c.flags[uid] = ch.Flags; ch.Expunged {
					delete(c.flags, uid)
				}
			}
			c.since = ch.ModSeq
		}
		more = again
		if !again {
			uids, err := c.v.UIDs(m.Space, c.next, m.UIDNext, make([]imap.UID, 0, m.Messages))
			if err != nil {
				t.Fatal(err)
			}
			rows, err := c.v.Rows(m.Space, uids, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				c.flags[rows[i].UID] = rows[i].Flags
			}
			c.next, c.since = m.UIDNext, upTo
		}
	}
}

// check compares the client with what the store says and with what was done.
func (c *seenClient) check(t *testing.T, id MailboxID) {
	t.Helper()
	c.pull(t, id)
	m, blocks, err := c.v.Snapshot(id)
	if err != nil {
		t.Fatal(err)
	}
	uids := make([]imap.UID, 0, m.Messages)
	for i := range blocks {
		uids = blocks[i].Append(uids, 1, m.UIDNext)
	}
	rows, err := c.v.Rows(m.Space, uids, nil)
	if err != nil || len(rows) != len(c.flags) {
		t.Fatalf("%d rows, %d known: %v", len(rows), len(c.flags), err)
	}
	unseen, first := uint32(0), imap.UID(0)
	for i := range rows {
		r := &rows[i]
		if r.Flags != c.flags[r.UID] {
			t.Fatalf("UID %d has %b, the client was told %b", r.UID, r.Flags, c.flags[r.UID])
		}
		if c.v.who != "" && (r.Flags&FlagSeen != 0) != c.want[r.UID] {
			t.Fatalf("UID %d: %b, want seen %v", r.UID, r.Flags, c.want[r.UID])
		}
		if r.ModSeq > m.HighestModSeq {
			t.Fatalf("UID %d: MODSEQ %d above %d", r.UID, r.ModSeq, m.HighestModSeq)
		}
		if r.Flags&FlagSeen == 0 {
			if unseen == 0 {
				first = r.UID
			}
			unseen++
		}
	}
	if m.Unseen != unseen || unseen > 0 && m.FirstUnseen > first {
		t.Fatalf("unseen %d from %d, counted %d from %d", m.Unseen, m.FirstUnseen, unseen, first)
	}
}

// TestPrivateSeen: what each of two logins has seen is its own, in rows, counts
// and changes, whatever happens in between.
func TestPrivateSeen(t *testing.T) {
	t.Parallel()
	st, a := openTest(t)
	id := inbox(t, a).ID
	appendTo(t, a, id, message(0), imap.FlagSeen)
	if err := a.SetPrivateSeen("inbox", true); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	var clients []*seenClient
	for _, who := range []AccountID{"bbbbbbbbbbbbbbbb", "cccccccccccccccc", a.ID()} {
		clients = append(clients, &seenClient{v: a.ByLogin(who), next: 1, flags: map[imap.UID]Flags{}, want: map[imap.UID]bool{}})
	}
	names := []imap.Flag{imap.FlagSeen, imap.FlagFlagged, "$x", imap.FlagDraft}
	for step := range 400 {
		c := clients[rng.IntN(len(clients))]
		m := inbox(t, a)
		switch rng.IntN(8) {
		case 0, 1:
			flags := names[:rng.IntN(2)]
			res, err := c.v.Append(id, []NewMessage{{Upload: upload(t, a, message(step)), Flags: flags}})
			if err != nil {
				t.Fatal(err)
			}
			c.want[res.UIDs[0]] = len(flags) > 0
		case 2:
			uid := imap.UID(1 + rng.IntN(int(m.UIDNext)))
			if err := a.Remove(id, []imap.UID{uid}); err != nil {
				t.Fatal(err)
			}
		default:
			r := StoreRequest{Mode: StoreMode(rng.IntN(3))}
			for uid := imap.UID(1); uid < m.UIDNext; uid++ {
				if rng.IntN(4) == 0 {
					r.UIDs = append(r.UIDs, uid)
				}
			}
			for _, name := range names {
				if rng.IntN(2) == 0 {
					r.Flags = append(r.Flags, name)
				}
			}
			if rng.IntN(3) == 0 {
				r.HasUnchangedSince, r.UnchangedSince = true, ModSeq(rng.IntN(int(m.HighestModSeq)+1))
			}
			res, err := c.v.StoreFlags(id, r)
			if err != nil {
				t.Fatal(err)
			}
			named := slices.Contains(r.Flags, imap.FlagSeen)
			for _, ch := range res.Changed {
				if named || r.Mode == StoreReplace {
					c.want[ch.UID] = named && r.Mode != StoreRemove
				}
				if c.v.who != "" && (ch.Flags&FlagSeen != 0) != c.want[ch.UID] {
					t.Fatalf("step %d: STORE answers %b", step, ch.Flags)
				}
			}
		}
		if rng.IntN(3) == 0 {
			c.check(t, id)
		}
	}
	for _, c := range clients {
		c.check(t, id)
	}
	sound(t, a)
	// As everybody's: each sees the owner's.
	if err := a.SetPrivateSeen("inbox", false); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.pull(t, id)
		for uid, flags := range c.flags {
			if flags != clients[2].flags[uid] && len(clients[2].flags) == len(c.flags) {
				clients[2].pull(t, id)
				if flags != clients[2].flags[uid] {
					t.Fatalf("UID %d: %b, the owner has %b", uid, flags, clients[2].flags[uid])
				}
			}
		}
	}
	_ = st
}

// TestPrivateSeenMany: more than one transaction takes; a new mailbox inherits;
// a deleted one leaves nothing.
func TestPrivateSeenMany(t *testing.T) {
	t.Parallel()
	_, a := openTest(t)
	box, err := a.CreateMailbox("Team")
	if err != nil {
		t.Fatal(err)
	}
	uids := []imap.UID{appendTo(t, a, box.ID, message(1))}
	for len(uids) < 5500 {
		res, err := a.Copy(box.ID, uids, box.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, res.To...)
	}
	if err := a.SetPrivateSeen("Team", true); err != nil {
		t.Fatal(err)
	}
	bob, carl := a.ByLogin("bbbbbbbbbbbbbbbb"), a.ByLogin("cccccccccccccccc")
	res, err := bob.StoreFlags(box.ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
	if err != nil || len(res.Changed) != len(uids) {
		t.Fatal(len(res.Changed), err)
	}
	if m, err := bob.Mailbox(box.ID); err != nil || m.Unseen != 0 || m.HighestModSeq != res.ModSeq {
		t.Errorf("bob: %d unseen, %d, %v", m.Unseen, m.HighestModSeq, err)
	}
	if m, err := carl.Mailbox(box.ID); err != nil || m.Unseen != uint32(len(uids)) || m.HighestModSeq >= res.ModSeq {
		t.Errorf("carl: %d unseen, %d, %v", m.Unseen, m.HighestModSeq, err)
	}
	below, err := a.CreateMailbox("Team/below")
	if err != nil {
		t.Fatal(err)
	}
	if own, err := bob.PrivateSeen(below.ID); err != nil || !own {
		t.Errorf("a mailbox below doesn't inherit: %v", err)
	}
	sound(t, a)
}
