package storage

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// auditStore is an open store, and the number of times that events.db was
// opened to be written.
func auditStore(t *testing.T, dir string, log *slog.Logger) (*Store, *atomic.Int32) {
	t.Helper()
	writes := new(atomic.Int32)
	st, err := Open(dir, Options{NoSync: true, Log: log, hooks: &hooks{opened: func(path string, _ *bolt.DB) {
		if filepath.Base(path) == eventsFile {
			writes.Add(1)
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st, writes
}

func auditDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func auditLines(t *testing.T, st *Store, f AuditFilter) (lines []string) {
	t.Helper()
	all, err := st.AuditEvents(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s x%d", e.Kind, e.Account, e.Address, e.Client, e.Detail, e.Count))
	}
	return lines
}

// 1000 logins write nothing until their minute is over, then one commit; and
// nothing is written when nothing happened.
func TestAuditGathers(t *testing.T) {
	t.Parallel()
	st, writes := auditStore(t, auditDir(t), nil)
	for i := range 1000 {
		st.Audit(AuditEvent{Kind: AuditLogin, Account: AccountID(fmt.Sprint(i % 7)), Address: "192.0.2.7", Detail: "imap"})
	}
	if _, err := os.Stat(filepath.Join(st.dir, eventsFile)); err == nil || writes.Load() != 0 {
		t.Errorf("%d writes before the minute was over", writes.Load())
	}
	st.eventsDue() // as its timer does
	if n := writes.Load(); n != 1 {
		t.Errorf("%d commits of 1000 logins", n)
	}
	st.eventsDue()
	if n := writes.Load(); n != 1 {
		t.Errorf("%d commits after nothing happened", n)
	}
	if lines := auditLines(t, st, AuditFilter{}); len(lines) != 7 || !slices.Contains(lines, "login 0 192.0.2.7  imap x143") {
		t.Errorf("%d: %q", len(lines), lines)
	}
	// More of the same is counted in the rows that are there.
	st.Audit(AuditEvent{Kind: AuditLogin, Account: "0", Address: "192.0.2.7", Detail: "imap"})
	if lines := auditLines(t, st, AuditFilter{Account: "0"}); len(lines) != 1 || !strings.HasSuffix(lines[0], "x144") {
		t.Errorf("%q", lines)
	}
	if n := writes.Load(); n != 2 {
		t.Errorf("%d commits", n)
	}
}

// What must not be lost is written at once.
func TestAuditUrgent(t *testing.T) {
	t.Parallel()
	st, writes := auditStore(t, auditDir(t), nil)
	st.Audit(AuditEvent{Kind: AuditPassword, Account: "a", Detail: "changed"})
	st.PutBan(BanRow{Address: "192.0.2.7"})
	deadline := time.Now().Add(time.Minute)
	for writes.Load() == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // the test waits for a timer of the store
	}
	if writes.Load() == 0 {
		t.Error("not written")
	}
}

func TestAuditSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := auditDir(t)
	st, _ := auditStore(t, dir, nil)
	st.Audit(AuditEvent{Kind: AuditAdmin, Account: "a", Name: "ann", Detail: "account\r\nadded\x00"})
	ref := st.Audit(AuditEvent{Kind: AuditLogin, Account: "a", Address: "2001:db8::7"})
	ref = st.AuditClient(ref, "phone 1")
	if again := st.AuditClient(ref, "phone 1"); again != ref {
		t.Error("the same client twice is another")
	}
	st.FlushEvents()
	st.AuditClient(ref, "phone 2") // its row moves
	since := time.Unix(1_700_000_000, 0)
	ban := BanRow{Address: "2001:db8::/64", Since: since.UTC(), Until: since.Add(time.Hour).UTC(), Failures: 20, Times: 3}
	st.PutBan(ban)
	st.PutBan(BanRow{Address: "192.0.2.7"})
	st.DeleteBan("192.0.2.7")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st.Audit(AuditEvent{Kind: AuditAdmin}) // too late, and no harm

	st, writes := auditStore(t, dir, nil)
	want := []string{"admin a   account  added  x1", "login a 2001:db8::7 phone 2  x1"}
	lines := auditLines(t, st, AuditFilter{})
	slices.Sort(lines)
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", lines, want)
	}
	if bans, err := st.Bans(); err != nil || len(bans) != 1 || bans[0] != ban {
		t.Errorf("%+v, %v", bans, err)
	}
	if writes.Load() != 0 {
		t.Error("reading wrote")
	}
	for what, f := range map[string]AuditFilter{
		"kind": {Kinds: []AuditKind{AuditAdmin}}, "account": {Account: "a", Kinds: []AuditKind{AuditAdmin}},
		"address": {Address: func(a string) bool { return a == "" }}, "since": {Since: time.Now().Add(-time.Hour), Kinds: []AuditKind{AuditAdmin}},
	} {
		if lines := auditLines(t, st, f); len(lines) != 1 || lines[0] != want[0] {
			t.Errorf("%s: %q", what, lines)
		}
	}
	if lines := auditLines(t, st, AuditFilter{Since: time.Now().Add(time.Hour)}); len(lines) != 0 {
		t.Errorf("%q", lines)
	}
}

// However many addresses guess, memory and file are bounded, and what an
// administrator did stays.
func TestAuditIsBounded(t *testing.T) {
	t.Parallel()
	st, _ := auditStore(t, auditDir(t), nil)
	st.Audit(AuditEvent{Kind: AuditAdmin, Detail: "the one"})
	long := strings.Repeat("ö", 1000)
	for round := range 12 {
		for i := range maxAuditEntries + 500 {
			st.Audit(AuditEvent{Kind: AuditRefused, Account: AccountID(long[:16]), Name: long, Client: long, Detail: long, Address: fmt.Sprintf("2001:db8:%x:%x::", round, i)})
		}
		if n := len(st.events.entries); n > maxAuditEntries+len(AuditKinds()) {
			t.Fatalf("%d events in memory", n)
		}
		st.FlushEvents()
	}
	all, err := st.AuditEvents(AuditFilter{Kinds: []AuditKind{AuditRefused}})
	if err != nil || uint64(len(all)) != auditRefusals.rows {
		t.Errorf("%d rows, %v", len(all), err)
	}
	n := 0
	for _, e := range all {
		n += e.Count
		if len(e.Name) > maxAuditName || len(e.Client) > maxAuditClient || len(e.Detail) > maxAuditDetail || len(e.Address) > maxAuditPlace {
			t.Fatalf("%+v", e)
		}
	}
	if n < 8192+500 {
		t.Errorf("%d events are counted", n)
	}
	if lines := auditLines(t, st, AuditFilter{Kinds: []AuditKind{AuditAdmin}}); len(lines) != 1 {
		t.Errorf("%q", lines)
	}
	if info, err := os.Stat(filepath.Join(st.dir, eventsFile)); err != nil || info.Size() > 16<<20 {
		t.Errorf("%v octets, %v", info.Size(), err)
	}
	left, err := st.checkSystemEach(context.Background(), CheckOptions{}, func(f Finding) error { t.Log(f); return nil })
	if err != nil || left != 0 {
		t.Errorf("check: %d, %v", left, err)
	}
}

// A damaged events.db stops nothing: it's put aside, and another begun.
func TestAuditDamaged(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(b []byte) []byte{
		"empty":    func([]byte) []byte { return nil },
		"cut off":  func(b []byte) []byte { return b[:4*4096] },
		"no bbolt": func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) },
		"foreign": func(b []byte) []byte {
			return bytes.Replace(b, []byte(storeIDIn(b)), bytes.Repeat([]byte("a"), 26), -1)
		},
		"pages": func(b []byte) []byte { clear(b[3*4096:]); return b },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := auditDir(t)
			log := new(bytes.Buffer)
			st, _ := auditStore(t, dir, slog.New(slog.NewTextHandler(log, nil)))
			for i := range 100 {
				st.Audit(AuditEvent{Kind: AuditAdmin, Detail: fmt.Sprint(i)})
			}
			st.FlushEvents()
			path := filepath.Join(dir, eventsFile)
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, damage(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.AuditEvents(AuditFilter{}); err != nil && what == "empty" {
				t.Log(err)
			}
			if left, err := st.checkSystemEach(context.Background(), CheckOptions{}, func(Finding) error { return nil }); err != nil || left == 0 {
				t.Errorf("check finds %d, %v", left, err)
			}
			st.Audit(AuditEvent{Kind: AuditAdmin, Detail: "after"})
			st.FlushEvents()
			st.Audit(AuditEvent{Kind: AuditAdmin, Detail: "after that"})
			st.FlushEvents()
			lines := auditLines(t, st, AuditFilter{})
			if len(lines) == 0 || lines[len(lines)-1] != "admin    after that x1" {
				t.Errorf("%q", lines)
			}
			if _, err := os.Stat(path + eventsAside); err != nil || !strings.Contains(log.String(), "events_set_aside") {
				t.Errorf("%v\n%s", err, log)
			}
			if left, err := st.checkSystemEach(context.Background(), CheckOptions{}, func(Finding) error { return nil }); err != nil || left != 0 {
				t.Errorf("check finds %d after that, %v", left, err)
			}
		})
	}
}

func storeIDIn(b []byte) string {
	at := bytes.Index(b, []byte("store"))
	return string(b[at+5+systemSealed : at+5+systemSealed+26])
}
