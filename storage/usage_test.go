package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

// Each level of a quota is logged once when it is reached, and again only
// after the usage fell well below it.
func TestQuotaEvents(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	dir := filepath.Join(t.TempDir(), "data")
	must(t, Init(dir))
	st, err := Open(dir, Options{NoSync: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	defer st.Close()
	info, err := st.CreateAccount("ann", nil)
	must(t, err)
	a := accountOf(t, st, info.ID)
	must(t, st.SetAccountSetting(info.ID, SettingQuotaMessages, "100"))
	box := inbox(t, a)
	add := func(n int) {
		t.Helper()
		var msgs []NewMessage
		for i := range n {
			msgs = append(msgs, NewMessage{Upload: upload(t, a, message(i))})
		}
		_, err := a.Append(box.ID, msgs)
		must(t, err)
	}
	want := func(high, nearly int) {
		t.Helper()
		must(t, a.exec(func(*files) error { // between two commits: nobody logs
			if h, n := strings.Count(log.String(), "quota_80"), strings.Count(log.String(), "quota_95"); h != high || n != nearly {
				return fmt.Errorf("quota_80 %d times, quota_95 %d times, want %d and %d\n%s", h, n, high, nearly, log.String())
			}
			return nil
		}))
	}
	add(79)
	want(0, 0)
	add(1)
	want(1, 0)
	add(5)
	want(1, 0)
	add(10)
	want(1, 1)
	expungeAll(t, a, box.ID, 1, 2, 3, 4) // 91: not far enough for telling again
	add(5)
	want(1, 1)
	uids := uidsOf(t, a, "INBOX")
	expungeAll(t, a, box.ID, uids[:30]...) // 66
	add(15)
	want(2, 1)
	// A new start tells nothing that was told.
	must(t, st.Close())
	st2, err := Open(dir, Options{NoSync: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	defer st2.Close()
	a = accountOf(t, st2, info.ID)
	add(1)
	want(2, 1)
}
