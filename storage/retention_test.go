package storage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

func retain(t *testing.T, a *Account, dry bool) []RetentionResult {
	t.Helper()
	res, err := a.RunRetention(context.Background(), dry)
	must(t, err)
	return res
}

func uidsOf(t *testing.T, a *Account, name string) (uids []imap.UID) {
	t.Helper()
	m := mailboxOf(t, a, name)
	uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 10000))
	must(t, err)
	return uids
}

func wantUIDs(t *testing.T, a *Account, name string, want ...imap.UID) {
	t.Helper()
	if got := uidsOf(t, a, name); !slices.Equal(got, want) {
		t.Errorf("%s has %v, want %v", name, got, want)
	}
}

func TestRetentionByAge(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	trash := mailboxOf(t, a, "Trash")
	rule, err := st.AddRetention(a.id, RetentionRule{SpecialUse: "Trash", Days: 30})
	must(t, err)
	if rule.SpecialUse != imap.MailboxAttrTrash || rule.ID == "" {
		t.Errorf("made %+v", rule)
	}
	for i := range 3 {
		// Old messages, that came to the mailbox just now.
		_, err := a.Append(trash.ID, []NewMessage{{Upload: upload(t, a, message(i)), Date: clock.Wall().AddDate(-5, 0, 0)}})
		must(t, err)
		clock.pass(10 * 24 * time.Hour)
	}
	if res := retain(t, a, false); len(res) != 1 || res[0].Messages != 0 {
		t.Errorf("nothing is 30 days old: %+v", res)
	}
	clock.pass(time.Hour)
	if res := retain(t, a, true); len(res) != 1 || res[0].Messages != 1 || res[0].Octets != int64(len(message(0))) {
		t.Errorf("dry: %+v", res)
	}
	wantUIDs(t, a, "Trash", 1, 2, 3)
	w := make(testWaker, 10)
	stop := a.Watch(trash.ID, w)
	retain(t, a, false)
	stop()
	if len(w) == 0 {
		t.Error("the sessions were not woken")
	}
	wantUIDs(t, a, "Trash", 2, 3)
	wantKept(t, a, 1)
	// By INTERNALDATE they are all too old.
	_, err = st.AddRetention(a.id, RetentionRule{Mailbox: "Trash", Days: 365, Received: true})
	must(t, err)
	if res := retain(t, a, false); len(res) != 2 || !res[1].Waiting {
		t.Errorf("a rule ran on its first day: %+v", res)
	}
	if res := retain(t, a, true); res[1].Messages != 2 {
		t.Errorf("dry run of a rule that waits: %+v", res)
	}
	clock.pass(25 * time.Hour)
	must(t, st.DeleteRetention(a.id, rule.ID))
	retain(t, a, false)
	wantUIDs(t, a, "Trash")
	wantKept(t, a, 3)
	if res := restore(t, a, KeptFilter{}); res.Messages != 3 {
		t.Errorf("restored %+v", res)
	}
	wantErr(t, "deleting a rule twice", st.DeleteRetention(a.id, rule.ID), ErrNoRule)
}

