package storage

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// upkeepTick is how often is looked what is due; also how long after Open
	// the first time comes.
	upkeepTick = time.Minute
	// upkeepSpread is over how long after the start the accounts get their
	// first turns: 1000 of them are not opened in a row.
	upkeepSpread = 4 * time.Hour
	// upkeepFar is how far ahead is planned: the clock may be put right.
	upkeepFar = 24 * time.Hour
)

// An upkeepJob is work in the background that comes back. A line in upkeepJobs
// adds one. Jobs of a store run one after the other, at low priority: in small
// steps with pacer.pause between them. They end soon when ctx ends, which is
// when the store is closed, and go on from where they were the next time.
type upkeepJob struct {
	name   string
	period time.Duration
	// aged jobs delete by age: they wait until the clock is trusted.
	aged bool
	// store does the job for the whole store, once a period.
	store func(ctx context.Context, st *Store) error
	// account does it for one account, at most once a period. An account that
	// nobody wrote to since the last time is left alone until next, for ever
	// if next is zero: its files need not be opened.
	account func(ctx context.Context, a *Account) (next time.Time, err error)
}

// upkeepJobs is the table of the jobs, in the order in which they run.
func upkeepJobs() []upkeepJob {
	return []upkeepJob{
		{name: "note", period: time.Hour, store: func(_ context.Context, st *Store) error { return st.noteAccounts() }},
		{name: "old formats", period: 24 * time.Hour, aged: true, store: func(_ context.Context, st *Store) error { return st.dropOldFormats() }},
		{name: "deleted", period: time.Hour, aged: true, store: func(ctx context.Context, st *Store) error { return st.expireDeleted(ctx) }},
		{name: "kept", period: time.Hour, aged: true, account: func(ctx context.Context, a *Account) (time.Time, error) { return a.expireWhenDue(ctx) }},
		{name: "purge", period: time.Hour, account: func(ctx context.Context, a *Account) (time.Time, error) { return a.finishPurge(ctx) }},
		{name: "retention", period: 6 * time.Hour, aged: true, account: func(ctx context.Context, a *Account) (time.Time, error) { return a.retainWhenDue(ctx) }},
		{name: "compact", period: compactPeriod, account: func(ctx context.Context, a *Account) (time.Time, error) { return a.compactWhenDue(ctx) }},
	}
}

// UpkeepState is how a job of the upkeep is doing.
type UpkeepState struct {
	Name    string
	Running bool
	Account AccountID     // that it is working on, or worked on last
	Runs    int           // since the start
	Last    time.Time     // when it last ended, zero if it never ran
	Took    time.Duration // the last time
	Err     error         // of the last time
	ErrAt   AccountID     // that Err is about, if it is about one
}

// upkeep runs the jobs of a store.
type upkeep struct {
	st     *Store
	jobs   []upkeepJob
	every  time.Duration // it looks what is due
	spread time.Duration // of the accounts' first turns
	ctx    context.Context
	cancel context.CancelFunc

	running sync.Mutex // held by who runs jobs
	turns   []jobTurns // of each job; who runs jobs has them

	mu     sync.Mutex
	timer  *time.Timer
	closed bool
	states []UpkeepState
}

// jobTurns say when a job is due.
type jobTurns struct {
	due      time.Duration // of a job for the whole store, in steady time
	accounts map[AccountID]*accountTurn
}

type accountTurn struct {
	earliest time.Duration // after the last run
	due      time.Duration // even if nobody writes; 0 for never
	writes   uint64        // that the last run saw
}

// startUpkeep plans the first turns. No goroutine waits for them.
func (st *Store) startUpkeep() {
	u := &upkeep{st: st, jobs: upkeepJobs()}
	u.every, u.spread = st.opts.upkeepTimes(u.jobs)
	u.ctx, u.cancel = context.WithCancel(context.Background())
	now := st.clock.source.Steady()
	for _, j := range u.jobs {
		u.turns = append(u.turns, jobTurns{due: now + j.period, accounts: map[AccountID]*accountTurn{}})
		u.states = append(u.states, UpkeepState{Name: j.name})
	}
	st.upkeep = u
	u.timer = time.AfterFunc(u.every, u.tick)
}

// stop ends the jobs, and returns when none runs any more.
func (u *upkeep) stop() {
	u.cancel()
	u.mu.Lock()
	u.closed = true
	u.timer.Stop()
	u.mu.Unlock()
	u.running.Lock()
	defer u.running.Unlock()
}

// Upkeep tells how the jobs in the background are doing.
func (st *Store) Upkeep() []UpkeepState {
	u := st.upkeep
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.states)
}

// tick does what is due, and plans the next look.
func (u *upkeep) tick() {
	u.running.Lock()
	defer u.running.Unlock()
	u.runDue()
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed {
		u.timer.Reset(u.every)
	}
}

// runDue runs the jobs that are due.
func (u *upkeep) runDue() {
	for i := range u.jobs {
		j := &u.jobs[i]
		if u.ctx.Err() != nil || u.st.available() != nil {
			return
		}
		if j.aged && !u.st.clockTrusted() {
			continue // its accounts need not even be opened
		}
		if j.store != nil {
			u.runStore(i)
		} else {
			u.runAccounts(i)
		}
	}
}

