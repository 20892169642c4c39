package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// openUpkeep makes a data folder with n accounts whose upkeep has only the
// jobs of the test, on a clock that the test moves.
func openUpkeep(t *testing.T, n int, jobs ...upkeepJob) (*Store, []*Account, *testTime) {
	t.Helper()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	clock := &testTime{wall: inTest}
	st, err := Open(dir, Options{Version: "test", NoSync: true, Built: builtDay, Time: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	var all []*Account
	for i := range n {
		info, err := st.CreateAccount(fmt.Sprintf("user%d", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := st.Account(info.ID)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	u := st.upkeep
	u.jobs, u.turns, u.states = jobs, nil, nil
	for _, j := range jobs {
		u.turns = append(u.turns, jobTurns{due: clock.Steady() + j.period, accounts: map[AccountID]*accountTurn{}})
		u.states = append(u.states, UpkeepState{Name: j.name})
	}
	return st, all, clock
}

func TestUpkeepTurns(t *testing.T) {
	var ran []AccountID
	var next time.Time
	stores, aged := 0, 0
	st, all, clock := openUpkeep(t, 3,
		upkeepJob{name: "store", period: time.Hour, store: func(context.Context, *Store) error { stores++; return nil }},
		upkeepJob{name: "aged", period: time.Minute, aged: true, store: func(context.Context, *Store) error { aged++; return nil }},
		upkeepJob{name: "account", period: 10 * time.Minute, account: func(_ context.Context, a *Account) (time.Time, error) {
			ran = append(ran, a.id)
			return next, nil
		}})
	turn := func(after time.Duration) (who []AccountID) {
		clock.pass(after)
		ran = nil
		st.upkeep.runDue()
		return ran
	}
	if got := turn(0); len(got) > 0 {
		t.Fatalf("at the start: %v", got)
	}
	for range 10 { // within the spread each has its first turn
		turn(upkeepSpread / 9)
	}
	if n := st.Upkeep()[2].Runs; n != 3 {
		t.Fatalf("%d first turns, want 3", n)
	}
	if stores != 3 { // looked at every 27 minutes
		t.Errorf("the store's job ran %d times in 4 hours", stores)
	}
	if aged != 0 {
		t.Error("a job that deletes by age ran with a clock that nobody trusts")
	}
	if got := turn(48 * time.Hour); len(got) > 0 {
		t.Errorf("idle accounts were opened: %v", got)
	}
	if aged == 0 {
		t.Error("with a clock that ran for a day it did not run")
	}
	if _, err := all[1].CreateMailbox("A"); err != nil {
		t.Fatal(err)
	}
	if got := turn(0); !slices.Equal(got, []AccountID{all[1].id}) {
		t.Errorf("after a write: %v", got)
	}
	next = st.now().Add(5 * time.Hour)
	if _, err := all[1].CreateMailbox("B"); err != nil {
		t.Fatal(err)
	}
	if got := turn(9 * time.Minute); len(got) > 0 {
		t.Errorf("within the period: %v", got)
	}
	if got := turn(time.Minute); !slices.Equal(got, []AccountID{all[1].id}) {
		t.Errorf("after the period: %v", got)
	}
	next = time.Time{}
	if got := turn(4 * time.Hour); len(got) > 0 {
		t.Errorf("before it asked for: %v", got)
	}
	if got := turn(time.Hour); !slices.Equal(got, []AccountID{all[1].id}) {
		t.Errorf("when it asked for: %v", got)
	}
}

func TestUpkeepClosesWhatItOpened(t *testing.T) {
	st, all, clock := openUpkeep(t, 2, upkeepJob{name: "look", period: time.Hour, account: func(_ context.Context, a *Account) (time.Time, error) {
		_, err := a.Mailboxes()
		return time.Time{}, err
	}})
	if _, err := all[0].Mailboxes(); err != nil {
		t.Fatal(err)
	}
	clock.pass(2 * upkeepSpread)
	st.upkeep.runDue()
	clock.pass(2 * upkeepSpread)
	st.upkeep.runDue()
	if n := st.Upkeep()[0].Runs; n != 2 {
		t.Fatalf("%d runs", n)
	}
	for i, open := range []bool{true, false} {
		all[i].mu.Lock()
		if got := all[i].f != nil; got != open {
			t.Errorf("account %d: open %v", i, got)
		}
		all[i].mu.Unlock()
	}
}

func TestUpkeepFailure(t *testing.T) {
	bad := errors.New("no luck")
	st, all, clock := openUpkeep(t, 1, upkeepJob{name: "fails", period: time.Minute, account: func(context.Context, *Account) (time.Time, error) {
		return time.Time{}, bad
	}})
	clock.pass(2 * upkeepSpread)
	st.upkeep.runDue()
	clock.pass(2 * upkeepSpread)
	st.upkeep.runDue()
	s := st.Upkeep()[0]
	if !errors.Is(s.Err, bad) || s.ErrAt != all[0].id {
		t.Fatalf("state %+v", s)
	}
	bad = nil
	clock.pass(time.Hour) // it comes again, although nobody wrote
	st.upkeep.runDue()
	if s := st.Upkeep()[0]; s.Err != nil || s.Runs != 2 {
		t.Fatalf("state %+v", s)
	}
}

// TestUpkeepClose: a job with much to do ends within a second.
func TestUpkeepClose(t *testing.T) {
	began := make(chan struct{})
	st, _, clock := openUpkeep(t, 1, upkeepJob{name: "long", period: time.Minute, account: func(ctx context.Context, a *Account) (time.Time, error) {
		close(began)
		for p := (pacer{}); ; {
			time.Sleep(20 * time.Millisecond)
			if err := p.pause(ctx, a); err != nil {
				return time.Time{}, err
			}
		}
	}})
	clock.pass(2 * upkeepSpread)
	st.upkeep.runDue()
	clock.pass(2 * upkeepSpread)
	go st.upkeep.tick()
	<-began
	start := time.Now()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("closing took %v", took)
	}
	if s := st.Upkeep()[0]; s.Running || s.Err != nil {
		t.Errorf("state %+v", s)
	}
}