// A rule of the household holds beside an account's own, also for accounts
// that are made later, and for none any more when it is deleted.
func TestRetentionForAll(t *testing.T) {
	t.Parallel()
	st, ann, clock := keptStore(t)
	_, err := st.AddRetention(ann.id, RetentionRule{Mailbox: "INBOX", Messages: 2})
	must(t, err)
	rule, err := st.AddRetention(AllAccounts, RetentionRule{Mailbox: "INBOX", Days: 10})
	must(t, err)
	info, err := st.CreateAccount("ben", []byte("x"))
	must(t, err)
	ben, err := st.Account(info.ID)
	must(t, err)
	for i, a := range []*Account{ann, ben} {
		inbox := mailboxOf(t, a, "INBOX")
		for range 3 {
			_, err := a.Append(inbox.ID, []NewMessage{{Upload: upload(t, a, message(i)), Date: clock.Wall()}})
			must(t, err)
		}
		if rules, err := st.RetentionRules(a.id); err != nil || len(rules) != 2-i || !rules[0].All || rules[0].ID != rule.ID {
			t.Errorf("rules %+v, %v", rules, err)
		}
	}
	clock.pass(5 * 24 * time.Hour)
	retain(t, ann, false)
	retain(t, ben, false)
	wantUIDs(t, ann, "INBOX", 2, 3)
	wantUIDs(t, ben, "INBOX", 1, 2, 3)
	wantErr(t, "deleting it from one account", st.DeleteRetention(ann.id, rule.ID), ErrNoRule)
	clock.pass(5*24*time.Hour + time.Hour)
	must(t, st.SetAccountSetting(ann.id, SettingHold, "true"))
	retain(t, ann, false)
	retain(t, ben, false)
	wantUIDs(t, ann, "INBOX", 2, 3) // held
	wantUIDs(t, ben, "INBOX")
	must(t, st.SetAccountSetting(ann.id, SettingHold, ""))
	must(t, st.DeleteRetention(AllAccounts, rule.ID))
	if res := retain(t, ann, false); len(res) != 1 {
		t.Errorf("ran %+v", res)
	}
	wantUIDs(t, ann, "INBOX", 2, 3)
}

func TestRetentionByNumberAndSize(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	for _, name := range []string{"Lists/a", "Lists/b", "Lists"} {
		_, err := a.CreateMailbox(name)
		must(t, err)
	}
	size := int64(len(message(1)))
	for i := range 9 {
		appendTo(t, a, mailboxOf(t, a, "Lists/a").ID, message(i))
		appendTo(t, a, mailboxOf(t, a, "Lists/b").ID, message(i))
		appendTo(t, a, mailboxOf(t, a, "Lists").ID, message(i))
	}
	_, err := st.AddRetention(a.id, RetentionRule{Mailbox: "lists/*", Messages: 1})
	must(t, err)
	_, err = st.AddRetention(a.id, RetentionRule{Mailbox: "Lists/*", Messages: 4})
	must(t, err)
	_, err = st.AddRetention(a.id, RetentionRule{Mailbox: "Lists/b", Octets: 3*size + 1})
	must(t, err)
	clock.pass(25 * time.Hour)
	retain(t, a, false)
	wantUIDs(t, a, "Lists/a", 6, 7, 8, 9)
	wantUIDs(t, a, "Lists/b", 7, 8, 9)
	if n := len(uidsOf(t, a, "Lists")); n != 9 {
		t.Errorf("Lists itself has %d", n)
	}
	for _, bad := range []RetentionRule{{}, {Mailbox: "x"}, {Days: 3}, {Mailbox: "x", SpecialUse: "Trash", Days: 1},
		{Mailbox: "x", Days: -1}, {Mailbox: "x", Days: 1 << 30}, {Mailbox: "a//b", Days: 1}} {
		if r, err := st.AddRetention(a.id, bad); err == nil {
			t.Errorf("a rule that makes no sense was taken: %+v", r)
		}
	}
}

// Neither a clock that nobody believes nor a hold lets a rule do anything.
func TestRetentionWaits(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	_, err := st.AddRetention(a.id, RetentionRule{Mailbox: "INBOX", Days: 10})
	must(t, err)
	now := clock.Wall()
	clock.set(now.AddDate(10, 0, 0), false)
	_, err = a.RunRetention(context.Background(), false)
	wantErr(t, "with a clock that jumped", err, ErrClock)
	clock.set(now, true)
	clock.pass(12 * 24 * time.Hour)
	must(t, a.SetHold("INBOX", true))
	if res := retain(t, a, false); len(res) != 1 || !res[0].Held || res[0].Messages != 0 {
		t.Errorf("mailbox held: %+v", res)
	}
	must(t, a.SetHold("INBOX", false))
	must(t, st.SetAccountSetting(a.id, SettingHold, "true"))
	if res := retain(t, a, false); len(res) != 1 || !res[0].Held || res[0].Messages != 0 {
		t.Errorf("account held: %+v", res)
	}
	wantUIDs(t, a, "INBOX", 1)
	// A hold that comes between the look and the transaction.
	err = a.do(&retainRequest{id: box.ID, uids: []imap.UID{1}})
	wantErr(t, "in the transaction", err, ErrHeld)
	must(t, st.SetAccountSetting(a.id, SettingHold, ""))
	retain(t, a, false)
	wantUIDs(t, a, "INBOX")
}

