package storage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"nestbox/test/tap"
)

// migrate opens the account, whose format is an earlier one.
func (p powerTask) migrate() error {
	st, err := Open(p.Dir, Options{hooks: &hooks{migrations: testMigrations}})
	if err != nil {
		return err
	}
	all, err := st.Accounts()
	if err != nil {
		return err
	}
	a, err := st.Account(all[0].ID)
	if err == nil {
		_, err = a.Mailboxes()
	}
	return errors.Join(err, st.Close())
}

// TestPowerLossMigration: a migration goes on after a power cut, and until it
// is complete there is either the mail.db of before or a copy of it.
func TestPowerLossMigration(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	dir, id, texts := migrationScene(t)
	before, err := os.ReadFile(filepath.Join(dir, accountsFolder, string(id), "mail.db"))
	if err != nil {
		t.Fatal(err)
	}
	disk, err := tap.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &powerRecord{disk: disk, begun: []int{0}, done: []int{0}}
	r.record(t, dir, powerTask{Work: "migrate", Dir: dir, Marks: filepath.Join(t.TempDir(), "marks")})
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	random := rand.New(rand.NewPCG(seed, 3))
	moments := r.moments(random, 20+powerCuts()/10)
	next, refused := 0, 0
	for _, moment := range moments {
		for ; next < moment; next++ {
			r.happen(t, r.events[next])
		}
		cut, c := memoryDir(t), tap.RandomCut(random)
		if err := disk.Cut(cut, c, random, skipReserve); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(cut, accountsFolder, string(id), "mail.db")
		min, err := minReaderOf(path)
		if err != nil {
			t.Fatal(err)
		}
		if min > 1 {
			refused++
		}
		// While nothing is committed, pages of the first slice may be in it.
		now, err1 := os.ReadFile(path)
		kept, err2 := os.ReadFile(oldFormatPath(path, 1))
		if err1 != nil || !bytes.Equal(kept, before) && (min > 1 || !bytes.Equal(now, before)) {
			t.Errorf("neither %s nor what is kept of it is as it was: %v, %v", path, err1, err2)
		}
		if migrated(t, cut, id, texts); t.Failed() {
			t.Fatalf("seed %d, after %v; cut: %v", seed, r.events[max(0, moment-5):moment], c)
		}
		if err := os.RemoveAll(cut); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d, %d states of %d events, %d of them half migrated", seed, len(moments), len(r.events), refused)
}
