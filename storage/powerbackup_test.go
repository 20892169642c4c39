package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/test/tap"
)

// backupRuns of a backup, with more mail each, are made before the restore.
const (
	backupRuns = 3
	backupMail = 12 // messages appended before each
)

// backUp takes backups of a data folder that gets more mail, and restores the
// last. The data folder's disk is another one.
func (p powerTask) backUp(marks *os.File) error {
	random := rand.New(rand.NewPCG(p.Seed, 9))
	folder := filepath.Join(p.Dir, "backup")
	for run := range backupRuns {
		if err := p.backUpOnce(run, folder, random); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(marks, "done 0"); err != nil {
			return err
		}
	}
	if _, err := RestoreDir(context.Background(), folder, filepath.Join(p.Dir, "restored"), Options{Version: "test"}); err != nil {
		return err
	}
	_, err := fmt.Fprintln(marks, "done 0")
	return err
}

func (p powerTask) backUpOnce(run int, folder string, random *rand.Rand) error {
	st, err := Open(p.Other, Options{Version: "test", NoSync: true, hooks: &hooks{volume: 4 << 20, firstBodies: 1 << 16}})
	if err != nil {
		return err
	}
	defer st.Close()
	workers, err := p.workers(st, random, func(int) func(eventKind) { return func(eventKind) {} })
	if err != nil {
		return err
	}
	w := workers[0]
	w.serial = run * backupMail
	box := w.box("first")
	if run == 0 {
		if _, err := w.a.CreateMailbox(box); err != nil {
			return err
		}
		w.now[box] = map[imap.UID]powerMessage{}
	}
	for len(w.now[box]) < (run+1)*backupMail {
		_, do := w.append(box)
		if err := do(); err != nil {
			return err
		}
	}
	_, err = st.BackupTo(context.Background(), folder)
	return err
}

// TestPowerLossBackup: the disk with the backup loses power. A backup that was
// done is there, or a later one; a restored folder that was done is.
func TestPowerLossBackup(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	disk, err := tap.NewDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	r := &powerRecord{disk: disk, begun: []int{0}, done: []int{0}}
	r.record(t, root, powerTask{Work: "backup", Dir: root, Other: newPowerFolder(t), Marks: filepath.Join(t.TempDir(), "marks"), Seed: seed})
	random := rand.New(rand.NewPCG(seed, 4))
	moments := r.moments(random, 40+powerCuts()/5)
	next := 0
	for _, moment := range moments {
		for ; next < moment; next++ {
			r.happen(t, r.events[next])
		}
		cut, c := memoryDir(t), tap.RandomCut(random)
		if err := disk.Cut(cut, c, random, skipReserve); err != nil {
			t.Fatal(err)
		}
		if r.backupCut(t, cut); t.Failed() {
			t.Fatalf("seed %d, after %d runs and %v; cut: %v", seed, r.done[0], r.events[max(0, moment-5):moment], c)
		}
		if err := os.RemoveAll(cut); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d, %d states of %d events", seed, len(moments), len(r.events))
}

func (r *powerRecord) backupCut(t *testing.T, cut string) {
	t.Helper()
	if r.done[0] > 0 {
		to := filepath.Join(cut, "again")
		if _, err := RestoreDir(t.Context(), filepath.Join(cut, "backup"), to, Options{Version: "test", NoSync: true}); err != nil {
			t.Error(err)
			return
		}
		holdsMail(t, to, min(r.done[0], backupRuns)*backupMail)
	}
	if r.done[0] > backupRuns {
		holdsMail(t, filepath.Join(cut, "restored"), backupRuns*backupMail)
	}
}

// holdsMail checks a restored folder, which has at least so many messages.
func holdsMail(t *testing.T, dir string, least int) {
	t.Helper()
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	storeSound(t, st)
	info, err := st.FindAccount("ann")
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	states, err := loadPowerStates(a, 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(states[0]["w0/first"]); n < least {
		t.Errorf("%s: %d messages, not %d", dir, n, least)
	}
}
