package storage

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

var checkMessages = flag.Int("check-messages", 2000, "messages in the account that is checked under load")

// memory is a line of /proc/self/status in MB, 0 where there is none.
func memory(line string) float64 {
	b, _ := os.ReadFile("/proc/self/status")
	m := regexp.MustCompile(line + `:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1]))
	return float64(n) / 1024
}

// A stallWatch is a session that works all the time, and says how long each of
// its commands took.
type stallWatch struct{ flags, reads, appends []time.Duration }

func (s *stallWatch) run(t *testing.T, a *Account, box Mailbox, stop chan bool) {
	timed := func(to *[]time.Duration, do func() error) {
		start := time.Now()
		if err := do(); err != nil {
			t.Error(err)
		}
		*to = append(*to, time.Since(start))
	}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(2 * time.Millisecond):
		}
		uid := imap.UID(1 + i*7919%int(box.UIDNext-1))
		timed(&s.flags, func() error {
			_, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{uid}, Mode: []StoreMode{StoreAdd, StoreRemove}[i%2], Flags: []imap.Flag{imap.FlagFlagged}})
			return err
		})
		timed(&s.reads, func() error {
			rows, err := a.Rows(box.Space, []imap.UID{uid}, nil)
			if err != nil || len(rows) != 1 {
				return fmt.Errorf("%d rows: %w", len(rows), err)
			}
			b, err := a.OpenBlob(rows[0].Blob)
			if err != nil {
				return err
			}
			defer b.Close()
			var w bytes.Buffer
			_, err = b.WriteRange(&w, 0, b.Size())
			return err
		})
		if i%10 == 0 {
			u := upload(t, a, message(1_000_000+i+int(time.Now().UnixNano()%1e6)*1000))
			timed(&s.appends, func() error { _, err := a.Append(box.ID, []NewMessage{{Upload: u}}); return err })
		}
	}
}

func worst(all []time.Duration) string {
	slices.Sort(all)
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("%v (99.9 %%: %v, median %v, %d)", all[len(all)-1].Round(10*time.Microsecond),
		all[len(all)*999/1000].Round(10*time.Microsecond), all[len(all)/2].Round(time.Microsecond), len(all))
}

func (s *stallWatch) log(t *testing.T, what string) {
	t.Logf("%s: flags at most %s; reads %s; appends %s", what, worst(s.flags), worst(s.reads), worst(s.appends))
}

// TestCheckHoldsNobodyUp: Check of a large account while a session works.
func TestCheckHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	info, err := st.CreateAccount("ann", nil)
	must(t, err)
	a := accountOf(t, st, info.ID)
	box := inbox(t, a)
	text := bigMessage(7, 60_000)
	for i := 0; i < *checkMessages; {
		var msgs []NewMessage
		for range 100 {
			i++
			at := i * 37 % 50_000
			msgs = append(msgs, NewMessage{Upload: upload(t, a, message(i)+text[at:at+1500])})
		}
		if _, err := a.Append(box.ID, msgs); err != nil {
			t.Fatal(err)
		}
	}
	box = inbox(t, a)
	watched := func(do func()) *stallWatch {
		s, stop, done := &stallWatch{}, make(chan bool), make(chan bool)
		go func() { s.run(t, a, box, stop); close(done) }()
		do()
		close(stop)
		<-done
		return s
	}
	watched(func() { time.Sleep(3 * time.Second) }).log(t, "without a check")
	for _, quick := range []bool{true, false} {
		before, start := memory("VmRSS"), time.Now()
		anon := memory("RssAnon")
		peak, quit, ended := anon, make(chan bool), make(chan bool)
		go func() {
			defer close(ended)
			for {
				select {
				case <-quit:
					return
				case <-time.After(20 * time.Millisecond):
					peak = max(peak, memory("RssAnon"))
				}
			}
		}()
		s := watched(func() {
			left, err := st.CheckEach(context.Background(), CheckOptions{Quick: quick}, func(f Finding) error { t.Error(f); return nil })
			if err != nil || left > 0 {
				t.Error(left, err)
			}
		})
		took := time.Since(start)
		close(quit)
		<-ended
		s.log(t, fmt.Sprintf("quick=%v: %v for %d messages; RSS %.0f to %.0f MB, of these not files %.0f, at most %.0f", quick, took.Round(time.Millisecond),
			*checkMessages, before, memory("VmRSS"), anon, peak))
		if worst := slices.Max(slices.Concat(s.flags, s.reads, s.appends)); worst > 2*time.Second {
			t.Error("a session stood for", worst) // the figure is 50 ms, on a machine that does nothing else
		}
	}
}
