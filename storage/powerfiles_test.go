package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nestbox/test/tap"
)

// powerVariable makes the test binary the program whose file calls are
// recorded: a powerTask as JSON.
const powerVariable = "TEST_NESTBOX_POWER"

// A powerTask is what TestPowerWork is asked to do.
type powerTask struct {
	Work               string // "mail", "init", "migrate", "backup", "transfer", "repair" or "rebuild"
	Dir, Marks, Report string // data folder, file of marks, file of the powerReport
	Other              string // data folder on a disk that nothing happens to
	Seed               uint64
}

// A powerReport is what each worker's part of the data looks like after each
// of its steps. The last is the household's.
type powerReport struct {
	After   [][]string
	Account AccountID
}

// TestPowerLoss: several workers change mailboxes of their own, one the
// accounts and settings, while all that the process does to its files is
// recorded. Then the power is cut at random moments: of what was written since
// a file's last sync an arbitrary part is there, and of the names that were
// made, changed and removed since their folder's. The real code opens each
// such state; every worker must find its part as after one of the steps that
// it had begun, none below those it was told are done.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	// Each life begins where a cut ended the one before: what it mends can be
	// cut short, too.
	lives := 2 + powerCuts()/1000
	var from string
	for life := range lives {
		r := recordFiles(t, seed+uint64(life), from)
		from = r.cutAll(t, seed+uint64(life), (powerCuts()+lives-1)/lives)
	}
}

// cutAll opens n states of the record, and returns a folder with one that
// wasn't opened.
func (r *powerRecord) cutAll(t *testing.T, seed uint64, n int) (next string) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	moments := r.moments(random, n)
	next = memoryDir(t)
	last := random.IntN(n)
	at := 0
	for i, moment := range moments {
		for ; at < moment; at++ {
			r.happen(t, r.events[at])
		}
		again := func() *rand.PCG { return rand.NewPCG(seed, uint64(i)+1000) }
		if !t.Run(fmt.Sprintf("event%d", moment), func(t *testing.T) { r.cut(t, again(), memoryDir(t), true) }) {
			kept, err := os.MkdirTemp("", "nestbox-power-state-")
			if err != nil {
				t.Fatal(err)
			}
			r.cut(t, again(), kept, false)
			t.Fatalf("the state is in %s, after %v", kept, r.events[max(0, moment-5):moment])
		}
		if i == last {
			r.cut(t, again(), next, false)
		}
	}
	for ; at < len(r.events); at++ {
		r.happen(t, r.events[at])
	}
	r.complete(t)
	counts := map[tap.Op]int{}
	for _, e := range r.events {
		counts[e.Op]++
	}
	t.Logf("%d states of %d writes, %d syncs, %d renames and %d new names; %d of %d barriers", len(moments), counts[tap.Write], counts[tap.Sync],
		counts[tap.Rename], counts[tap.Create]+counts[tap.Mkdir], r.barriersIn(moments), len(r.barriers()))
	return next
}

