package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"nestbox/test/tap"
)

// init makes a data folder, below a folder that isn't there either, and an
// account.
func (p powerTask) init(marks *os.File) error {
	if err := Init(p.Dir); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(marks, "done 0"); err != nil {
		return err
	}
	st, err := Open(p.Dir, Options{Version: "test"})
	if err != nil {
		return err
	}
	if _, err := st.CreateAccount("ann", nil); err != nil {
		return err
	}
	_, err = fmt.Fprintln(marks, "done 0")
	return errors.Join(err, st.Close())
}

// TestPowerLossInit: after a power cut at any call of the making of a data
// folder it can be made, or is there; and it is there, with its account, once
// somebody was told so.
func TestPowerLossInit(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	root, other := filepath.Join(t.TempDir(), "root"), t.TempDir()
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	disk, err := tap.NewDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	r := &powerRecord{disk: disk, begun: []int{0}, done: []int{0}}
	const below = "srv/mail"
	r.record(t, root, powerTask{Work: "init", Dir: filepath.Join(root, below), Marks: filepath.Join(other, "marks")})
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d, %d events", seed, len(r.events))
	random := rand.New(rand.NewPCG(seed, 2))
	for _, e := range r.events {
		r.happen(t, e)
		for range 1 + powerCuts()/1000 {
			dir, c := t.TempDir(), tap.RandomCut(random)
			if err := disk.Cut(dir, c, random, nil); err != nil {
				t.Fatal(err)
			}
			if r.initCut(t, filepath.Join(dir, below)); t.Failed() {
				t.Fatalf("after %v; cut: %v", e, c)
			}
		}
	}
}

func (r *powerRecord) initCut(t *testing.T, dir string) {
	t.Helper()
	if r.done[0] == 0 {
		if err := Init(dir); err != nil && !errors.Is(err, ErrStoreExists) {
			t.Fatal(err)
		}
	}
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	storeSound(t, st)
	if _, err := st.FindAccount("ann"); err != nil && r.done[0] > 1 {
		t.Error(err)
	}
}
