package storage

import (
	"errors"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestReplace: both or neither, and the quota counts what the old one frees.
func TestReplace(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	box := inbox(t, a)
	res, err := a.Append(box.ID, []NewMessage{{Upload: upload(t, a, message(1)), Flags: []imap.Flag{imap.FlagSeen}}})
	must(t, err)
	before := inbox(t, a)
	must(t, st.SetAccountSetting(a.id, SettingQuotaMessages, "1"))
	if _, err := a.Append(box.ID, []NewMessage{{Upload: upload(t, a, message(2))}}); !errors.Is(err, ErrOverQuota) {
		t.Fatalf("the quota has no effect: %v", err)
	}
	got, err := a.Replace(box.ID, res.UIDs[0], box.ID, NewMessage{Upload: upload(t, a, message(2))})
	must(t, err)
	after := inbox(t, a)
	if after.Messages != 1 || after.Unseen != 1 || after.HighestModSeq <= before.HighestModSeq || len(got.UIDs) != 1 || got.UIDs[0] != res.UIDs[0]+1 {
		t.Errorf("%+v, %+v", after, got)
	}
	rows, err := a.Rows(after.Space, []imap.UID{res.UIDs[0], got.UIDs[0]}, nil)
	must(t, err)
	if len(rows) != 2 || !rows[0].Expunged || rows[1].Expunged || rows[1].Flags != 0 {
		t.Errorf("%+v", rows)
	}
	// The old one is gone already: nothing is added.
	if _, err := a.Replace(box.ID, res.UIDs[0], box.ID, NewMessage{Upload: upload(t, a, message(3))}); !errors.Is(err, ErrExpunged) {
		t.Errorf("replaced what is gone: %v", err)
	}
	if now := inbox(t, a); now.Messages != 1 || now.UIDNext != after.UIDNext {
		t.Errorf("%+v", now)
	}
	// No room: the old one stays.
	must(t, st.SetAccountSetting(a.id, SettingQuota, "10"))
	if _, err := a.Replace(box.ID, got.UIDs[0], box.ID, NewMessage{Upload: upload(t, a, message(4))}); !errors.Is(err, ErrOverQuota) {
		t.Errorf("replaced over the quota: %v", err)
	}
	if now := inbox(t, a); now.Messages != 1 || now.UIDNext != after.UIDNext {
		t.Errorf("%+v", now)
	}
	if findings, err := a.Check(); err != nil || len(findings) > 0 {
		t.Errorf("check: %v %v", findings, err)
	}
}
