package storage

import (
	"errors"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Limits of one transaction: bbolt keeps every page that it changes on the
// heap until the commit (STORAGE.md §2, §5).
const (
	batchBodies = 1 << 20 // octets of bodies
	batchRows   = 1000    // message rows of requests that share a commit
	sliceRows   = 2500    // message rows, in UID order, of one big request
	// lingerMax bounds the wait for the clients of the last batch.
	lingerMax = 2 * time.Millisecond
	// settleTime after the last write comes the work that can wait.
	settleTime = 300 * time.Millisecond
)

// A request is one write. All requests that queued up while the last commit
// was being synced share the next one.
type request interface {
	// bodies are the uploads that must be stored before the transaction.
	bodies() []*Upload
	// rows is how many message rows it will touch. One with more than
	// batchRows is run alone, in slices.
	rows() int
	// apply writes the request into w. All checks come before the first Put,
	// so that a refused request has written nothing and the others of the
	// batch go on. more asks for another transaction.
	apply(w *txn) (more bool, err error)
	// rewind forgets what the last apply did: its transaction failed, and the
	// request will be applied again.
	rewind()
	// frees reports whether the request is one that must go on when the disk
	// is full: it makes room, or needs none to speak of.
	frees() bool
}

// A flagRequest changes nothing but flags and can go into the journal.
type flagRequest interface {
	request
	applyFlags(w flagWriter) (more bool, err error)
}

type job struct {
	req  request
	fn   func(*files) error // instead of req
	done chan struct{}
	err  error
}

// writer is the account's queue. Its goroutine lives while there is work.
type writer struct {
	a       *Account
	mu      sync.Mutex
	queue   []*job
	running bool
	arrived chan struct{} // signals the lingering writer; made when first needed
	wrote   bool          // a request came since the last quiet work was planned
	settle  *time.Timer
}

// do queues req and waits until it is on disk.
func (a *Account) do(req request) error { return a.writer.run(&job{req: req}) }

// exec runs fn in the writer's goroutine, between two commits.
func (a *Account) exec(fn func(f *files) error) error { return a.writer.run(&job{fn: fn}) }

func (wr *writer) run(j *job) error {
	j.done = make(chan struct{})
	wr.mu.Lock()
	wr.queue = append(wr.queue, j)
	if wr.arrived == nil {
		wr.arrived = make(chan struct{}, 1)
	}
	if wr.running {
		select {
		case wr.arrived <- struct{}{}:
		default:
		}
	} else {
		wr.running = true
		go wr.loop()
	}
	wr.mu.Unlock()
	<-j.done
	return j.err
}

// drain waits until everything queued is done.
func (wr *writer) drain() {
	wr.mu.Lock()
	if wr.settle != nil {
		wr.settle.Stop()
	}
	idle := !wr.running
	wr.mu.Unlock()
	if !idle {
		_ = wr.run(&job{fn: func(*files) error { return nil }})
	}
}

// loop takes batches from the queue until it is empty.
func (wr *writer) loop() {
	var last, lastSize = time.Duration(0), 0
	var f *files
	var openErr error
	for {
		if lastSize > 1 {
			wr.linger(lastSize, min(lingerMax, last/8))
		}
		batch := wr.take()
		if batch == nil {
			break
		}
		start := time.Now()
		if f != nil && wr.a.stale() {
			f.release()
			f = nil
		}
		if f == nil {
			f, openErr = wr.a.acquire()
		}
		if openErr != nil {
			for _, j := range batch {
				j.err = openErr
			}
		} else {
			f.write(batch)
		}
		last, lastSize = time.Since(start), len(batch)
		for _, j := range batch {
			wr.a.st.suspect(j.err)
			close(j.done)
		}
	}
	if f != nil {
		f.release()
	}
}

// linger waits for the clients whose requests were acknowledged together, so
// that they don't fall into batches of one and the rest (STORAGE.md §1).
func (wr *writer) linger(size int, most time.Duration) {
	var timeout <-chan time.Time
	for {
		wr.mu.Lock()
		n := len(wr.queue)
		wr.mu.Unlock()
		if n >= size {
			return
		}
		if timeout == nil {
			t := time.NewTimer(most)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-wr.arrived:
		case <-timeout:
			return
		}
	}
}

// take cuts the next batch from the queue; nil ends the loop.
func (wr *writer) take() []*job {
	wr.mu.Lock()
	defer wr.mu.Unlock()
	if len(wr.queue) == 0 {
		wr.running = false
		wr.queue = nil
		if wr.wrote {
			wr.wrote = false
			wr.later()
		}
		return nil
	}
	n, rows, octets := 0, 0, int64(0)
	for _, j := range wr.queue {
		if j.req == nil { // a function runs alone
			n = max(n, 1)
			break
		}
		rows += j.req.rows()
		for _, u := range j.req.bodies() {
			octets += u.staged()
		}
		if n > 0 && (rows > batchRows || octets > batchBodies) {
			break
		}
		n++
	}
	wr.wrote = wr.wrote || wr.queue[0].req != nil
	batch := wr.queue[:n:n]
	wr.queue = wr.queue[n:]
	return batch
}

// later plans the work that waits for a quiet moment. The lock is held.
func (wr *writer) later() {
	if wr.settle == nil {
		wr.settle = time.AfterFunc(settleTime, wr.a.quietWork)
		return
	}
	wr.settle.Reset(settleTime)
}

// quietWork moves a long journal into mail.db, removes bytes that belong to no
// message, and builds search signatures, a small step at a time, as long as
// nobody else writes.
func (a *Account) quietWork() {
	for more := true; more && a.writer.quiet(); {
		var err error
		if more, err = a.quietStep(); err != nil {
			if !errors.Is(err, ErrClosed) {
				a.st.log.Warn("quiet_work_failed", "account", string(a.id), "error", err)
			}
			return
		}
	}
	if a.writer.quiet() {
		a.trimAll()
	}
}

func (a *Account) quietStep() (more bool, err error) {
	err = a.exec(func(f *files) (err error) {
		if f.overlay.len() <= journalSoft {
			more, err = f.blobs.sweep()
			return err
		}
		more = true
		return f.foldSlice()
	})
	if more || err != nil {
		return more, err
	}
	return a.index.step(a.writer.quiet)
}

func (wr *writer) quiet() bool {
	wr.mu.Lock()
	defer wr.mu.Unlock()
	return !wr.running
}

// write runs one batch: all its requests in one commit, or its flag changes
// in one journal record.
func (f *files) write(batch []*job) {
	if batch[0].req == nil {
		batch[0].err = mapError(survive(func() error { return batch[0].fn(f) }))
		return
	}
	f.a.writes.Add(1)
	if f.writeJournal(batch) {
		return
	}
	if len(batch) == 1 && batch[0].req.rows() > batchRows {
		f.writeSlices(batch[0])
		return
	}
	f.commit(batch)
}

// commit is one durable step of the account: the bodies, then the index.
func (f *files) commit(batch []*job) {
	err := f.transact(batch, func(w *txn) error {
		for _, j := range batch {
			if _, j.err = j.req.apply(w); isFatal(j.err) {
				return j.err
			}
		}
		return nil
	})
	if err != nil && len(batch) > 1 {
		// One request's trouble is not its neighbours': each on its own.
		for _, j := range batch {
			j.req.rewind()
			f.commit([]*job{j})
		}
		return
	}
	if err != nil {
		batch[0].err = mapError(err)
	}
}

// writeSlices runs a big request alone, in as many commits as it needs.
func (f *files) writeSlices(j *job) {
	for more := true; more; {
		err := f.transact([]*job{j}, func(w *txn) (err error) {
			more, err = j.req.apply(w)
			return err
		})
		if err == nil {
			continue
		}
		j.err = mapError(err)
		if err := f.finishIntents(false); err != nil {
			f.a.st.log.Error("undo_failed", "account", string(f.a.id), "error", err)
		}
		return
	}
}

// transact stores the bodies of the batch, runs fn in a transaction and shows
// the result. When the disk is full and the batch is one that must go on, it
// is done again with the room of the reserve.
func (f *files) transact(batch []*job, fn func(w *txn) error) error {
	once := func() error {
		return mapError(survive(func() error {
			if err := f.storeBodies(batch); err != nil {
				return err
			}
			w, err := f.update(fn)
			if errors.Is(err, errNothing) {
				return nil
			}
			if err != nil {
				return err
			}
			w.publish()
			f.bodiesDone(batch)
			return nil
		}))
	}
	err := once()
	if !errors.Is(err, ErrDiskFull) {
		return err
	}
	for _, j := range batch {
		if !j.req.frees() {
			return err // the reserve is not for new mail
		}
	}
	if !f.a.st.giveReserve() {
		return err
	}
	for _, j := range batch {
		j.req.rewind()
	}
	return once()
}

// storeBodies writes the batch's new bodies that go to a body volume.
func (f *files) storeBodies(batch []*job) error {
	var ups []*Upload
	for _, j := range batch {
		ups = append(ups, j.req.bodies()...)
	}
	if len(ups) == 0 {
		return nil
	}
	return f.blobs.writeBodies(ups)
}

// bodiesDone ends the uploads of the requests that were done.
func (f *files) bodiesDone(batch []*job) {
	for _, j := range batch {
		if ups := j.req.bodies(); len(ups) > 0 && j.err == nil {
			if err := f.blobs.committed(ups); err != nil {
				f.a.st.log.Warn("upload_rest_failed", "account", string(f.a.id), "error", err) // freed at the next open
			}
		}
	}
}

// errNothing ends a transaction that has nothing to commit.
var errNothing = errors.New("nothing to commit")

// update runs fn in a transaction on mail.db. errNothing is the answer when
// fn wrote nothing.
func (f *files) update(fn func(w *txn) error) (w *txn, err error) {
	err = f.mail.Update(func(tx *bolt.Tx) error {
		w = newTxn(f, tx)
		if err := fn(w); err != nil {
			return err
		}
		if !w.dirty {
			return errNothing
		}
		return w.flush()
	})
	return w, err
}
