// Package crash kills the real server at random under load and looks whether
// everything that it acknowledged is there afterwards.
package crash

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"nestbox/storage"
	"nestbox/test/raw"
	"nestbox/test/rig"
)

var (
	rounds = flag.Int("rounds", 8, "how often the server is killed")
	seed   = flag.Uint64("seed", 0, "of all that is random; 0: another one each time")
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m.Run)) }

// accounts are two, so that the files of several are open at the kill.
var accounts = []string{"ann", "bob"}

const password = "secret word"

// A scene is all that works on the server at once.
type scene struct {
	n         *rig.Nestbox
	random    *rand.Rand
	workers   map[string][]*worker // by account
	appenders []*appender          // all in one mailbox of accounts[0]
	bulk      *bulk                // in accounts[1]
}

const shared = "shared"

// TestKill: kill -9 under load; after each restart all that was acknowledged
// is there, nothing is there by half, and storage.Check finds nothing.
//
//	go test ./test/crash -rounds 100
func TestKill(t *testing.T) {
	t.Parallel()
	s := newScene(t)
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
	for round := range *rounds {
		if err := s.load(server); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, server.Log())
		}
		if err := s.check(filepath.Join(t.TempDir(), "copy")); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if server, err = s.n.Start(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := s.settle(server); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, server.Log())
		}
	}
	commands, messages := s.total()
	t.Logf("%d kills, %d commands and %d appended messages acknowledged", *rounds, commands, messages)
}

func newScene(t *testing.T) *scene {
	t.Helper()
	binary, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	random := *seed
	if random == 0 {
		random = rand.Uint64()
	}
	t.Logf("seed %d", random)
	s := &scene{
		n:       &rig.Nestbox{Binary: binary, Data: filepath.Join(t.TempDir(), "data")},
		random:  rand.New(rand.NewPCG(random, 0)),
		workers: map[string][]*worker{},
		bulk:    &bulk{name: "bulk"},
	}
	if _, err := s.n.Run(t.Context(), "", "init"); err != nil {
		t.Fatal(err)
	}
	for _, account := range accounts {
		if err := s.n.AddAccount(t.Context(), account, password); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			s.workers[account] = append(s.workers[account], newWorker(fmt.Sprintf("w%d", i), s.random.Uint64()))
		}
	}
	for i := range 2 {
		s.appenders = append(s.appenders, newAppender(fmt.Sprintf("appender%d", i), shared, s.random.Uint64()))
	}
	return s
}

func (s *scene) prepare(server *rig.Server) error {
	c, err := server.Connect(accounts[0], password)
	if err != nil {
		return err
	}
	d, err := server.Connect(accounts[1], password)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return errors.Join(c.Recreate(shared), s.bulk.prepare(d), c.Close(), d.Close())
}

// load lets all work, and kills the server at a random moment.
func (s *scene) load(server *rig.Server) error {
	type job struct {
		account string
		work    func(*raw.Conn) error
	}
	jobs := []job{{accounts[1], s.bulk.work}}
	for account, workers := range s.workers {
		for _, w := range workers {
			jobs = append(jobs, job{account, w.work})
		}
	}
	for _, a := range s.appenders {
		jobs = append(jobs, job{accounts[0], a.work})
	}
	connections := make([]*raw.Conn, len(jobs))
	for i, j := range jobs {
		c, err := server.Connect(j.account, password)
		if err != nil {
			return errors.Join(err, server.Kill())
		}
		defer c.Close()
		connections[i] = c
	}
	errs := make([]error, len(jobs))
	var running sync.WaitGroup
	for i, j := range jobs {
		running.Go(func() { errs[i] = j.work(connections[i]) })
	}
	// Not a wait for anything: the moment of the kill.
	time.Sleep(time.Duration(20+s.random.IntN(700)) * time.Millisecond)
	err := server.Kill()
	running.Wait()
	return errors.Join(append(errs, err)...)
}

// settle compares what is there with what was acknowledged.
func (s *scene) settle(server *rig.Server) error {
	var errs []error
	for i, account := range accounts {
		c, err := server.Connect(account, password)
		if err != nil {
			return err
		}
		for _, w := range s.workers[account] {
			errs = append(errs, w.settle(c))
		}
		if i == 0 {
			errs = append(errs, settleAppenders(c, shared, s.appenders))
		} else {
			errs = append(errs, s.bulk.settle(c))
		}
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// check opens a copy of the data as the kill has left them and lets the
// storage check itself.
func (s *scene) check(dir string) error {
	if err := copyData(dir, s.n.Data); err != nil {
		return err
	}
	st, err := storage.Open(dir, storage.Options{Version: "test"})
	if err != nil {
		return err
	}
	findings, err := checkAll(st)
	for _, f := range findings {
		err = errors.Join(err, errors.New("check: "+f))
	}
	return errors.Join(err, st.Close(), os.RemoveAll(dir))
}

// copyData copies the files of a data folder; the control socket is none.
func copyData(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !e.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
}

func checkAll(st *storage.Store) ([]string, error) {
	findings, err := st.Check()
	if err != nil {
		return nil, err
	}
	infos, err := st.Accounts()
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		a, err := st.Account(info.ID)
		if err != nil {
			return nil, err
		}
		more, err := a.Check()
		if err != nil {
			return nil, err
		}
		findings = append(findings, more...)
	}
	return findings, nil
}

func (s *scene) total() (commands, messages int) {
	for _, workers := range s.workers {
		for _, w := range workers {
			commands += w.acked
		}
	}
	for _, a := range s.appenders {
		messages += a.serial - 1
	}
	return commands, messages
}