func (u *upkeep) runStore(i int) {
	steady := u.st.clock.source.Steady
	if steady() < u.turns[i].due {
		return
	}
	u.run(i, "", func() error { return u.jobs[i].store(u.ctx, u.st) })
	u.turns[i].due = steady() + u.jobs[i].period
}

// runAccounts runs a job for the accounts whose turn it is.
func (u *upkeep) runAccounts(i int) {
	all, err := u.st.accountIDs()
	if err != nil {
		u.st.log.Warn("upkeep_failed", "job", u.jobs[i].name, "error", err)
		return
	}
	turns := u.turns[i].accounts
	var p pacer
	for _, id := range all {
		a := u.dueAccount(turns, id)
		if a == nil {
			continue
		}
		p.begin()
		u.runAccount(i, a, turns[id])
		if p.pause(u.ctx, a) != nil {
			return
		}
	}
	if len(turns) > len(all) {
		for id := range turns {
			if !slices.Contains(all, id) {
				delete(turns, id)
			}
		}
	}
}

// dueAccount returns the account if it is its turn.
func (u *upkeep) dueAccount(turns map[AccountID]*accountTurn, id AccountID) *Account {
	now := u.st.clock.source.Steady()
	t := turns[id]
	if t == nil {
		h := fnv.New32a()
		_, _ = h.Write([]byte(id)) // never fails
		t = &accountTurn{due: now + time.Duration(h.Sum32())%u.spread + 1}
		turns[id] = t
	}
	if now < t.earliest {
		return nil
	}
	due := t.due > 0 && now >= t.due
	a := u.st.known(id)
	if !due && (a == nil || a.writes.Load() == t.writes) {
		return nil
	}
	if a == nil {
		var err error
		if a, err = u.st.Account(id); err != nil {
			return nil // deleted meanwhile
		}
	}
	return a
}

// runAccount runs a job for one account. Its files are closed again at once if
// nobody else wanted them.
func (u *upkeep) runAccount(i int, a *Account, t *accountTurn) {
	a.mu.Lock()
	wasOpen := a.f != nil
	a.mu.Unlock()
	var next time.Time
	j := &u.jobs[i]
	err := u.run(i, a.id, func() (err error) {
		next, err = j.account(u.ctx, a)
		return err
	})
	if u.ctx.Err() != nil {
		return
	}
	now := u.st.clock.source.Steady()
	t.earliest, t.due, t.writes = now+j.period, 0, a.writes.Load()
	switch {
	case err != nil:
		t.due = now + max(j.period, time.Hour)
	case !next.IsZero():
		t.due = now + max(min(next.Sub(u.st.now()), upkeepFar), j.period)
	}
	if !wasOpen {
		a.closeUnused()
	}
}

// run runs a job and notes how it went.
func (u *upkeep) run(i int, id AccountID, do func() error) error {
	u.mu.Lock()
	s := &u.states[i]
	s.Running, s.Account = true, id
	u.mu.Unlock()
	start := time.Now()
	err := survive(do)
	if errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) || errors.Is(err, ErrNoAccount) {
		err = nil // the store is being closed, or the account is gone
	}
	u.mu.Lock()
	s.Running, s.Runs, s.Last, s.Took = false, s.Runs+1, u.st.now(), time.Since(start)
	if err != nil || id == s.ErrAt {
		s.Err, s.ErrAt = err, id
	}
	u.mu.Unlock()
	if err != nil {
		u.st.log.Warn("upkeep_failed", "job", s.Name, "account", string(id), "error", err)
	}
	return err
}

// A pacer lets work in the background step aside for who waits: after each
// step it rests for a time in proportion to the step, and as long as the
// account is written to.
type pacer struct{ began time.Time }

const (
	// pacerShare of the time is for the work.
	pacerShare = 4
	// pacerRest is the longest rest after a step, however long that took, and
	// the longest wait for a writer who never rests.
	pacerRest = 500 * time.Millisecond
)

// begin says that a step begins; pause does too.
func (p *pacer) begin() { p.began = time.Now() }

// pause rests between two steps. It fails when ctx ended.
func (p *pacer) pause(ctx context.Context, a *Account) error {
	if p.began.IsZero() {
		p.begin()
	}
	rest := min(max((pacerShare-1)*time.Since(p.began), time.Millisecond), pacerRest)
	for end := time.Now().Add(pacerRest); ; rest = 5 * time.Millisecond {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rest):
		}
		if a == nil || a.writer.quiet() || time.Now().After(end) {
			p.begin()
			return nil
		}
	}
}

// accountIDs lists all accounts.
func (st *Store) accountIDs() (all []AccountID, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketAccounts).ForEach(func(k, _ []byte) error {
			all = append(all, AccountID(k))
			return nil
		})
	})
	return all, err
}

// known is the account if it was used since the store was opened.
func (st *Store) known(id AccountID) *Account {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.accounts[id]
}

// closeUnused closes the account's files now if nobody uses them.
func (a *Account) closeUnused() {
	a.mu.Lock()
	unused := a.f != nil && a.users == 0 && a.writer.quiet()
	a.mu.Unlock()
	if unused {
		a.closeAtRest()
	}
}
