package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	bolt "go.etcd.io/bbolt"
)

// TestACMELikeFiles: random calls have the same results as with certmagic's
// own storage of files.
func TestACMELikeFiles(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	st := newSystem(t)
	files := &certmagic.FileStorage{Path: t.TempDir()}
	must(t, files.Store(t.Context(), "x/first", nil)) // FileStorage keeps its root, we don't
	must(t, st.StoreACME("x/first", nil))
	parts := []string{"a", "ab", "b", "b.c", "a-"} // "a/" sorts between "a-" and "ab"
	for range 600 {
		key := parts[rng.IntN(len(parts))]
		for range rng.IntN(3) {
			key += "/" + parts[rng.IntN(len(parts))]
		}
		switch rng.IntN(4) {
		case 0, 1:
			data := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(5000))
			want, got := files.Store(t.Context(), key, data), st.StoreACME(key, data)
			if want == nil && got != nil || want != nil && got == nil && anyFile(t, files, key) {
				t.Fatalf("Store(%q): %v; FileStorage: %v", key, got, want)
			}
			if want != nil && got == nil { // its empty folders stay and are in the way
				deleteACME(t, st, files, key)
			}
		case 2:
			deleteACME(t, st, files, key)
		}
		compareACME(t, st, files, key)
	}
	for i, top := range append(parts, "x", "nothing") {
		for _, recursive := range []bool{true, false} {
			compareList(t, st, files, top, recursive)
		}
		if i == 0 && t.Failed() {
			t.Fatal("stop")
		}
	}
}

// deleteACME deletes in both. Below a file FileStorage has an error of the
// system, and nothing to delete.
func deleteACME(t *testing.T, st *Store, files *certmagic.FileStorage, key string) {
	t.Helper()
	if err := files.Delete(t.Context(), key); err != nil && !errors.Is(err, syscall.ENOTDIR) {
		t.Fatal(err)
	}
	must(t, st.DeleteACME(key))
}

// compareACME looks at a key in both. A folder of FileStorage without a file
// in it is nothing to us.
func compareACME(t *testing.T, st *Store, files *certmagic.FileStorage, key string) {
	t.Helper()
	want, wantErr := files.Load(t.Context(), key)
	got, err := st.LoadACME(key)
	if (wantErr == nil) != (err == nil) || !bytes.Equal(got, want) {
		t.Fatalf("Load(%q): %d bytes, %v; FileStorage has %d, %v", key, len(got), err, len(want), wantErr)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Load(%q): %v", key, err)
	}
	stat, statErr := files.Stat(t.Context(), key)
	info, err := st.StatACME(key)
	if statErr == nil && !stat.IsTerminal && !anyFile(t, files, key) {
		statErr = fs.ErrNotExist
	}
	if (statErr == nil) != (err == nil) || err == nil && (info.Folder == stat.IsTerminal || !info.Folder && info.Size != stat.Size || info.Key != key) {
		t.Fatalf("Stat(%q): %+v, %v; FileStorage has %+v, %v", key, info, err, stat, statErr)
	}
	if err == nil && !info.Folder && time.Since(info.Modified).Abs() > time.Hour {
		t.Fatalf("Stat(%q): modified %v", key, info.Modified)
	}
}

func anyFile(t *testing.T, files *certmagic.FileStorage, folder string) bool {
	t.Helper()
	keys, err := files.List(t.Context(), folder, true)
	must(t, err)
	return slices.ContainsFunc(keys, func(key string) bool {
		info, err := files.Stat(context.Background(), key)
		return err == nil && info.IsTerminal
	})
}

func compareList(t *testing.T, st *Store, files *certmagic.FileStorage, folder string, recursive bool) {
	t.Helper()
	all, wantErr := files.List(t.Context(), folder, recursive)
	want := []string{}
	for _, key := range all {
		if info, err := files.Stat(t.Context(), key); err == nil && (info.IsTerminal || anyFile(t, files, key)) {
			want = append(want, key)
		}
	}
	got, err := st.ListACME(folder, recursive)
	slices.Sort(got)
	slices.Sort(want)
	if info, statErr := st.StatACME(folder); statErr != nil && len(want) == 0 || wantErr != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("List(%q): %q, %v (%+v), want fs.ErrNotExist", folder, got, err, info)
		}
		return
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List(%q, %v): %q, %v; FileStorage has %q", folder, recursive, got, err, want)
	}
}

func TestACMELimits(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	for _, key := range []string{"", "/", "./", "a/../b", "..", "a\x00b", strings.Repeat("k", maxACMEKey+1)} {
		var name *NameError
		if err := st.StoreACME(key, nil); !errors.As(err, &name) {
			t.Errorf("StoreACME(%.20q): %v", key, err)
		}
	}
	var limit *LimitError
	if err := st.StoreACME("big", make([]byte, maxACMEFile+1)); !errors.As(err, &limit) {
		t.Errorf("a big file: %v", err)
	}
	must(t, st.StoreACME("/a//b/", []byte("1")))
	if b, err := st.LoadACME("a/b"); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, st.DeleteACME(""))
	if _, err := st.ListACME("", true); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnavailable) {
		t.Errorf("everything deleted: %v", err)
	}
}

// TestACMEKept: what is stored is there after a restart, in a backup and in
// system.db's copy, and Check reads it.
func TestACMEKept(t *testing.T) {
	t.Parallel()
	dir, to := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "copy")
	must(t, Init(dir))
	st := openTestSystem(t, dir)
	for i := range 20 {
		must(t, st.StoreACME(fmt.Sprintf("certificates/ca/%d/key", i), []byte("secret")))
	}
	if _, err := st.BackupTo(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	must(t, st.Close())
	for _, dir := range []string{dir, to} {
		st := openTestSystem(t, dir)
		if keys, err := st.ListACME("certificates/ca", false); err != nil || len(keys) != 20 {
			t.Errorf("%s: %d keys, %v", dir, len(keys), err)
		}
		if b, err := st.LoadACME("certificates/ca/7/key"); err != nil || string(b) != "secret" {
			t.Errorf("%s: %q, %v", dir, b, err)
		}
	}
}

func TestACMEDamage(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	must(t, st.StoreACME("a", []byte("data")))
	must(t, st.update(func(tx *bolt.Tx) error {
		return errors.Join(putSystem(tx, bucketACME, []byte("short"), []byte("1234567")),
			tx.Bucket(bucketACME).Put([]byte("sum"), append(binary.LittleEndian.AppendUint32([]byte{0}, 1), "12345678data"...)))
	}))
	for _, key := range []string{"short", "sum"} {
		if _, err := st.LoadACME(key); !errors.Is(err, ErrCorrupt) {
			t.Errorf("LoadACME(%s): %v", key, err)
		}
		findings, err := st.Check()
		must(t, err)
		if len(findings) != 1 {
			t.Errorf("Check: %q", findings)
		}
		must(t, st.DeleteACME(key)) // a damaged file can be deleted, and is made anew
	}
	if b, err := st.LoadACME("a"); err != nil || string(b) != "data" {
		t.Errorf("%q, %v", b, err)
	}
}
