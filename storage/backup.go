package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A BackupPart is a step of a backup on its way to the copy.
type BackupPart struct {
	Kind BackupKind `json:"kind"`
	// Folder is the account's in "accounts"; "" is the data folder.
	Folder string `json:"folder,omitempty"`
	// Name of the account, or of a file in Folder.
	Name string `json:"name,omitempty"`
	// State names what a file holds: a file with the same state is the same.
	State  string `json:"state,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Data   []byte `json:"-"`
	Text   string `json:"text,omitempty"`
}

// BackupKind says what a BackupPart is.
type BackupKind string

// The parts of a backup. Those of a folder are not mixed with others'; those of
// its files may be.
const (
	BackupFolder BackupKind = "folder" // begins an account
	BackupFile   BackupKind = "file"   // begins a file, or begins it again: what came before is void
	BackupData   BackupKind = "data"   // Data at Offset of it; what nothing is said of is zero
	BackupDone   BackupKind = "done"   // the file is complete: Size, State
	BackupKeep   BackupKind = "keep"   // the file that the copy has is the same
	BackupWhole  BackupKind = "whole"  // the account is complete
	BackupFailed BackupKind = "failed" // the account can't be copied: Text
	BackupEnd    BackupKind = "end"    // the data folder is complete
)

// BackupHave is what a copy has already: the states of files by folder and name.
type BackupHave map[string]map[string]string

const (
	mailFile  = "mail.db"
	flagsFile = "flags.journal"
	// settleOctets of what changed meanwhile are read in one go at the end; it
	// is doubled with each attempt, up to settleMost.
	settleOctets = 2 << 20
	settleMost   = 16 << 20
	settleTries  = 100
	// slowAfter attempts the account's writer is slowed down.
	slowAfter = 6
	// patientAfter so many, and again after as many, the frozen state is held
	// twice as long: on a machine that has no time left for the copy, longer
	// waits of a writer that maps its file anew are better than no backup.
	patientAfter = 10
)

// An accountBackup copies an account as it is between two commits, while it is
// in use.
type accountBackup struct {
	ctx    context.Context
	a      *Account
	f      *files
	folder string
	have   map[string]string

	out    chan *BackupPart
	failed chan struct{} // closed when the receiver failed with err
	err    error

	sealed map[uint16]uint64 // volumes that were handed out: their counters, as the index saw them

	mu      sync.Mutex // of what the writer's goroutine shares
	mail    *fileCopy
	last    *fileCopy // the volume that is written to, if any
	frozen  *frozen
	lastMap heldMap // of last

	// The longest that a state was held under one transaction, and that the
	// writer was.
	held, stopped time.Duration
}

// A fileCopy is one file of the account that is written to.
type fileCopy struct {
	pageCopy
	file   string
	volume uint16
	begun  bool
	next   *pinned // the frozen state
}

// frozen is the account between two commits.
type frozen struct {
	journal  []byte
	position []byte // of the journal, for the state
	seen     map[uint16]uint64
	last     uint16
}

// backup hands out the account's files. What of them have names is kept.
func (a *Account) backup(ctx context.Context, folder string, have map[string]string, sink func(*BackupPart) error) error {
	f, err := a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &accountBackup{ctx: ctx, a: a, f: f, folder: folder, have: have, out: make(chan *BackupPart), failed: make(chan struct{}), sealed: map[uint16]uint64{}}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for part := range b.out {
			if b.err != nil {
				continue
			}
			if b.err = sink(part); b.err != nil {
				close(b.failed)
			}
		}
	}()
	err = b.run()
	b.unpin()
	f.maps().give(&b.lastMap)
	if err == nil {
		a.st.log.Info("backup_account", "account", string(a.id), "held_ms", b.held.Milliseconds(), "stopped_ms", b.stopped.Milliseconds())
	}
	close(b.out)
	<-sent
	return errors.Join(err, b.err)
}

func (c *fileCopy) unpin() {
	if c == nil {
		return
	}
	c.pin.close()
	c.next.close()
	c.next, c.sent, c.done, c.begun = nil, nil, nil, false
}

// emit hands out a part. While the receiver is busy, the pins roll on.
func (b *accountBackup) emit(part *BackupPart) error {
	part.Folder = b.folder
	// Many small parts may each find the receiver ready before the first tick.
	if err := b.roll(); err != nil {
		return err
	}
	timer := time.NewTicker(pinTime)
	defer timer.Stop()
	for {
		select {
		case b.out <- part:
			return nil
		case <-b.failed:
			return errBackupStopped
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-timer.C:
			if err := b.roll(); err != nil {
				return err
			}
		}
	}
}

// errBackupStopped says that the receiver's error is the one to tell.
var errBackupStopped = errors.New("the backup was stopped")

func (b *accountBackup) emitRuns(name string, runs []pageRun) error {
	for _, r := range joinRuns(runs) {
		if err := b.emit(&BackupPart{Kind: BackupData, Name: name, Offset: r.offset, Data: r.data}); err != nil {
			return err
		}
	}
	return nil
}

// joinRuns joins neighbours, which are neighbours in memory too if one slice
// read them.
func joinRuns(runs []pageRun) (joined []pageRun) {
	for _, r := range runs {
		if n := len(joined); n > 0 && joined[n-1].offset+int64(len(joined[n-1].data)) == r.offset && len(joined[n-1].data) < copySlice {
			last := &joined[n-1]
			last.data = append(last.data, r.data...)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// roll lets the pins follow.
func (b *accountBackup) roll() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range []*fileCopy{b.mail, b.last} {
		if c == nil || c.now == nil || b.frozen != nil {
			continue
		}
		if err := b.follow(c); err != nil {
			return err
		}
	}
	return nil
}

// follow lets the pin of one file follow.
func (b *accountBackup) follow(c *fileCopy) error {
	was := c.now
	err := c.roll()
	if was != nil && was != c.now {
		b.held = max(b.held, time.Since(was.since))
	}
	return err
}

func (b *accountBackup) run() error {
	b.mail = &fileCopy{file: mailFile, pageCopy: pageCopy{pin: pin{name: mailFile, begin: func() (*pinned, error) { return b.f.mail.beginPin(func() {}) }}}}
	for try := 0; ; try++ {
		if try == settleTries {
			return fmt.Errorf("%w: the account is written to faster than the copy can follow; try again when it is quieter", ErrUnavailable)
		}
		if try == slowAfter {
			defer b.slow()()
		}
		ok, err := b.try(try)
		if ok || err != nil {
			return err
		}
	}
}

// try copies what is missing and then, between two commits, what changed
// meanwhile. It reports false if that was too much for a moment.
func (b *accountBackup) try(n int) (bool, error) {
	if err := b.sealedVolumes(); err != nil {
		return false, err
	}
	if n > 0 || len(b.have) == 0 { // perhaps nothing changed at all
		for _, c := range []*fileCopy{b.last, b.mail} {
			if err := b.pass(c); err != nil {
				return false, err
			}
		}
	}
	if err := b.freeze(); err != nil {
		return false, err
	}
	return b.settle(min(settleOctets<<min(n, 8), settleMost), frozenTime<<min(n/patientAfter, 5))
}

// slow gives the copy the time to follow a writer that is faster: half of it.
func (b *accountBackup) slow() (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	go func() {
		for ctx.Err() == nil {
			_ = b.a.exec(func(*files) error { time.Sleep(pinPatience); return nil })
			time.Sleep(pinPatience)
		}
	}()
	return cancel
}

// pass hands out pages of a file until none is missing of the state that the
// pin has by then.
func (b *accountBackup) pass(c *fileCopy) error {
	if c == nil {
		return nil
	}
	if same, err := b.unchanged(c); same || err != nil {
		return err
	}
	for {
		if err := b.begin(c); err != nil {
			return err
		}
		s := newPageSlice(copySlice, copyTime)
		b.mu.Lock()
		complete, err := c.slice(s)
		b.mu.Unlock()
		if err == nil {
			err = b.emitRuns(c.file, s.runs)
		}
		if err != nil {
			return err
		}
		if complete && !c.again {
			return nil
		}
	}
}

// unchanged looks whether the copy has a volume as it is.
func (b *accountBackup) unchanged(c *fileCopy) (bool, error) {
	if c.begun || c.volume == 0 || b.have[c.file] == "" {
		return false, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := c.roll(); err != nil {
		return false, err
	}
	state, err := c.now.state(nil)
	return state == b.have[c.file], err
}

// begin pins the file and tells the receiver of it, at first and when the copy
// begins again.
func (b *accountBackup) begin(c *fileCopy) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	err := b.follow(c)
	b.mu.Unlock()
	for err == nil && (c.again || !c.begun) {
		c.again, c.begun = false, true
		err = b.emit(&BackupPart{Kind: BackupFile, Name: c.file})
	}
	return err
}

// freeze has the writer's goroutine take the account's state between two
// commits.
func (b *accountBackup) freeze() error {
	return b.between(func(f *files) error {
		start := time.Now()
		b.mu.Lock()
		defer b.mu.Unlock()
		err := b.take(f)
		b.stopped = max(b.stopped, time.Since(start))
		return err
	})
}

func (b *accountBackup) unpin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mail.unpin()
	b.last.unpin()
}

// take is freeze's part between two commits: no transaction of the writer is
// open, so that nothing here can wait.
func (b *accountBackup) take(f *files) (err error) {
	if f != b.f {
		return ErrClosed
	}
	vs := &f.blobs.volumes
	z := &frozen{seen: map[uint16]uint64{}, last: vs.last}
	for n := uint16(1); n != 0 && n <= vs.last; n++ {
		if counter := vs.lastSeen(n); counter > 0 {
			z.seen[n] = counter
		}
	}
	if j := f.journal; j.file != nil && j.end > 0 {
		z.journal = make([]byte, j.end)
		if _, err := j.file.ReadAt(z.journal, 0); err != nil {
			return err
		}
		z.position = binary.LittleEndian.AppendUint64(z.position, j.epoch)
		z.position = binary.LittleEndian.AppendUint64(z.position, uint64(j.end))
		z.position = binary.LittleEndian.AppendUint32(z.position, j.crc)
	}
	for _, c := range []*fileCopy{b.mail, b.last} {
		if c == nil {
			continue
		}
		if c.next, err = c.pin.begin(); err != nil {
			return err
		}
	}
	b.frozen = z
	return nil
}
