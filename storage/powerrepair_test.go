package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nestbox/test/tap"
)

// repairOptions are those of strayStore, whose volumes are small.
func repairOptions() Options {
	return Options{Version: "test", hooks: &hooks{volume: 1 << 20, firstBodies: 40 << 10}}
}

// repair is "nestbox check --repair", and with "rebuild" --rebuild before it.
func (p powerTask) repair() error {
	if p.Work == "rebuild" {
		if _, err := Rebuild(p.Dir, repairOptions(), func(Finding) error { return nil }); err != nil {
			return err
		}
	}
	st, err := Open(p.Dir, repairOptions())
	if err != nil {
		return err
	}
	left, err := st.CheckEach(context.Background(), CheckOptions{Repair: true, Quick: true}, func(Finding) error { return nil })
	if err == nil && left > 0 {
		err = errors.New("the repair left findings")
	}
	return errors.Join(err, st.Close())
}

// TestPowerLossRepair: a repair, and the making of a new system.db, that a
// power cut or a kill ended can be repeated, and nothing is lost.
func TestPowerLossRepair(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	for _, work := range []string{"repair", "rebuild"} {
		t.Run(work, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(memoryDir(t), "data")
			st, a, texts := repairScene(t, dir)
			for _, b := range [][]byte{bucketEmails, bucketRecords, bucketNames, bucketBlocks, bucketLog, bucketRows} {
				damage(t, a, dropAll(b))
			}
			must(t, st.Close())
			const noise = "noise, noise, noise"
			if work == "rebuild" {
				for _, name := range []string{systemFile, systemCopyFile} {
					must(t, os.WriteFile(filepath.Join(dir, name), []byte(noise), 0o600))
				}
			}
			disk, err := tap.NewDisk(dir)
			must(t, err)
			r := &powerRecord{disk: disk, begun: []int{0}, done: []int{0}}
			r.record(t, dir, powerTask{Work: work, Dir: dir, Marks: filepath.Join(t.TempDir(), "marks")})
			seed := *powerSeed
			if seed == 0 {
				seed = rand.Uint64()
			}
			random := rand.New(rand.NewPCG(seed, 7))
			moments, next := r.moments(random, 10+*powerStates/20), 0
			for _, moment := range moments {
				for ; next < moment; next++ {
					r.happen(t, r.events[next])
				}
				cut, c := memoryDir(t), tap.RandomCut(random)
				must(t, disk.Cut(cut, c, random, skipReserve))
				if r.again(t, work, cut, texts); t.Failed() {
					t.Fatalf("seed %d, after %v; cut: %v", seed, r.events[max(0, moment-5):moment], c)
				}
				if work == "rebuild" {
					kept, _ := filepath.Glob(filepath.Join(cut, systemFile+"*"))
					found := false
					for _, name := range kept {
						b, err := os.ReadFile(name)
						found = found || err == nil && string(b) == noise
					}
					if !found {
						t.Fatalf("seed %d: the old system.db is gone; cut: %v", seed, c)
					}
				}
				must(t, os.RemoveAll(cut))
			}
			t.Logf("seed %d, %d states of %d events", seed, len(moments), len(r.events))
		})
	}
}

// again repeats the work after a cut, and looks for the messages.
func (r *powerRecord) again(t *testing.T, work, dir string, texts map[string]bool) {
	t.Helper()
	p := powerTask{Work: work, Dir: dir}
	st, err := Open(dir, repairOptions())
	if err == nil { // the new system.db is there, if it was to be made
		must(t, st.Close())
		p.Work = "repair"
	} else if work == "repair" {
		t.Errorf("not to be opened: %v", err)
		return
	}
	if err := p.repair(); err != nil {
		t.Error("repeated:", err)
		return
	}
	st, err = Open(dir, repairOptions())
	must(t, err)
	defer st.Close()
	all, err := st.Accounts()
	if err != nil || len(all) != 1 || !strings.HasPrefix(all[0].Name, "ann") {
		t.Errorf("accounts %v, %v", all, err)
		return
	}
	a := accountOf(t, st, all[0].ID)
	have, lost := allTexts(t, a), 0
	for text := range texts {
		if !have[text] {
			lost++
		}
	}
	if lost > 2 { // two were expunged
		t.Errorf("%d messages lost", lost)
	}
	sound(t, a)
}
