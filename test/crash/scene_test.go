package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nestbox/storage"
	"nestbox/test/raw"
	"nestbox/test/rig"
	"nestbox/test/tap"
)

// accounts are two, so that the files of several are open at the kill.
var accounts = []string{"ann", "bob"}

const password = "secret word"

// A scene is a data folder and all that works on its server.
type scene struct {
	n         *rig.Nestbox
	random    *rand.Rand
	workers   map[string][]*worker // by account
	appenders []*appender          // all in one mailbox of accounts[0]
	bulk      *bulk                // in accounts[1]
	keeper    *keeper              // in accounts[0]
	shredder  *shredder            // in accounts[1]
	vault     *vault               // in accounts[0]
	office    *office              // makes others

	names   map[string]string // of accounts, by the name of their folder
	board   board
	trigger trigger
	// vanished: the data folder isn't there, and clients are told so.
	vanished atomic.Bool
	kept     string // the data as the last kill left them
	format   int    // of the data; above 1 only the test build can read them

	tool        *rig.Nestbox // runs commands, which toolTrigger may kill
	toolTrigger trigger
}

const shared = "shared"

// newScene makes a data folder. tapped: kills come at chosen calls.
func newScene(t *testing.T, random *rand.Rand, tapped bool) *scene {
	t.Helper()
	binary, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{
		n:       &rig.Nestbox{Binary: binary, Data: filepath.Join(t.TempDir(), "data")},
		random:  random,
		workers: map[string][]*worker{},
		names:   map[string]string{},
		format:  1,
	}
	s.trigger.s = s
	s.bulk = &bulk{name: "bulk", account: accounts[1], board: &s.board}
	if _, err := s.n.Run(t.Context(), "", "init"); err != nil {
		t.Fatal(err)
	}
	for _, account := range accounts {
		if err := s.n.AddAccount(t.Context(), account, password); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			w := newWorker(fmt.Sprintf("w%d", i), s.random.Uint64())
			w.account, w.board = account, &s.board
			s.workers[account] = append(s.workers[account], w)
		}
	}
	for i := range 2 {
		a := newAppender(fmt.Sprintf("appender%d", i), shared, s.random.Uint64())
		a.account, a.board = accounts[0], &s.board
		s.appenders = append(s.appenders, a)
	}
	s.office = newOffice(s.random.Uint64())
	vaultDir := t.TempDir()
	s.vault = newVault(s, vaultDir)
	s.shredder = &shredder{s: s, random: rand.New(rand.NewPCG(s.random.Uint64(), 7))}
	s.keeper = newKeeper(accounts[0], &s.board, s.random.Uint64())
	if err := s.findNames(); err != nil {
		t.Fatal(err)
	}
	s.n.Env = append(s.n.Env, "TEST_NESTBOX_VOLUME=4194304", "TEST_NESTBOX_UPKEEP_MS=100", fmt.Sprintf("TEST_NESTBOX_FIRST_BODIES=%d", 1<<(16+random.IntN(6))),
		fmt.Sprintf("TEST_NESTBOX_COMPACT=%d", random.IntN(2)))
	if tapped {
		s.n.Tap = &tap.Options{Root: s.n.Data, NoSync: random.IntN(2) == 0, Before: s.trigger.before, After: s.trigger.done}
	}
	s.tool, s.toolTrigger.s = new(rig.Nestbox), s
	*s.tool = *s.n
	if tapped {
		s.tool.RunTap = s.toolOptions(vaultDir)
	}
	dir, err := memoryDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			dir = filepath.Dir(s.kept)
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	})
	s.kept = filepath.Join(dir, "data")
	return s
}

