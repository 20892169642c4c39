package storage

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// A keptSink takes what is exported below Expunged.
type keptSink struct {
	t       *testing.T
	kept    map[string]string // bytes, by mailbox and UID
	others  int
	damaged int
}

func (s *keptSink) Account(string) error         { return nil }
func (s *keptSink) Mailbox(string) error         { return nil }
func (s *keptSink) Finding(SalvageFinding) error { return nil }
func (s *keptSink) Message(m *SalvagedMessage) error {
	b, err := io.ReadAll(m.Body())
	switch {
	case err != nil:
		return err
	case !strings.HasPrefix(m.Mailbox, "Expunged/"):
		s.others++
	case m.Damage != "":
		s.damaged++
	default:
		key := fmt.Sprint(m.Mailbox, " ", m.UID)
		if _, twice := s.kept[key]; twice {
			s.t.Errorf("%s is there twice", key)
		}
		s.kept[key] = string(b)
	}
	return nil
}

func salvageKept(t *testing.T, dir string, kept bool) (*keptSink, SalvageCounts) {
	t.Helper()
	s := &keptSink{t: t, kept: map[string]string{}}
	all, err := Salvage(context.Background(), dir, SalvageOptions{Temp: t.TempDir(), Kept: kept}, s)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return s, all[0]
}

// With Kept, expunged messages and those of deleted mailboxes come out below
// Expunged, each with its bytes; without, none does.
func TestSalvageKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st, a, _ := repairScene(t, dir)
	if _, err := a.Copy(inbox(t, a).ID, []imap.UID{1}, mailboxOf(t, a, "Junk").ID, true); err != nil {
		t.Fatal(err)
	}
	must(t, st.Close())
	want := map[string]string{ // repairScene: which message has which UID
		"Expunged/INBOX 5": bigMessage(8, 400), "Expunged/INBOX 6": bigMessage(10, 90<<10),
		"Expunged/Old 1": bigMessage(7, 150<<10), "Expunged/Old 2": bigMessage(9, 3000),
	}
	s, c := salvageKept(t, dir, true)
	if c.Missing || c.Kept != len(want) || len(s.kept) != len(want) {
		t.Errorf("%+v, %d of %d", c, len(s.kept), len(want))
	}
	for key, text := range want {
		if s.kept[key] != text {
			t.Errorf("%s has %d octets, want %d", key, len(s.kept[key]), len(text))
		}
	}
	without, c := salvageKept(t, dir, false)
	if len(without.kept) > 0 || c.Kept > 0 || without.others != s.others || s.others == 0 {
		t.Errorf("without kept ones: %d of them, %d others, %d with them: %+v", len(without.kept), without.others, s.others, c)
	}

	// Whatever is destroyed: what comes out whole is what it says.
	for round := range 12 {
		hurt := filepath.Join(t.TempDir(), "data")
		must(t, os.CopyFS(hurt, os.DirFS(dir)))
		rnd := rand.New(rand.NewPCG(uint64(round), 7))
		path := filepath.Join(hurt, accountsFolder, string(a.id), "mail.db")
		info, err := os.Stat(path)
		must(t, err)
		for range 1 + rnd.IntN(8) {
			destroy(t, path, rnd.Int64N(info.Size()/pageBytes)*pageBytes, garbage(byte(round), pageBytes))
		}
		s, c := salvageKept(t, hurt, true)
		whole := 0
		for key, text := range s.kept {
			if strings.HasPrefix(key, "Expunged/INBOX ") || strings.HasPrefix(key, "Expunged/Old ") {
				if want[key] == text {
					whole++
				} else if !c.Missing {
					t.Errorf("round %d: %s has other bytes, and nothing is said: %+v", round, key, c)
				}
			}
		}
		if whole < len(want) && !c.Missing && s.damaged == 0 {
			t.Errorf("round %d: %d of %d expunged messages are whole, and nothing is said: %+v", round, whole, len(want), c)
		}
	}
}
