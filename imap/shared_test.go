package imap_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nestbox/auth"
	server "nestbox/imap"
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
	credential, err := scriptCredential()
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
	log := new(scriptLog)
	so.Log = textLogger(log)
	st, err = storage.Open(dir, so)
	must(t, err)
	srv := server.NewServer(server.Options{Store: st, Auth: auth.New(st, auth.Options{}), Log: textLogger(log)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, false) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(t, srv.Shutdown(ctx))
		<-served
		must(t, st.Close())
	})
	c := dialShared(t, l.Addr().String(), "ann")
	lines := c.ok(`LIST "" Shared/*`)
	if len(lines) != 1 || lines[0] != `* LIST (\HasNoChildren) "/" Shared/team49/box7` {
		t.Errorf("ann sees %q", lines)
	}
	if text := log.String(); contains(text, "imap_shared_unavailable") {
		t.Errorf("accounts of strangers were opened:\n%s", text)
	}
	// Those of bob can't be read now, but for one: the others are told.
	c = dialShared(t, l.Addr().String(), "bob")
	if lines := c.ok(`LIST "" Shared/*/box7`); len(lines) != 1 {
		t.Errorf("bob sees %q", lines)
	}
	if !contains(log.String(), "imap_shared_unavailable") {
		t.Error("accounts that can't be read are not in the log")
	}
}
