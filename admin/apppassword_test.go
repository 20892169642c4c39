package admin

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"nestbox/auth"
	"nestbox/storage"
)

// TestAppPasswords: the same over the socket as on an open store.
func TestAppPasswords(t *testing.T) {
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
		var api API = local
		if remote {
			api = serve(t, local, filepath.Join(dir, SocketFile))
		}
		testAppPasswords(t, local.st, api)
	}
}

func testAppPasswords(t *testing.T, st *storage.Store, api API) {
	t.Helper()
	ctx := t.Context()
	if _, err := api.AddAccount(ctx, "anna", "secret of anna"); err != nil {
		t.Fatal(err)
	}
	password, err := api.AddAppPassword(ctx, "anna", "tablet", "imap,read-only")
	if err != nil || len(password) != 35 {
		t.Fatalf("%q, %v", password, err)
	}
	if _, err := api.AddAppPassword(ctx, "anna", "tablet", ""); !errors.Is(err, auth.ErrAppPassword) {
		t.Errorf("twice: %v", err)
	}
	if _, err := api.AddAppPassword(ctx, "anna", "phone", "everything"); !errors.Is(err, errWrongUse) {
		t.Errorf("unknown scope: %v", err)
	}
	if _, err := api.AppPasswords(ctx, "zoe"); !errors.Is(err, storage.ErrNoAccount) {
		t.Errorf("no account: %v", err)
	}
	all, err := api.AppPasswords(ctx, "anna")
	if err != nil || len(all) != 1 || all[0].Name != "tablet" || !slices.Equal(all[0].Scope, []string{"imap", "read-only"}) || all[0].LastUsed != nil {
		t.Fatalf("%+v, %v", all, err)
	}
	who, err := auth.New(st, auth.Options{}).Plain(ctx, &auth.Conn{Protocol: auth.ScopeIMAP}, "anna", password)
	if err != nil || !who.ReadOnly() {
		t.Fatalf("%+v, %v", who, err)
	}
	if all, err := api.AppPasswords(ctx, "anna"); err != nil || all[0].LastUsed == nil {
		t.Errorf("%+v, %v", all, err)
	}
	if err := api.RevokeAppPassword(ctx, "anna", "tablet"); err != nil {
		t.Fatal(err)
	}
	if err := api.RevokeAppPassword(ctx, "anna", "tablet"); !errors.Is(err, auth.ErrAppPassword) {
		t.Errorf("twice: %v", err)
	}
	if all, err := api.AppPasswords(ctx, "anna"); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}
