package storage

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

var (
	churnMB     = flag.Int("churn-mb", 24, "megabytes of live mail in TestChurn")
	churnRounds = flag.Int("churn-rounds", 8, "rounds of replacing a fifth of it")
)

// forgetNow expunges messages of a mailbox and forgets their kept rows, as
// retention does.
func forgetNow(a *Account, m Mailbox, uids []imap.UID) error {
	if _, err := a.StoreFlags(m.ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}}); err != nil {
		return err
	}
	if _, err := a.Expunge(m.ID, uids); err != nil {
		return err
	}
	r := &forgetRequest{until: func(*keptOwner, keptReason) (int64, bool) { return 1 << 40, true }}
	for _, uid := range uids {
		r.keys = append(r.keys, keyUID(m.Space, uid))
	}
	return a.do(r)
}

// readMessage reads a message's bytes by its UID.
func readMessage(a *Account, m Mailbox, uid imap.UID) ([]byte, error) {
	rows, err := a.Rows(m.Space, []imap.UID{uid}, nil)
	if err != nil || len(rows) == 0 || rows[0].Expunged {
		return nil, errors.Join(err, ErrNoMessage)
	}
	b, err := a.OpenBlob(rows[0].Blob)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
}

// A mailWorker changes a mailbox of its own, and knows what must be in it.
type mailWorker struct {
	a      *Account
	random *rand.Rand
	box    Mailbox
	mu     sync.Mutex
	text   map[imap.UID][]byte
	seen   map[imap.UID]bool
	slow   time.Duration // the longest call
}

func newMailWorker(t *testing.T, a *Account, n uint64) *mailWorker {
	t.Helper()
	box, err := a.CreateMailbox(fmt.Sprintf("worker %d", n))
	if err != nil {
		t.Fatal(err)
	}
	return &mailWorker{a: a, random: rand.New(rand.NewPCG(n, 7)), box: box, text: map[imap.UID][]byte{}, seen: map[imap.UID]bool{}}
}

func (w *mailWorker) some() (uids []imap.UID) {
	for uid := range w.text {
		if uids = append(uids, uid); len(uids) == 1+w.random.IntN(8) {
			break
		}
	}
	slices.Sort(uids)
	return uids
}

func (w *mailWorker) step() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	start := time.Now()
	defer func() { w.slow = max(w.slow, time.Since(start)) }()
	uids := w.some()
	switch what := w.random.IntN(10); {
	case len(uids) == 0 || what < 7:
		text := noise(w.random.Int64(), 200+w.random.IntN(1<<(8+w.random.IntN(9))))
		u, err := w.a.NewUpload(int64(len(text)))
		if err == nil {
			_, err = u.Write(text)
		}
		if err == nil {
			err = u.Close()
		}
		if err != nil {
			return err
		}
		res, err := w.a.Append(w.box.ID, []NewMessage{{Upload: u}})
		if err == nil {
			w.text[res.UIDs[0]] = text
		}
		return err
	case what < 9:
		if _, err := w.a.StoreFlags(w.box.ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
			return err
		}
		for _, uid := range uids {
			w.seen[uid] = true
		}
		return nil
	default:
		for _, uid := range uids {
			delete(w.text, uid)
			delete(w.seen, uid)
		}
		return forgetNow(w.a, w.box, uids)
	}
}

// compare looks whether the mailbox holds what it must, and nothing else.
func (w *mailWorker) compare(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	m, err := w.a.Mailbox(w.box.ID)
	if err != nil {
		t.Fatal(err)
	}
	uids, err := w.a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 100_000))
	if err != nil || len(uids) != len(w.text) || int(m.Messages) != len(w.text) {
		t.Fatalf("%s has %d messages, counts %d, want %d (%v)", m.Name, len(uids), m.Messages, len(w.text), err)
	}
	for _, uid := range uids {
		got, err := readMessage(w.a, m, uid)
		if err != nil || !bytes.Equal(got, w.text[uid]) {
			t.Errorf("%s, UID %d: %d octets, %v", m.Name, uid, len(got), err)
		}
		rows, err := w.a.Rows(m.Space, []imap.UID{uid}, nil)
		if err != nil || (rows[0].Flags&FlagSeen != 0) != w.seen[uid] {
			t.Errorf("%s, UID %d: flags %v, %v", m.Name, uid, rows, err)
		}
	}
}

