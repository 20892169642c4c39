package imap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nestbox/auth"
	"nestbox/storage"
)

// TestListOpensNoStrangers: LIST of 5,000 mailboxes of others, in 50 accounts,
// opens the files of none in which the login may look up nothing.
func TestListOpensNoStrangers(t *testing.T) {
	t.Parallel()
	const accounts, each = 50, 100
	dir := t.TempDir()
	must(t, storage.Init(dir))
	so := storage.Options{NoSync: true, Version: "test"}
	st, err := storage.Open(dir, so)
	must(t, err)
	credential, err := testCredential()
	must(t, err)
	for _, name := range []string{"ann", "bob"} {
		_, err = st.CreateAccount(name, credential)
		must(t, err)
	}
	bob, err := st.FindAccount("bob")
	must(t, err)
	ids := make([]storage.AccountID, accounts)
	for i := range ids {
		info, err := st.CreateSharedAccount(fmt.Sprintf("team%02d", i))
		must(t, err)
		ids[i] = info.ID
		a, err := st.Account(info.ID)
		must(t, err)
		inbox, err := a.MailboxByName("INBOX")
		must(t, err)
		who := storage.AccountIdentifier(bob.ID)
		must(t, a.ChangeACL(inbox.ID, storage.ACLChange{Who: who, Rights: storage.RightLookup | storage.RightRead}))
		for n := range each {
			_, err := a.CreateMailbox(fmt.Sprintf("box%d", n))
			must(t, err)
		}
	}
	// Of ann there is one grant, in the last account.
	last, err := st.Account(ids[accounts-1])
	must(t, err)
	box, err := last.MailboxByName("box7")
	must(t, err)
	ann, err := st.FindAccount("ann")
	must(t, err)
	must(t, last.ChangeACL(box.ID, storage.ACLChange{Who: storage.AccountIdentifier(ann.ID), Rights: storage.RightLookup}))
	must(t, st.Close())

	// An account whose files are not there can't be opened: LIST would log it.
	for _, id := range ids[:accounts-1] {
		path := filepath.Join(dir, "accounts", string(id), "mail.db")
		must(t, os.Rename(path, path+".away"))
	}
	b := &testBox{t: t, log: new(logBuffer)}
	so.Log = slog.New(slog.NewTextHandler(b.log, nil))
	b.st, err = storage.Open(dir, so)
	must(t, err)
	b.serve()
	c := b.login()
	lines := c.ok(`LIST "" Shared/*`)
	if len(lines) != 1 || lines[0] != `* LIST (\HasNoChildren) "/" Shared/team49/box7` {
		t.Errorf("ann sees %q", lines)
	}
	if text := b.log.String(); strings.Contains(text, "imap_shared_unavailable") {
		t.Errorf("accounts of strangers were opened:\n%s", text)
	}
	// Those of bob can't be read now, but for one: the others are told.
	c = b.dial()
	c.ok(`LOGIN bob "` + testPassword + `"`)
	if lines := c.ok(`LIST "" Shared/*/box7`); len(lines) != 1 {
		t.Errorf("bob sees %q", lines)
	}
	if !strings.Contains(b.log.String(), "imap_shared_unavailable") {
		t.Error("accounts that can't be read are not in the log")
	}
}

// serve serves the box's store until the end of the test.
func (b *testBox) serve() {
	t := b.t
	b.srv = NewServer(Options{Store: b.st, Auth: auth.New(b.st, auth.Options{}), Log: slog.New(slog.NewTextHandler(b.log, nil))})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- b.srv.Serve(l, false) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(t, b.srv.Shutdown(ctx))
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		must(t, b.st.Close())
	})
}
