package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// dialGoIMAP is a logged-in client; heard gets the message counts it is told.
func dialGoIMAP(t *testing.T, l login, heard chan<- uint32) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialTLS(l.tlsAddr, &imapclient.Options{
		TLSConfig: &tls.Config{InsecureSkipVerify: true},
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil && heard != nil {
				heard <- *d.NumMessages
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login(l.user, l.password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// clientGoIMAP: go-imap's imapclient through the commands that it knows.
func clientGoIMAP(t *testing.T, l login) {
	c, all := dialGoIMAP(t, l, nil), mails()
	box := "Entwürfe & mehr"
	if err := c.Create(box, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	date := time.Date(2023, 1, 2, 15, 4, 5, 0, time.FixedZone("", 3600))
	for i, m := range all {
		cmd := c.Append(box, int64(len(m)), &imap.AppendOptions{Time: date, Flags: []imap.Flag{imap.FlagSeen, imap.Flag(fmt.Sprintf("kw%d", i))}})
		if _, err := cmd.Write(m); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		if data, err := cmd.Wait(); err != nil || data.UID != imap.UID(i+1) {
			t.Fatalf("append: %+v, %v", data, err)
		}
	}
	list, err := c.List("", "Entw*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true, NumUnseen: true}}).Collect()
	if err != nil || len(list) != 1 || list[0].Mailbox != box || list[0].Status == nil || *list[0].Status.NumMessages != uint32(len(all)) || *list[0].Status.NumUnseen != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if data, err := c.Select(box, nil).Wait(); err != nil || data.NumMessages != uint32(len(all)) || data.UIDNext != imap.UID(len(all)+1) {
		t.Fatalf("select: %+v, %v", data, err)
	}
	goIMAPFetch(t, c, all, date)
	goIMAPChange(t, c, len(all))
	goIMAPIdle(t, l)
	goIMAPMetadata(t, c, box)
	if err := c.Logout().Wait(); err != nil {
		t.Error(err)
	}
}

func goIMAPFetch(t *testing.T, c *imapclient.Client, all [][]byte, date time.Time) {
	t.Helper()
	whole, text := &imap.FetchItemBodySection{Peek: true}, &imap.FetchItemBodySection{Part: []int{1}, Peek: true}
	got, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{
		UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{whole, text},
	}).Collect()
	if err != nil || len(got) != len(all) {
		t.Fatalf("fetch: %d messages, %v", len(got), err)
	}
	for i, m := range got {
		if !bytes.Equal(m.FindBodySection(whole), all[i]) || m.RFC822Size != int64(len(all[i])) || !m.InternalDate.Equal(date) {
			t.Errorf("message %d: %d bytes, size %d, %v", i, len(m.FindBodySection(whole)), m.RFC822Size, m.InternalDate)
		}
		if !slices.Contains(m.Flags, imap.FlagSeen) || !slices.Contains(m.Flags, imap.Flag(fmt.Sprintf("kw%d", i))) {
			t.Errorf("message %d has flags %v", i, m.Flags)
		}
		if m.Envelope.MessageID != fmt.Sprintf("mail%d@example.org", i) || len(m.Envelope.From) != 1 || m.Envelope.From[0].Addr() != "ann@example.org" {
			t.Errorf("message %d has envelope %+v", i, m.Envelope)
		}
	}
	if got[1].Envelope.Subject != "Grüße" || got[3].BodyStructure.MediaType() != "multipart/mixed" || string(got[2].FindBodySection(text)) != "plain xylophone" {
		t.Errorf("subject %q, structure %+v, part %q", got[1].Envelope.Subject, got[3].BodyStructure, got[2].FindBodySection(text))
	}
}

func goIMAPChange(t *testing.T, c *imapclient.Client, n int) {
	t.Helper()
	found, err := c.UIDSearch(&imap.SearchCriteria{Body: []string{"xylophone"}}, nil).Wait()
	if err != nil || !slices.Equal(found.AllUIDs(), []imap.UID{3}) {
		t.Errorf("search: %v, %v", found, err)
	}
	found, err = c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{"kw1"}, Or: [][2]imap.SearchCriteria{{{Larger: 1}, {Smaller: 1}}}}, &imap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	if err != nil || found.Count != 1 {
		t.Errorf("extended search: %+v, %v", found, err)
	}
	copied, err := c.Copy(imap.UIDSetNum(1, 2), "INBOX").Wait()
	if err != nil || len(copied.DestUIDs) == 0 {
		t.Errorf("copy: %+v, %v", copied, err)
	}
	if moved, err := c.Move(imap.UIDSetNum(3), "INBOX").Wait(); err != nil {
		t.Errorf("move: %+v, %v", moved, err)
	}
	if err := c.Store(imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Error(err)
	}
	gone, err := c.UIDExpunge(imap.UIDSetNum(1)).Collect()
	if err != nil || !slices.Equal(gone, []uint32{1}) {
		t.Errorf("expunge: %v, %v", gone, err)
	}
	if err := c.UnselectAndExpunge().Wait(); err != nil {
		t.Error(err)
	}
	status, err := c.Status("INBOX", &imap.StatusOptions{NumMessages: true, UIDNext: true}).Wait()
	if err != nil || *status.NumMessages != 3 || status.UIDNext != 4 {
		t.Errorf("status: %+v, %v", status, err)
	}
}

func goIMAPIdle(t *testing.T, l login) {
	t.Helper()
	heard := make(chan uint32, 8)
	c := dialGoIMAP(t, l, heard)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for len(heard) > 0 {
		<-heard
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, l.connect(t), "INBOX", mails()[:1])
	select {
	case n := <-heard:
		if n != 4 {
			t.Errorf("heard of %d messages", n)
		}
	case <-time.After(20 * time.Second):
		t.Error("IDLE did not tell of a new message")
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
	if err := idle.Wait(); err != nil {
		t.Error(err)
	}
}
