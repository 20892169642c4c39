package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func addInvite(t *testing.T, st *Store, token string, id AccountID, life time.Duration, uses int) {
	t.Helper()
	now := st.Now()
	must(t, st.AddInvite([]byte(token), Invite{Account: id, Made: now, Until: now.Add(life), Uses: uses}))
}

// used tries an invitation and returns whether it was good, and counted.
func used(t *testing.T, st *Store, token, device string) (good, first bool) {
	t.Helper()
	i, first, err := st.UseInvite([]byte(token), device)
	if err != nil && !errors.Is(err, ErrNoInvite) {
		t.Fatal(err)
	}
	if err == nil && (i.Account == "" || i.Used < 1 || i.Used > i.Uses) {
		t.Errorf("used: %+v", i)
	}
	return err == nil, first
}

func TestInviteUses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, Init(dir))
	st := openTestSystem(t, dir)
	info, err := st.CreateAccount("anna", nil)
	must(t, err)
	addInvite(t, st, "token-1", info.ID, time.Hour, 2)
	if _, err := st.Invite([]byte("token-1"), "a"); err != nil {
		t.Fatal(err)
	}
	for n, step := range []struct {
		token, device string
		good, first   bool
	}{
		{"token-1", "a", true, true}, {"token-1", "a", true, false}, {"token-2", "a", false, false}, {"", "a", false, false},
		{"token-1", "b", true, true}, {"token-1", "c", false, false}, {"token-1", "a", true, false},
	} {
		if good, first := used(t, st, step.token, step.device); good != step.good || first != step.first {
			t.Errorf("%d: good %v, first %v", n, good, first)
		}
	}
	if all, err := st.Invites(""); err != nil || len(all) != 0 {
		t.Errorf("one that is used up is listed: %+v, %v", all, err)
	}
	must(t, st.Close())
	raw, err := os.ReadFile(filepath.Join(dir, systemFile))
	must(t, err)
	if bytes.Contains(raw, []byte("token-1")) {
		t.Error("the token is in system.db")
	}
	st = openTestSystem(t, dir)
	if good, _ := used(t, st, "token-1", "c"); good {
		t.Error("a restart gave its uses back")
	}
	if good, first := used(t, st, "token-1", "b"); !good || first {
		t.Error("a restart forgot a device")
	}
	must(t, st.SetDisabled(info.ID, true))
	if good, _ := used(t, st, "token-1", "b"); good {
		t.Error("the account is disabled")
	}
	must(t, st.SetDisabled(info.ID, false))
	must(t, st.DeleteAccountNow("anna"))
	if good, _ := used(t, st, "token-1", "b"); good {
		t.Error("the account is gone")
	}
}

func TestInviteTime(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	info, err := st.CreateAccount("anna", nil)
	must(t, err)
	now := st.Now()
	for token, i := range map[string]Invite{
		"over":   {Made: now.Add(-2 * time.Hour), Until: now.Add(-time.Second)},
		"ahead":  {Made: now.Add(time.Hour), Until: now.Add(2 * time.Hour)},
		"stands": {Made: now.Add(-time.Hour), Until: now.Add(time.Hour)},
	} {
		i.Account, i.Uses = info.ID, 1
		must(t, st.AddInvite([]byte(token), i))
		if good, _ := used(t, st, token, "a"); good != (token == "stands") {
			t.Errorf("%s: %v", token, good)
		}
	}
	addInvite(t, st, "last", info.ID, time.Hour, 1) // it sweeps
	must(t, st.view(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketInvites).Get(inviteKey([]byte("over"))) != nil {
			t.Error("what is over is kept")
		}
		return nil
	}))
	if all, err := st.Invites(info.ID); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if n, err := st.RevokeInvites(info.ID); err != nil || n != 2 {
		t.Errorf("revoked %d, %v", n, err)
	}
	for _, token := range []string{"last", "stands"} {
		if good, _ := used(t, st, token, "a"); good {
			t.Error("revoked, and good")
		}
	}
}

// TestInviteRace: devices that come at once are counted as those that come one
// after the other.
func TestInviteRace(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	info, err := st.CreateAccount("anna", nil)
	must(t, err)
	addInvite(t, st, "token", info.ID, time.Hour, 3)
	var mu sync.Mutex
	var wg sync.WaitGroup
	counted := 0
	for n := range 12 {
		wg.Go(func() {
			_, first, err := st.UseInvite([]byte("token"), fmt.Sprint(n%6))
			mu.Lock()
			defer mu.Unlock()
			if err != nil && !errors.Is(err, ErrNoInvite) {
				t.Error(err)
			}
			if first {
				counted++
			}
		})
	}
	wg.Wait()
	if counted != 3 {
		t.Errorf("%d devices, want 3", counted)
	}
}

func TestInviteLimitsAndCheck(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	info, err := st.CreateAccount("anna", nil)
	must(t, err)
	now := st.Now()
	var limit *LimitError
	for _, uses := range []int{0, -1, maxInviteUses + 1} {
		if err := st.AddInvite([]byte("t"), Invite{Account: info.ID, Made: now, Until: now.Add(time.Hour), Uses: uses}); !errors.As(err, &limit) {
			t.Errorf("%d uses: %v", uses, err)
		}
	}
	if err := st.AddInvite([]byte("t"), Invite{Account: "no-such", Made: now, Until: now.Add(time.Hour), Uses: 1}); !errors.Is(err, ErrNoAccount) {
		t.Error(err)
	}
	must(t, st.update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketInvites); err != nil {
			return err
		}
		i := Invite{Account: info.ID, Made: now, Until: now.Add(time.Hour), Uses: 1}
		for n := range maxInvites {
			if err := putSystem(tx, bucketInvites, inviteKey(fmt.Append(nil, n)), i.encode()); err != nil {
				return err
			}
		}
		return nil
	}))
	if err := st.AddInvite([]byte("t"), Invite{Account: info.ID, Made: now, Until: now.Add(time.Hour), Uses: 1}); !errors.As(err, &limit) {
		t.Errorf("one too many: %v", err)
	}
	findings, _, err := st.checkHousehold()
	if must(t, err); len(findings) != 0 {
		t.Errorf("%v", findings)
	}
	must(t, st.update(func(tx *bolt.Tx) error { return putSystem(tx, bucketInvites, inviteKey([]byte("bad")), []byte{1, 0}) }))
	if findings, _, err = st.checkHousehold(); err != nil || len(findings) != 1 {
		t.Errorf("%v, %v", findings, err)
	}
	must(t, st.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketInvites).Delete(inviteKey([]byte("bad"))) }))
}

func FuzzInviteRow(f *testing.F) {
	f.Add(Invite{Account: "a", Made: time.Unix(1, 0), Until: time.Unix(2, 0), Uses: 2, devices: [][]byte{{1, 2, 3, 4, 5, 6, 7, 8}}}.encode())
	f.Add([]byte{4, 8, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := decodeInvite(data)
		if err != nil {
			return
		}
		again, err := decodeInvite(i.encode())
		if err != nil || again.Account != i.Account || again.Used != i.Used || again.Uses != i.Uses || !again.Until.Equal(i.Until) {
			t.Errorf("%+v, %+v, %v", i, again, err)
		}
	})
}
