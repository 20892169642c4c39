package admin

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nestbox/auth"
	"nestbox/storage"
)

// TestAudit: what is done by the API is in the audit log, over the socket and on
// an open store, and can be asked for by what it is about.
func TestAudit(t *testing.T) {
	t.Parallel()
	for _, remote := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := storage.Init(dir); err != nil {
			t.Fatal(err)
		}
		local, err := OpenLocal(dir, storage.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := local.Close(); err != nil {
				t.Error(err)
			}
		})
		api := Audited(local)
		if remote {
			api = serve(t, api, filepath.Join(dir, SocketFile))
		}
		testAudit(t, local.st, api)
	}
}

func auditDetails(t *testing.T, api API, q AuditQuery) (all []string) {
	t.Helper()
	found, err := api.Audit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		all = append(all, e.Event+" "+e.Account+" "+e.Address+" "+e.Detail)
	}
	return all
}

func testAudit(t *testing.T, st *storage.Store, api API) {
	t.Helper()
	ctx := t.Context()
	const canary = "canary-4711-secret"
	value := canary
	_, again := api.AddAppPassword(ctx, "nobody", "x", "")
	if _, err := api.AddAccount(ctx, "anna", canary); err != nil {
		t.Fatal(err)
	}
	_, exists := api.AddAccount(ctx, "anna", canary)
	app, err := api.AddAppPassword(ctx, "anna", "tablet", "imap")
	if err = errors.Join(err,
		api.AddDomain(ctx, "example.org"), api.AddAddress(ctx, "anna", "anna@example.org"), api.SetPassword(ctx, "anna", canary+"2"),
		api.SetSetting(ctx, "box_name", &value), api.RevokeAppPassword(ctx, "anna", "tablet"), api.DeleteAddress(ctx, "anna@example.org"),
		api.Export(ctx, "anna", "INBOX", nil), api.SetDisabled(ctx, "anna", true), api.DeleteAccount(ctx, "anna")); err != nil {
		t.Fatal(err)
	}
	if again == nil || exists == nil {
		t.Fatal("want errors")
	}
	want := []string{
		"admin anna  account added", "password anna  app password tablet added, for imap", "admin   domain example.org added",
		"admin anna  address anna@example.org added", "password anna  changed", "admin   setting box_name", "password anna  app password tablet revoked",
		"admin anna  address anna@example.org deleted", "export anna  mailbox INBOX", "admin anna  account disabled", "admin anna  account deleted",
	}
	all := auditDetails(t, api, AuditQuery{})
	if !slices.Equal(all, want) {
		t.Errorf("%q\nwant %q", all, want)
	}
	if text := fmt.Sprint(all); strings.Contains(text, canary) || strings.Contains(text, app) {
		t.Error("a secret is in the audit log")
	}
	if got := auditDetails(t, api, AuditQuery{Event: "export"}); !slices.Equal(got, want[8:9]) {
		t.Errorf("%q", got)
	}
	if got := auditDetails(t, api, AuditQuery{Account: "Anna"}); len(got) != 9 {
		t.Errorf("of the deleted account: %q", got)
	}
	for _, q := range []AuditQuery{{Event: "nothing"}, {Address: "here"}} {
		if _, err := api.Audit(ctx, q); !errors.Is(err, errWrongUse) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, err := api.Audit(ctx, AuditQuery{Account: "zoe"}); !errors.Is(err, storage.ErrNoAccount) {
		t.Errorf("%v", err)
	}
	testStoredBans(t, st, api)
}

// testStoredBans: bans can be listed and lifted without a server, and a new one
// takes them up.
func testStoredBans(t *testing.T, st *storage.Store, api API) {
	t.Helper()
	a := auth.New(st, auth.Options{BanAfter: 2})
	peer := netip.MustParseAddr("192.0.2.7")
	for i := range 2 {
		if _, err := a.Password(t.Context(), "zoe", fmt.Sprint("guess ", i), peer); !errors.Is(err, auth.ErrBadLogin) {
			t.Fatal(err)
		}
	}
	if auth.New(st, auth.Options{}).Banned(peer) == nil {
		t.Error("the ban didn't outlast the server")
	}
	if all, err := api.Bans(t.Context()); err != nil || len(all) != 1 || all[0].Address != "192.0.2.7" || all[0].Failures != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if got := auditDetails(t, api, AuditQuery{Address: "192.0.2.0/24"}); len(got) != 2 ||
		!slices.Contains(got, "ban  192.0.2.7 banned for 15m0s after 2 failed logins") || !slices.Contains(got, "login-refused  192.0.2.7 password, unknown") {
		t.Errorf("%q", got)
	}
	if err := api.LiftBan(t.Context(), "192.0.2.7"); err != nil {
		t.Error(err)
	}
	if err := api.LiftBan(t.Context(), "192.0.2.7"); !errors.Is(err, ErrNoBan) {
		t.Errorf("twice: %v", err)
	}
	if err := auth.New(st, auth.Options{}).Banned(peer); err != nil {
		t.Errorf("it was lifted: %v", err)
	}
}
