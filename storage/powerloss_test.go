package storage

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
)

var (
	powerStates = flag.Int("power-states", 500, "how many power cuts are replayed")
	powerSeed   = flag.Uint64("power-seed", 1, "of their random choices; 0: another one each time")
)

// powerCuts is how many states a test opens.
func powerCuts() int {
	if testing.Short() {
		return *powerStates / 5
	}
	return *powerStates
}

// TestPowerLossHooks is TestPowerLoss on every system, of the files of one
// account, which the storage itself lets it see: several workers change
// mailboxes of their own while all that goes to the disk is recorded. Then the power is cut at random moments: of
// what was written since the last sync an arbitrary part is there. The real
// code opens each such state; every worker must find its mailboxes as after
// one of the steps that it had begun, none below those it was told are done.
func TestPowerLossHooks(t *testing.T) {
	t.Parallel()
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r, clean, workers := recordWork(t, random)

	moments := chooseMoments(r.events, random, min(150, powerCuts()))
	d, next := newDisk(), 0
	for _, moment := range moments {
		for ; next < moment; next++ {
			d.happen(r.events[next])
		}
		if t.Failed() {
			return
		}
		t.Run(fmt.Sprintf("event%d", moment), func(t *testing.T) {
			dir := memoryDir(t)
			if err := os.CopyFS(dir, os.DirFS(clean)); err != nil {
				t.Fatal(err)
			}
			d.cut(t, filepath.Join(dir, accountsFolder, filepath.Base(r.dir)), random)
			openCut(t, dir, AccountID(filepath.Base(r.dir)), d, workers)
		})
	}
	counts := map[eventKind]int{}
	for _, e := range r.events {
		counts[e.kind]++
	}
	t.Logf("%d states of %d writes, %d syncs, %d steps", len(moments), counts[eventWrite], counts[eventSync], counts[eventDone])
}

// memoryDir is a temporary folder, in memory where there is one for that: what
// the opened states write is not what is tested.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "nestbox-power-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// chooseMoments picks moments, ascending; half of them lie next to a sync or
// the end of a step, where most can go wrong.
func chooseMoments(events []event, random *rand.Rand, n int) (moments []int) {
	first := slices.IndexFunc(events, func(e event) bool { return e.kind == eventBegin })
	var edges []int
	for i, e := range events {
		if i > first && (e.kind == eventSync || e.kind == eventDone || e.kind == eventFile) {
			edges = append(edges, i)
		}
	}
	for range n {
		m := first + random.IntN(len(events)-first)
		if random.IntN(2) == 0 {
			m = edges[random.IntN(len(edges))] + random.IntN(2)
		}
		moments = append(moments, m)
	}
	slices.Sort(moments)
	return moments
}

// recordWork makes a store with one account, copies it as it is before the
// work, and lets three workers work.
func recordWork(t *testing.T, random *rand.Rand) (r *recorder, clean string, workers []*powerWorker) {
	t.Helper()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.CreateAccount("ann", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	clean = t.TempDir()
	if err := os.CopyFS(clean, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(clean, "reserve")); err != nil { // large, and nothing in it
		t.Fatal(err)
	}

	r = &recorder{dir: filepath.Join(dir, accountsFolder, string(info.ID))}
	if st, err = Open(dir, Options{Version: "test", hooks: r.hooks()}); err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 3)
	var running sync.WaitGroup
	for i := range errs {
		w := &powerWorker{number: i, a: a, note: func(k eventKind) { r.note(event{kind: k, worker: i}) }, random: rand.New(rand.NewPCG(random.Uint64(), 0)), now: powerState{}, kept: powerState{}}
		w.after = append(w.after, w.now.text())
		workers = append(workers, w)
		running.Go(func() { errs[i] = w.work() })
	}
	running.Wait()
	if err := errors.Join(append(errs, st.Close())...); err != nil {
		t.Fatal(err)
	}
	return r, clean, workers
}

// openCut opens the data folder that a power cut has left.
func openCut(t *testing.T, dir string, id AccountID, d *disk, workers []*powerWorker) {
	t.Helper()
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	a, err := st.Account(id)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, a)
	got, err := readPowerStates(a, len(workers))
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range workers {
		if may := w.after[d.done[i] : d.begun[i]+1]; !slices.Contains(may, got[i]) {
			t.Errorf("worker %d: after %d steps done and %d begun it found\n%s\nand not\n%s", i, d.done[i], d.begun[i], got[i], strings.Join(may, "\nor\n"))
		}
	}
	if t.Failed() {
		return
	}
	// The account goes on as if nothing had been.
	uid := appendTo(t, a, inbox(t, a).ID, message(1))
	if _, err := a.StoreFlags(inbox(t, a).ID, StoreRequest{UIDs: []imap.UID{uid}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Error(err)
	}
	sound(t, a)
}
