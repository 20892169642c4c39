package e2e

import (
	"errors"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// goIMAPMetadata sets and reads notes of a mailbox, and looks at the quota, over
// the connection of a client.
func goIMAPMetadata(t *testing.T, c *imapclient.Client, box string) {
	t.Helper()
	mine, all := []byte("zwei Zeilen:\r\nÄpfel \"und\" Birnen"), []byte("")
	set := map[string]*[]byte{"/private/comment": &mine, "/shared/comment": &all, "/private/vendor/x/Color": &mine}
	if err := c.SetMetadata(box, set).Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetMetadata(box, []string{"/private/comment", "/shared/comment", "/shared/vendor/x/none"}, nil).Wait()
	if err != nil || got.Mailbox != box || len(got.Entries) != 3 || got.Entries["/shared/vendor/x/none"] != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, want := range map[string]string{"/private/comment": string(mine), "/shared/comment": ""} {
		if v := got.Entries[name]; v == nil || string(*v) != want {
			t.Errorf("%s is %v, not %q", name, v, want)
		}
	}
	few := uint32(3)
	got, err = c.GetMetadata(box, []string{"/private", "/shared"}, &imapclient.GetMetadataOptions{Depth: imapclient.GetMetadataDepthInfinity, MaxSize: &few}).Wait()
	if err != nil || len(got.Entries) != 1 || got.Entries["/shared/comment"] == nil {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.SetMetadata(box, map[string]*[]byte{"/shared/comment": nil}).Wait(); err != nil {
		t.Error(err)
	}
	var no *imap.Error
	if err := c.SetMetadata("", map[string]*[]byte{"/shared/comment": &mine}).Wait(); !errors.As(err, &no) || no.Code != imap.ResponseCodeNoPerm {
		t.Errorf("the server's comment: %v", err)
	}
	if roots, err := c.GetQuotaRoot(box).Wait(); err != nil || len(roots) != 1 || roots[0].Root != "" {
		t.Errorf("%+v, %v", roots, err)
	}
	if err := c.SetQuota("", map[imap.QuotaResourceType]int64{imap.QuotaResourceStorage: 10}).Wait(); !errors.As(err, &no) || no.Code != imap.ResponseCodeNoPerm {
		t.Errorf("SETQUOTA: %v", err)
	}
}