// findNames learns which folder is whose.
func (s *scene) findNames() error {
	st, err := storage.Open(s.n.Data, storage.Options{Version: "test"})
	if err != nil {
		return err
	}
	infos, err := st.Accounts()
	for _, info := range infos {
		s.names[string(info.ID)] = info.Name
		if info.Name == accounts[1] { // what is expunged there goes for good
			err = errors.Join(err, st.SetAccountSetting(info.ID, storage.SettingKeptDays, "0"))
		}
	}
	return errors.Join(err, st.Close())
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
	return errors.Join(c.Recreate(shared), c.Recreate(s.keeper.mailbox()), c.Recreate(vaultMailbox), d.Recreate(shredMailbox), s.bulk.prepare(d), c.Close(), d.Close())
}

// A round is the life of one server, up to the kill.
type round struct {
	server *rig.Server
	stop   chan struct{} // closed: clients send nothing more
	jobs   []*job
	errs   []error
	ended  sync.WaitGroup
	where  string // the kill fell, if the load knows
}

type job struct {
	account string
	work    func(*raw.Conn, <-chan struct{}) error
	c       *raw.Conn
}

// begin connects all clients and lets them work.
func (s *scene) begin(r *round) error {
	r.stop = make(chan struct{})
	r.jobs = []*job{{account: accounts[1], work: s.bulk.work}, {account: accounts[0], work: s.keeper.work}}
	r.jobs = append(r.jobs, &job{account: accounts[0], work: s.vault.work})
	for account, workers := range s.workers {
		for _, w := range workers {
			r.jobs = append(r.jobs, &job{account: account, work: w.work})
		}
	}
	for _, a := range s.appenders {
		r.jobs = append(r.jobs, &job{account: accounts[0], work: a.work})
	}
	for _, j := range r.jobs {
		var err error
		if j.c, err = r.server.Connect(j.account, password); err != nil {
			return err
		}
	}
	r.errs = make([]error, len(r.jobs))
	for i, j := range r.jobs {
		r.ended.Go(func() { r.errs[i] = j.work(j.c, r.stop) })
	}
	return nil
}

// end waits for the clients of a server that is gone.
func (r *round) end(refused func(error) bool) error {
	r.ended.Wait()
	for _, j := range r.jobs {
		if j.c != nil {
			_ = j.c.Close() // of a server that is gone
		}
	}
	for i, err := range r.errs {
		if refused(err) {
			r.errs[i] = nil
		}
	}
	return errors.Join(r.errs...)
}

// kill lets the phase's load work until the trigger kills the server, or the
// clock does. It returns where the kill fell.
func (s *scene) kill(server *rig.Server, p *phase) (where string, err error) {
	s.board.clear()
	r := &round{server: server}
	limit := roundTime
	if p.tool || p.slow {
		limit *= 3
	}
	if p.starting || s.n.Tap == nil {
		// Not a wait for anything: the moment of the kill.
		limit = time.Duration(20+s.random.IntN(500)) * time.Millisecond
	} else if p.tool {
		s.toolTrigger.arm(p, s.random)
	} else {
		s.trigger.arm(p, s.random)
	}
	killer := time.AfterFunc(limit, func() { _ = server.Kill() })
	defer killer.Stop()
	s.vanished.Store(false)
	s.vault.rests = false
	load := p.load
	if load == nil {
		load = (*scene).fullLoad
	}
	err = load(s, r)
	<-server.Done()
	if where = s.trigger.disarm() + s.toolTrigger.disarm() + r.where; where == "" {
		where = anyMoment
	}
	err = errors.Join(err, r.end(s.refused), server.Kill())
	if (p.tool || p.slow) && s.format == 1 {
		err = errors.Join(err, s.vault.verify())
	}
	if !server.WasKilled() && p.name != "stop" {
		err = errors.Join(err, errors.New("the server ended by itself"))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", where, err, server.Log())
	}
	return where, err
}

// fullLoad: all clients work until the server is gone.
func (s *scene) fullLoad(r *round) error { return s.unlessKilled(r, s.begin(r)) }

// unlessKilled forgets the error of a load whose server was killed meanwhile.
func (s *scene) unlessKilled(r *round, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-r.server.Done():
		return nil
	case <-time.After(5 * time.Second): // the kill is under way, or it is an error
		return errors.Join(err, r.server.Kill())
	}
}