// A run that is interrupted has done whole slices, and the next goes on.
func TestRetentionGoesOn(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	box := inbox(t, a)
	for range 13 {
		var msgs []NewMessage
		for j := range 100 {
			msgs = append(msgs, NewMessage{Upload: upload(t, a, message(j))})
		}
		_, err := a.Append(box.ID, msgs)
		must(t, err)
	}
	_, err := st.AddRetention(a.id, RetentionRule{Mailbox: "INBOX", Messages: 10})
	must(t, err)
	clock.pass(25 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	stop := a.Watch(box.ID, wakeFunc(cancel))
	_, err = a.RunRetention(ctx, false)
	stop()
	if !errors.Is(err, context.Canceled) || len(uidsOf(t, a, "INBOX")) != 1300-ReadRows {
		t.Errorf("after the first slice: %v, %d are left", err, len(uidsOf(t, a, "INBOX")))
	}
	dir := st.dir
	must(t, st.Close())
	st = openKept(t, dir, clock)
	a = accountOf(t, st, a.id)
	if next, err := a.retainWhenDue(context.Background()); err != nil || !next.After(st.now()) {
		t.Errorf("due again at %v, %v", next, err)
	}
	if got := uidsOf(t, a, "INBOX"); len(got) != 10 || got[0] != 1291 {
		t.Errorf("left: %v", got)
	}
	wantKept(t, a, 1290)
}

type wakeFunc func()

func (f wakeFunc) Wake() { f() }

func purge(t *testing.T, a *Account, c Criteria, dry bool) PurgeResult {
	t.Helper()
	res, err := a.Purge(context.Background(), c, dry)
	must(t, err)
	return res
}

func TestPurgeCriteria(t *testing.T) {
	t.Parallel()
	_, a, clock := keptStore(t)
	box := inbox(t, a)
	text := func(from, subject, id string) string {
		return "From: " + from + "\r\nTo: all@example.org\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + ">\r\n\r\n" + id + "\r\n"
	}
	now := clock.Wall()
	for i, m := range []string{
		text("Ann <ann@example.org>", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "1@x"),
		text("Ben <ben@example.org>", "secret plan", "2@x"),
		text("Ben <ben@example.org>", "harmless", "3@x"),
		text("Cid <cid@example.org>", "Re: SECRET plan", "4@x") + strings.Repeat("long ", 1000),
	} {
		_, err := a.Append(box.ID, []NewMessage{{Upload: upload(t, a, m), Date: now.AddDate(0, 0, i-10)}})
		must(t, err)
	}
	expungeAll(t, a, box.ID, 4)
	for name, x := range map[string]struct {
		c              Criteria
		live, expunged int64
	}{
		"all":       {Criteria{}, 3, 1},
		"expunged":  {Criteria{Expunged: true}, 0, 1},
		"from":      {Criteria{From: "BEN@"}, 2, 0},
		"to":        {Criteria{To: "all@example"}, 3, 1},
		"subject":   {Criteria{Subject: "grüsse"}, 0, 0},
		"subject 2": {Criteria{Subject: "GRÜßE"}, 1, 0},
		"secret":    {Criteria{Subject: "Secret Plan"}, 1, 1},
		"both":      {Criteria{Subject: "secret", From: "ben"}, 1, 0},
		"id":        {Criteria{MessageID: "3@x"}, 1, 0},
		"id 2":      {Criteria{MessageID: "<4@x>"}, 0, 1},
		"id 3":      {Criteria{MessageID: "<5@x>"}, 0, 0},
		"before":    {Criteria{Before: now.AddDate(0, 0, -8)}, 2, 0},
		"since":     {Criteria{Since: now.AddDate(0, 0, -8)}, 1, 1},
		"larger":    {Criteria{Larger: 1000}, 0, 1},
		"uid":       {Criteria{Mailbox: "INBOX", UIDs: imap.UIDSetNum(1, 4)}, 1, 1},
		"elsewhere": {Criteria{Mailbox: "Sent"}, 0, 0},
	} {
		if res := purge(t, a, x.c, true); res.Messages != x.live || res.Expunged != x.expunged {
			t.Errorf("%s: %+v, want %d and %d", name, res, x.live, x.expunged)
		}
	}
	_, err := a.Purge(context.Background(), Criteria{Mailbox: "Nowhere"}, false)
	wantErr(t, "purge of a mailbox that never was", err, ErrNoMailbox)
	res := purge(t, a, Criteria{Subject: "secret"}, false)
	if res.Messages != 1 || res.Expunged != 1 || res.Shared != 0 || res.Reading != 0 {
		t.Errorf("purged %+v", res)
	}
	wantUIDs(t, a, "INBOX", 1, 3)
	wantKept(t, a, 0)
	if moved := keptOf(t, a, KeptFilter{Moved: true}); len(moved) != 0 {
		t.Errorf("rows are left: %+v", moved)
	}
	sound(t, a)
}

// Purge leaves bytes that another message has, and says so; and nothing of
// what a hold keeps goes, nor anything else that was asked for with it.
func TestPurgeSharedAndHeld(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	archive := mailboxOf(t, a, "Archive")
	_, err := a.Copy(box.ID, []imap.UID{1}, archive.ID, false)
	must(t, err)
	must(t, a.SetHold("Archive", true))
	_, err = a.Purge(context.Background(), Criteria{}, false)
	wantErr(t, "purge of a held message", err, ErrHeld)
	wantUIDs(t, a, "INBOX", 1)
	if res := purge(t, a, Criteria{Mailbox: "INBOX"}, false); res.Messages != 1 || res.Shared != 1 {
		t.Errorf("purged %+v", res)
	}
	must(t, a.DeleteMailbox("Archive"))
	_, err = a.Purge(context.Background(), Criteria{Expunged: true}, false)
	wantErr(t, "purge of a deleted and held mailbox", err, ErrHeld)
	wantKept(t, a, 1)
	restore(t, a, KeptFilter{})
	if m := mailboxOf(t, a, "Archive"); !m.Hold {
		t.Error("the hold of a mailbox that was made again is gone")
	}
	must(t, a.SetHold("Archive", false))
	must(t, st.SetAccountSetting(a.id, SettingHold, "true"))
	_, err = a.Purge(context.Background(), Criteria{}, false)
	wantErr(t, "purge in a held account", err, ErrHeld)
	must(t, st.SetAccountSetting(a.id, SettingHold, ""))
	// One that was moved, and copied: its row in Archive goes too.
	_, err = a.Copy(mailboxOf(t, a, "Archive").ID, []imap.UID{1}, mailboxOf(t, a, "Junk").ID, true)
	must(t, err)
	_, err = a.Copy(mailboxOf(t, a, "Junk").ID, []imap.UID{1}, box.ID, false)
	must(t, err)
	if res := purge(t, a, Criteria{}, false); res.Messages != 2 || res.Shared != 0 {
		t.Errorf("purged %+v", res)
	}
	if moved := keptOf(t, a, KeptFilter{Moved: true}); len(moved) != 0 {
		t.Errorf("rows are left: %+v", moved)
	}
}

// What a rule takes at once is in the audit log when it is much.
func TestRetentionIsAudited(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	trash := mailboxOf(t, a, "Trash")
	_, err := st.AddRetention(a.id, RetentionRule{SpecialUse: "Trash", Messages: 1})
	must(t, err)
	n := 0
	add := func(more int) {
		for range more {
			n++
			_, err := a.Append(trash.ID, []NewMessage{{Upload: upload(t, a, message(n)), Date: clock.Wall()}})
			must(t, err)
		}
	}
	clock.pass(48 * time.Hour) // rules begin to work after a day
	add(3)
	retain(t, a, false)
	add(MassDeletion)
	retain(t, a, true)
	retain(t, a, false)
	events, err := st.AuditEvents(AuditFilter{})
	must(t, err)
	if len(events) != 1 || events[0].Kind != AuditDeletion || events[0].Account != a.id || !strings.HasPrefix(events[0].Detail, "100 messages expunged by retention rule ") {
		t.Errorf("%+v", events)
	}
}
