// Package crash kills the real server at chosen calls and at random under
// load, and looks whether everything that it acknowledged is there afterwards.
package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"nestbox/test/rig"
	"nestbox/test/tap"
)

var (
	rounds = flag.Int("rounds", 12, "how often the server is killed")
	scenes = flag.Int("scenes", 2, "how many servers there are at a time")
	seed   = flag.Uint64("seed", 0, "of all that is random; 0: another one each time")
	only   = flag.String("phase", "", "kill only in this phase")
)

func TestMain(m *testing.M) { os.Exit(rig.MainTagged(m.Run, "torture")) }

const (
	// stretch is how many rounds a data folder lives, as nothing is ever freed
	// of what was deleted within the time of a run.
	stretch = 40
	// wholeEvery rounds all messages are read, byte by byte.
	wholeEvery = 8
	// mustHit rounds are enough to hit every phase.
	mustHit = 400
)

// TestKill: kill -9 under load; after each restart all that was acknowledged
// is there, nothing is there by half, and storage.Check finds nothing.
//
//	go test ./test/crash -rounds 1000
func TestKill(t *testing.T) {
	t.Parallel()
	tapped := tap.Supported() == nil
	if !tapped {
		t.Logf("kills by the clock only: %v", tap.Supported())
	}
	random := *seed
	if random == 0 {
		random = rand.Uint64()
	}
	t.Logf("seed %d", random)
	h := &hits{}
	start := time.Now()
	var commands, messages int
	t.Run("all", func(t *testing.T) {
		for i := range *scenes {
			mine := *rounds / *scenes
			if i < *rounds%*scenes {
				mine++
			}
			t.Run(fmt.Sprint("scene", i), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(random, uint64(i)))
				for done := 0; done < mine; done += stretch {
					c, m := runStretch(t, r, min(stretch, mine-done), tapped, h)
					h.mu.Lock()
					commands, messages = commands+c, messages+m
					h.mu.Unlock()
					if *rounds >= mustHit {
						t.Logf("%d of %d kills after %v", min(done+stretch, mine), mine, time.Since(start).Round(time.Second))
					}
				}
			})
		}
	})
	t.Logf("%d kills in %v, %d commands and %d appended messages acknowledged; %v", *rounds, time.Since(start).Round(time.Second), commands, messages, h)
	if missed := h.missed(); tapped && *only == "" && *rounds >= mustHit && len(missed) > 0 {
		t.Errorf("no kill fell into %q", missed)
	}
}

// runStretch kills the servers of a new data folder.
func runStretch(t *testing.T, random *rand.Rand, n int, tapped bool, h *hits) (commands, messages int) {
	s := newScene(t, random, tapped)
	server, err := s.n.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.prepare(server); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p := choose(random)
		for p.name != *only && (*only != "" || p.migrating && i < n*3/4) { // after that, the test can't check by itself
			p = choose(random)
		}
		where, err := s.kill(server, p)
		if err == nil {
			err = s.afterKill(p, &where)
		}
		if err != nil {
			t.Fatalf("round %d, %s: %v\nthe data are in %s", i, where, err, s.kept)
		}
		if where == anyMoment {
			h.count(anyMoment)
		} else {
			h.count(p.name)
		}
		if server, err = s.n.Start(); err != nil {
			t.Fatalf("round %d, %s: %v\nthe data are in %s", i, where, err, s.kept)
		}
		if err := s.settle(server, i%wholeEvery == wholeEvery-1 || i == n-1); err != nil {
			t.Fatalf("round %d, %s: %v\n%s\nthe data are in %s", i, where, err, server.Log(), s.kept)
		}
	}
	return s.total()
}

// afterKill keeps the data that the kill has left aside, kills a second time
// for a phase at the start, and has the storage check them: every other time
// in their place, so that not only the server's start cleans up.
func (s *scene) afterKill(p *phase, where *string) (err error) {
	if p.starting && s.n.Tap != nil {
		if *where, err = s.startAndKill(p); err != nil {
			return err
		}
	}
	if err := copyData(s.kept, s.n.Data); err != nil {
		return err
	}
	dice := s.random.IntN(4)
	if s.format > 1 || dice == 0 {
		return s.checkByCommand()
	}
	if dice == 1 {
		return check(s.n.Data)
	}
	again := s.kept + ".checked"
	if err := copyData(again, s.kept); err != nil {
		return err
	}
	if err := check(again); err != nil {
		return err
	}
	return os.RemoveAll(again)
}

// checkByCommand is the one way for a format that only the test build knows.
func (s *scene) checkByCommand() error {
	out, err := s.n.Run(context.Background(), "", "check")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