// quietLoad: the clients work for a moment and then say nothing, so that the
// server does what waits for such times.
func (s *scene) quietLoad(r *round) error {
	if err := s.begin(r); err != nil {
		return s.unlessKilled(r, err)
	}
	select {
	case <-r.server.Done():
	case <-time.After(time.Duration(50+s.random.IntN(200)) * time.Millisecond):
	}
	close(r.stop)
	return nil
}

// stopLoad: the server is told to stop while the clients work.
func (s *scene) stopLoad(r *round) error {
	goOn := s.trigger.hold() // until then
	if err := s.begin(r); err != nil {
		return s.unlessKilled(r, err)
	}
	select {
	case <-r.server.Done():
	case <-time.After(time.Duration(20+s.random.IntN(100)) * time.Millisecond):
		goOn()
		_ = r.server.Signal(syscall.SIGTERM) // unless it is gone already
	}
	return nil
}

// vanishLoad: the data folder goes away while the clients work, as a disk that
// is pulled out, and the server is killed before it is back.
func (s *scene) vanishLoad(r *round) (err error) {
	if err := s.begin(r); err != nil {
		return s.unlessKilled(r, err)
	}
	pause := func() { // not a wait for anything: moments
		select {
		case <-r.server.Done():
		case <-time.After(time.Duration(20+s.random.IntN(400)) * time.Millisecond):
		}
	}
	pause()
	away := s.n.Data + ".away"
	s.vanished.Store(true)
	if err := os.Rename(s.n.Data, away); err != nil {
		return err
	}
	pause()
	if !r.server.WasKilled() {
		r.where = "vanished disk"
	}
	err = r.server.Kill()
	if _, there := os.Stat(s.n.Data); there == nil {
		err = errors.Join(err, fmt.Errorf("the server made %s while its disk was away", s.n.Data))
	}
	return errors.Join(err, os.Rename(away, s.n.Data))
}

// refused reports whether a command may be refused: the disk is away.
func (s *scene) refused(err error) bool {
	var status *raw.StatusError
	return s.vanished.Load() && errors.As(err, &status) && strings.Contains(status.Text, "[UNAVAILABLE]")
}

// alive ends with the server.
func (r *round) alive() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-r.server.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// startAndKill starts the server and kills it on its way.
func (s *scene) startAndKill(p *phase) (where string, err error) {
	if p.migrating {
		s.format++
		s.n.Env = append(s.n.Env, fmt.Sprintf("TEST_NESTBOX_FORMAT=%d", s.format))
		s.tool.Env = s.n.Env
	}
	s.trigger.arm(p, s.random)
	server, err := s.n.Start()
	if err == nil {
		for _, account := range accounts {
			if c, err := server.Connect(account, password); err == nil {
				_, _ = readMailbox(c, "INBOX", false)
				_ = c.Close()
			}
		}
		select {
		case <-server.Done():
		case <-time.After(400 * time.Millisecond):
			err = server.Kill()
		}
	}
	if where = s.trigger.disarm(); where != "" {
		return where, nil
	}
	return anyMoment, err
}

// settle compares what is there with what was acknowledged. whole: byte by
// byte; else the bytes are read of what is new.
func (s *scene) settle(server *rig.Server, whole bool) error {
	errs := []error{s.settleOffice()}
	for i, account := range accounts {
		c, err := server.Connect(account, password)
		if err != nil {
			return err
		}
		for _, w := range s.workers[account] {
			errs = append(errs, w.settle(c, whole))
		}
		if err := c.Do("STATUS Recovered (MESSAGES)", nil); err == nil {
			errs = append(errs, fmt.Errorf("%s has a mailbox Recovered: messages lost their rows", account))
		}
		if i == 0 {
			errs = append(errs, settleAppenders(c, shared, s.appenders), s.settleKeeper(c), s.vault.settle(c))
		} else {
			errs = append(errs, s.bulk.settle(c), s.shredder.settle(c))
		}
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
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