// TestCompactionUnderLoad compacts all files over and over while an account is
// written to and read, with readers that go on across the swaps.
func TestCompactionUnderLoad(t *testing.T) {
	t.Parallel()
	h := smallVolumes
	_, a := openHooks(t, h)
	var workers []*mailWorker
	for n := range uint64(3) {
		workers = append(workers, newMailWorker(t, a, n))
	}
	var done atomic.Bool
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() {
			for !done.Load() {
				if err := w.step(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Go(func() { // reads what is expunged meanwhile, to its end
		random := rand.New(rand.NewPCG(1, 1))
		for !done.Load() {
			w := workers[random.IntN(len(workers))]
			w.mu.Lock()
			uids := w.some()
			if len(uids) == 0 {
				w.mu.Unlock()
				continue
			}
			rows, err := a.Rows(w.box.Space, uids[:1], nil)
			if err != nil || len(rows) != 1 {
				t.Error(rows, err)
				w.mu.Unlock()
				return
			}
			b, err := a.OpenBlob(rows[0].Blob)
			want := w.text[uids[0]]
			w.mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
			got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("a message that was open: %d of %d octets, %v", len(got), len(want), err)
			}
			_ = b.Close()
		}
	})
	rounds, busy := 0, 0
	begin := time.Now()
	for ; !t.Failed() && (time.Since(begin) < 4*time.Second || rounds-busy < 2 && time.Since(begin) < time.Minute); rounds++ {
		_, err := a.collectAll(t.Context())
		if err == nil {
			err = a.Compact(t.Context(), true)
		}
		if errors.Is(err, errCompactBusy) {
			busy++
		} else if err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	all.Wait()
	if rounds-busy < 2 {
		t.Errorf("%d of %d rounds were too busy", busy, rounds)
	}
	for _, w := range workers {
		w.compare(t)
		t.Logf("%d messages; longest call %v", len(w.text), w.slow)
	}
	sound(t, a)
	a.closeAtRest()
	for _, w := range workers {
		w.compare(t)
	}
	sound(t, a)
	if left, _ := filepath.Glob(filepath.Join(a.dir, "*"+compactSuffix)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// filesOf is how large the account's .db files are, search.db apart.
func filesOf(t *testing.T, a *Account) (total int64) {
	t.Helper()
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".db") && (e.Name() != "search.db" || *churnMB >= 200) { // which grows in steps that count among little mail

			total += info.Size()
		}
	}
	return total
}

// attached is a message of about so many octets that can't be compressed, most
// of them in an attachment: what is searched is as much as mail has of it.
func attached(random *rand.Rand, size int) string {
	var b strings.Builder
	b.WriteString("Subject: churn\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n")
	for range min(size, 4000) / 6 {
		fmt.Fprintf(&b, "%x ", random.IntN(1<<16))
	}
	b.WriteString("\r\n--b\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: binary\r\n\r\n")
	b.Write(noise(random.Int64(), max(size-b.Len(), 0)))
	b.WriteString("\r\n--b--\r\n")
	return b.String()
}

// TestChurn replaces a fifth of the mail round after round, with the upkeep at
// work: the files hold at most 1.3 times the live octets (STORAGE.md §4).
func TestChurn(t *testing.T) {
	t.Parallel()
	live := int64(*churnMB) << 20
	h := hooks{volume: max(live/6, 4<<20), firstBodies: live / 12}
	if *churnMB >= 200 {
		h = hooks{}
	}
	_, a := openHooks(t, h)
	box := inbox(t, a)
	random := rand.New(rand.NewPCG(9, 9))
	size, octets := map[imap.UID]int64{}, int64(0)
	fill := func() {
		for octets < live {
			text := attached(random, 2000+int(random.ExpFloat64()*45_000))
			size[appendTo(t, a, box.ID, text)] = int64(len(text))
			octets += int64(len(text))
		}
	}
	worst := 0.0
	for round := range *churnRounds + 1 {
		fill()
		build(t, a)
		if _, err := a.compactWhenDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		ratio := float64(filesOf(t, a)) / float64(octets)
		t.Logf("round %d: %.2f times the live octets, %.3f of it search.db", round, ratio, float64(searchSize(t, a))/float64(octets))
		if round > 0 {
			worst = max(worst, ratio)
		}
		var gone []imap.UID
		target := octets - live/5
		for uid, n := range size {
			if octets <= target {
				break
			}
			gone = append(gone, uid)
			octets -= n
			delete(size, uid)
		}
		slices.Sort(gone)
		for part := range slices.Chunk(gone, 200) {
			if err := forgetNow(a, box, part); err != nil {
				t.Fatal(err)
			}
		}
	}
	if worst > 1.3 {
		t.Errorf("the files held %.2f times the live octets", worst)
	}
	sound(t, a)
}

// TestCompactionStalls measures how long a writer and a reader wait at most
// while the background compacts, and without that.
func TestCompactionStalls(t *testing.T) {
	if *churnMB < 100 {
		t.Skip("only with -churn-mb 100 or more: it measures")
	}
	st, a := openTest(t) // with syncs, and the limits of real use
	st.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	box := inbox(t, a)
	random := rand.New(rand.NewPCG(3, 3))
	var uids []imap.UID
	for octets := 0; octets < *churnMB<<20; {
		var msgs []NewMessage
		for range 16 {
			text := noise(random.Int64(), 2000+int(random.ExpFloat64()*45_000))
			octets += len(text)
			msgs = append(msgs, NewMessage{Upload: upload(t, a, string(text))})
		}
		res, err := a.Append(box.ID, msgs)
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, res.UIDs...)
	}
	var gone []imap.UID
	for i, uid := range uids {
		if i%3 == 0 {
			gone = append(gone, uid)
		}
	}
	for part := range slices.Chunk(gone, 200) {
		if err := forgetNow(a, box, part); err != nil {
			t.Fatal(err)
		}
	}
	measure := func(what string, during func()) {
		var done atomic.Bool
		var all sync.WaitGroup
		var writes, reads []time.Duration
		loop := func(to *[]time.Duration, do func() error) {
			all.Go(func() {
				for !done.Load() {
					start := time.Now()
					if err := do(); err != nil {
						t.Error(err)
						return
					}
					*to = append(*to, time.Since(start))
				}
			})
		}
		random := rand.New(rand.NewPCG(4, 4))
		loop(&writes, func() error {
			res, err := a.Append(box.ID, []NewMessage{{Upload: upload(t, a, string(noise(random.Int64(), 20_000)))}})
			if err == nil {
				_, err = a.StoreFlags(box.ID, StoreRequest{UIDs: res.UIDs, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
			}
			return err
		})
		loop(&reads, func() error {
			_, err := readMessage(a, box, uids[len(uids)-1-(len(reads)*7%(len(uids)/3))*3])
			if errors.Is(err, ErrNoMessage) {
				err = nil
			}
			return err
		})
		start := time.Now()
		during()
		done.Store(true)
		all.Wait()
		slices.Sort(writes)
		slices.Sort(reads)
		of := func(all []time.Duration, share float64) time.Duration {
			return all[min(len(all)-1, int(share*float64(len(all))))].Round(10 * time.Microsecond)
		}
		t.Logf("%s, %v: %d writes, median %v, 99.9 %% %v, longest %v; %d reads, median %v, 99.9 %% %v, longest %v", what, time.Since(start).Round(time.Millisecond),
			len(writes), of(writes, .5), of(writes, .999), of(writes, 1), len(reads), of(reads, .5), of(reads, .999), of(reads, 1))
	}
	before := filesOf(t, a)
	measure("alone", func() { time.Sleep(5 * time.Second) })
	measure("compaction", func() {
		if _, err := a.compactWhenDue(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d MB of files became %d", before>>20, filesOf(t, a)>>20)
	sound(t, a)
}
