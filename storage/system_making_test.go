package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestHalfMadeAccount: an account whose making was interrupted leaves nothing;
// one that is listed stays, whatever marks a power cut brought back.
func TestHalfMadeAccount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st := openTestSystem(t, dir)
	listed := mustAccount(t, st, "ann")
	half := newAccountID()
	if err := errors.Join(st.beginMaking(half), newAccount(st, half).create(profile{Name: "bob"}), st.beginMaking(listed.ID)); err != nil {
		t.Fatal(err)
	}
	early := newAccountID() // the crash came before its folder
	if err := errors.Join(st.beginMaking(early), os.Mkdir(st.accountDir(early)+".new", 0o700),
		os.WriteFile(st.accountDir(early)+makingSuffix+".new", nil, 0o600), st.Close()); err != nil {
		t.Fatal(err)
	}
	st = openTestSystem(t, dir)
	defer st.Close()
	if findings, err := st.Check(); err != nil || len(findings) > 0 {
		t.Errorf("check: %q, %v", findings, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, accountsFolder))
	if err != nil || len(entries) != 1 || entries[0].Name() != string(listed.ID) {
		t.Errorf("left are %v, %v", entries, err)
	}
}

// TestHalfMadeAccountOfLostSystem: the copy of system.db may lack an account
// that is as it should be. Its folder stays.
func TestHalfMadeAccountOfLostSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st := openTestSystem(t, dir)
	mustAccount(t, st, "ann")
	if err := st.copySystem(); err != nil {
		t.Fatal(err)
	}
	st.copies.closed = true // the copy stays as it is
	late := mustAccount(t, st, "bob")
	if err := errors.Join(st.beginMaking(late.ID), st.Close(), os.Truncate(filepath.Join(dir, systemFile), 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		st = openTestSystem(t, dir)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, accountsFolder, string(late.ID), "mail.db")); err != nil {
		t.Error(err)
	}
}