// complete looks whether the record leads to the files that there are.
func (r *powerRecord) complete(t *testing.T) {
	t.Helper()
	cut := memoryDir(t)
	if err := r.disk.Cut(cut, tap.Cut{Sector: 4096, Data: 100, Names: 100, InOrder: true}, rand.New(rand.NewPCG(0, 0)), skipReserve); err != nil {
		t.Fatal(err)
	}
	for _, way := range [][2]string{{r.dir, cut}, {cut, r.dir}} {
		err := filepath.WalkDir(way[0], func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || skipReserve(e.Name()) {
				return err
			}
			name, err1 := filepath.Rel(way[0], path)
			a, err2 := os.ReadFile(path)
			b, err3 := os.ReadFile(filepath.Join(way[1], name))
			if err1 == nil && err2 == nil && !bytes.Equal(a, b) {
				t.Errorf("%s is not as recorded: %d octets and %d, %v", name, len(a), len(b), err3)
			}
			return errors.Join(err1, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A powerRecord is all that a process did to its files.
type powerRecord struct {
	dir         string
	events      []tap.Event
	after       [][]string
	account     AccountID
	disk        *tap.Disk
	begun, done []int
	first       int // the first step
}

// recordFiles lets the workers work in a data folder, or in a new one.
func recordFiles(t *testing.T, seed uint64, dir string) *powerRecord {
	t.Helper()
	other := t.TempDir()
	if dir == "" {
		dir = newPowerFolder(t)
	}
	r := &powerRecord{dir: dir}
	var err error
	if r.disk, err = tap.NewDisk(dir); err != nil {
		t.Fatal(err)
	}
	task := powerTask{Work: "mail", Dir: dir, Marks: filepath.Join(other, "marks"), Report: filepath.Join(other, "report"), Seed: seed}
	r.record(t, dir, task)
	var report powerReport
	text, err := os.ReadFile(task.Report)
	if err := errors.Join(err, json.Unmarshal(text, &report)); err != nil {
		t.Fatal(err)
	}
	r.after, r.account = report.After, report.Account
	r.begun, r.done = make([]int, len(r.after)), make([]int, len(r.after))
	r.first = slices.IndexFunc(r.events, func(e tap.Event) bool { return e.Op == tap.Mark })
	return r
}

// newPowerFolder makes a data folder with one account.
func newPowerFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.CreateAccount("ann", nil)
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// record runs a task in another process and keeps what it does below root.
func (r *powerRecord) record(t *testing.T, root string, task powerTask) {
	t.Helper()
	text, err := json.Marshal(task)
	if err := errors.Join(err, os.WriteFile(task.Marks, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPowerWork$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), powerVariable+"="+string(text))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	w, err := tap.Wrap(cmd, tap.Options{Root: root, Marks: task.Marks, Data: true, NoSync: true,
		After: func(_ *tap.Tap, e tap.Event) { r.events = append(r.events, e) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), w.Begin()); err != nil {
		t.Fatal(err, out.String())
	}
	if err := errors.Join(cmd.Wait(), w.Close()); err != nil {
		t.Fatal(err, out.String())
	}
}

func (r *powerRecord) happen(t *testing.T, e tap.Event) {
	t.Helper()
	if e.Op != tap.Mark {
		if err := r.disk.Happen(e); err != nil {
			t.Fatal(err)
		}
		return
	}
	kind, number, _ := strings.Cut(string(e.Data), " ")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil {
		t.Fatal(err)
	}
	if kind == "begin" {
		r.begun[n]++
	} else {
		r.done[n]++
	}
}

// barriers are the moments next to which most can go wrong: something became
// durable or got another name, or somebody was told so.
func (r *powerRecord) barriers() (all []int) {
	for i, e := range r.events {
		if i > r.first && (e.Op == tap.Sync || e.Op == tap.Rename || e.Op == tap.Remove || e.Op == tap.Mark) {
			all = append(all, i)
		}
	}
	return all
}

// moments picks n, ascending: half of them at random, half at barriers, each
// of which comes before any comes twice.
func (r *powerRecord) moments(random *rand.Rand, n int) (moments []int) {
	barriers := r.barriers()
	var deck []int
	for i := range n {
		if i%2 == 0 {
			moments = append(moments, r.first+random.IntN(len(r.events)-r.first))
			continue
		}
		if len(deck) == 0 {
			deck = random.Perm(len(barriers))
		}
		moments = append(moments, barriers[deck[0]]+random.IntN(2))
		deck = deck[1:]
	}
	slices.Sort(moments)
	return moments
}

func (r *powerRecord) barriersIn(moments []int) (n int) {
	for _, b := range r.barriers() {
		if slices.Contains(moments, b) || slices.Contains(moments, b+1) {
			n++
		}
	}
	return n
}

// cut makes a state in dir and opens it.
func (r *powerRecord) cut(t *testing.T, seed *rand.PCG, dir string, open bool) {
	t.Helper()
	random := rand.New(seed)
	c := tap.RandomCut(random)
	if err := r.disk.Cut(dir, c, random, skipReserve); err != nil {
		t.Fatal(err)
	}
	if open {
		r.openCut(t, dir)
	}
	if t.Failed() {
		t.Logf("cut: %v", c)
	}
}

// skipReserve: it is large and holds nothing.
func skipReserve(name string) bool { return strings.HasPrefix(name, "reserve") }

func (r *powerRecord) openCut(t *testing.T, dir string) {
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
	storeSound(t, st)
	a, err := st.Account(r.account)
	if err != nil {
		t.Fatal(err)
	}
	household := len(r.after) - 1
	got, err := readPowerStates(a, household)
	if err != nil {
		t.Fatal(err)
	}
	text, err := householdText(st)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range append(got, text) {
		if may := r.after[i][r.done[i] : r.begun[i]+1]; !slices.Contains(may, text) {
			t.Errorf("worker %d: after %d steps done and %d begun it found\n%s\nand not\n%s", i, r.done[i], r.begun[i], text, strings.Join(may, "\nor\n"))
		}
	}
	if t.Failed() {
		return
	}
	// The store goes on as if nothing had been.
	uid := appendTo(t, a, inbox(t, a).ID, message(1))
	if uid == 0 {
		t.Error("no UID")
	}
	if err := st.SetSetting("power", "back"); err != nil {
		t.Error(err)
	}
	storeSound(t, st)
}

func storeSound(t *testing.T, st *Store) {
	t.Helper()
	findings, err := st.Check()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Errorf("check: %s", f)
	}
}

// TestPowerWork is the recorded process.
func TestPowerWork(t *testing.T) {
	text := os.Getenv(powerVariable)
	if text == "" {
		t.Skip("TestPowerLoss starts it")
	}
	var task powerTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		t.Fatal(err)
	}
	if err := task.work(); err != nil {
		t.Fatal(err)
	}
}

func (p powerTask) work() error {
	marks, err := os.OpenFile(p.Marks, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	switch p.Work {
	case "init":
		return errors.Join(p.init(marks), marks.Close())
	case "backup":
		return errors.Join(p.backUp(marks), marks.Close())
	case "transfer":
		return errors.Join(p.transfer(marks), marks.Close())
	case "search":
		return errors.Join(p.search(marks), marks.Close())
	case "migrate":
		return errors.Join(p.migrate(), marks.Close())
	case "repair", "rebuild":
		return errors.Join(p.repair(), marks.Close())
	}
	note := func(worker int) func(eventKind) {
		return func(k eventKind) {
			word := map[eventKind]string{eventBegin: "begin", eventDone: "done"}[k]
			if _, err := fmt.Fprintf(marks, "%s %d\n", word, worker); err != nil {
				panic(err)
			}
		}
	}
	st, err := Open(p.Dir, Options{Version: "test", hooks: &hooks{volume: 4 << 20}})
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(p.Seed, 0))
	workers, err := p.workers(st, random, note)
	if err != nil {
		return err
	}
	report := powerReport{Account: workers[0].a.id}
	h := &powerHousehold{st: st, note: note(len(workers)), random: rand.New(rand.NewPCG(random.Uint64(), 0))}
	if err := h.load(); err != nil {
		return err
	}
	h.after = append(h.after, h.text())
	errs := make([]error, len(workers)+1)
	var running sync.WaitGroup
	for i, w := range workers {
		running.Go(func() { errs[i] = w.work() })
	}
	running.Go(func() { errs[len(workers)] = h.work() })
	running.Wait()
	for _, w := range workers {
		report.After = append(report.After, w.after)
	}
	report.After = append(report.After, h.after)
	out, err := json.Marshal(report)
	return errors.Join(append(errs, err, st.Close(), marks.Close(), os.WriteFile(p.Report, out, 0o600))...)
}

// workers are three that go on where others, of the life before, ended.
func (p powerTask) workers(st *Store, random *rand.Rand, note func(int) func(eventKind)) (all []*powerWorker, err error) {
	info, err := st.FindAccount("ann")
	if err != nil {
		return nil, err
	}
	a, err := st.Account(info.ID)
	if err != nil {
		return nil, err
	}
	states, err := loadPowerStates(a, 3)
	if err != nil {
		return nil, err
	}
	for i, now := range states {
		w := &powerWorker{number: i, a: a, note: note(i), random: rand.New(rand.NewPCG(random.Uint64(), 0)), now: now, kept: powerState{}}
		if err := w.loadKept(); err != nil {
			return nil, err
		}
		w.serial = int(p.Seed%1000) * 1000
		w.after = append(w.after, w.now.text())
		all = append(all, w)
	}
	return all, nil
}

// A powerHousehold changes accounts, addresses and settings.
type powerHousehold struct {
	st       *Store
	note     func(eventKind)
	random   *rand.Rand
	accounts map[string]bool
	settings map[string]string
	after    []string
	serial   int
}

const (
	householdSteps    = 60
	householdAccounts = 6 // each is a megabyte in every state
)

func (h *powerHousehold) text() string {
	return fmt.Sprint(slices.Sorted(maps.Keys(h.accounts)), h.settings)
}

func householdText(st *Store) (string, error) {
	h := powerHousehold{st: st}
	err := h.load()
	return h.text(), err
}

// load reads what there is.
func (h *powerHousehold) load() error {
	h.accounts, h.settings = map[string]bool{}, map[string]string{}
	infos, err1 := h.st.Accounts()
	for _, info := range infos {
		h.accounts[info.Name] = true
	}
	settings, err2 := h.st.Settings()
	for k, v := range settings {
		if strings.HasPrefix(k, "power") {
			h.settings[k] = v
		}
	}
	files, err3 := h.st.ListACME("acme", false)
	if errors.Is(err3, fs.ErrNotExist) {
		err3 = nil
	}
	for _, key := range files {
		data, err := h.st.LoadACME(key)
		h.settings[key], err3 = string(data), errors.Join(err3, err)
	}
	return errors.Join(err1, err2, err3)
}

func (h *powerHousehold) work() error {
	for range householdSteps {
		do := h.step()
		h.after = append(h.after, h.text())
		h.note(eventBegin)
		if err := do(); err != nil {
			return fmt.Errorf("household: %w", err)
		}
		h.note(eventDone)
		time.Sleep(time.Duration(h.random.IntN(10)) * time.Millisecond) // so that it works as long as the others
	}
	return nil
}

func (h *powerHousehold) step() (do func() error) {
	names := slices.Sorted(maps.Keys(h.accounts))
	switch dice := h.random.IntN(100); {
	case dice < 15 && h.serial < householdAccounts:
		h.serial++
		name := fmt.Sprint("visitor", h.random.IntN(1e6), "x")
		h.accounts[name] = true
		return func() error { _, err := h.st.CreateAccount(name, []byte("secret")); return err }
	case dice < 25 && len(names) > 1:
		name := names[1]
		delete(h.accounts, name)
		return func() error { return h.st.DeleteAccount(name) }
	case dice < 35:
		return h.st.copySystem
	case dice < 45 && len(names) > 1:
		from, to := names[len(names)-1], fmt.Sprint("visitor", h.random.IntN(1e6)+100)
		if h.accounts[to] {
			return func() error { return nil }
		}
		delete(h.accounts, from)
		h.accounts[to] = true
		return func() error { return h.st.RenameAccount(from, to) }
	}
	key, value := fmt.Sprint("power", h.random.IntN(4)), fmt.Sprint(h.random.IntN(1e6))
	if h.random.IntN(3) == 0 {
		h.settings["acme/"+key] = value
		return func() error { return h.st.StoreACME("acme/"+key, []byte(value)) }
	}
	h.settings[key] = value
	return func() error { return h.st.SetSetting(key, value) }
}
