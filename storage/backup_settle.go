package storage

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// frozenTime bounds how long the frozen state is held, at first.
const frozenTime = 25 * time.Millisecond

// settle completes the copy of the frozen state if at most so many octets are
// missing, and can be read in that time, and hands out the rest of the account.
func (b *accountBackup) settle(most int, within time.Duration) (bool, error) {
	z := b.frozen
	finals, err := b.finish(most, within)
	if err != nil || finals == nil {
		return false, err
	}
	for _, x := range finals {
		if err := b.emitFinal(x); err != nil {
			return false, err
		}
	}
	if len(z.journal) > 0 {
		for _, part := range []*BackupPart{{Kind: BackupFile, Name: flagsFile},
			{Kind: BackupData, Name: flagsFile, Data: z.journal},
			{Kind: BackupDone, Name: flagsFile, Size: journalSize, State: fmt.Sprintf("%x", z.position)}} {
			if err := b.emit(part); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// A finalCopy is what completes the copy of a file.
type finalCopy struct {
	c     *fileCopy
	keep  bool
	slice *pageSlice
	size  int64
	state string
}

// finish reads what is missing of the frozen state. It gives nil if that is
// too much; what it read then is handed out, and stays good.
func (b *accountBackup) finish(most int, within time.Duration) (finals []finalCopy, err error) {
	z := b.frozen
	complete := !b.stale(z)
	until := time.Now().Add(within)
	b.mu.Lock()
	for _, c := range []*fileCopy{b.mail, b.last} {
		if c == nil {
			continue
		}
		x := finalCopy{c: c}
		var ok bool
		if ok, err = x.read(b.have, z, most, until); err != nil {
			break
		}
		complete = complete && ok
		finals = append(finals, x)
	}
	for _, x := range finals {
		if x.c.now != nil {
			b.held = max(b.held, time.Since(x.c.now.since))
		}
	}
	b.frozen = nil
	if err == nil && complete {
		for _, x := range finals {
			x.c.unpin()
		}
	}
	b.mu.Unlock()
	if err != nil || complete {
		return finals, err
	}
	for _, x := range finals {
		if x.slice == nil || len(x.slice.runs) == 0 {
			continue
		}
		if err = b.begin(x.c); err == nil {
			err = b.emitRuns(x.c.file, x.slice.runs)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// read moves a file's pin to the frozen state and reads what is missing of it.
func (x *finalCopy) read(have map[string]string, z *frozen, most int, until time.Time) (complete bool, err error) {
	c := x.c
	next := c.next
	c.next = nil
	if c.now == nil {
		c.now = next
	} else if err := c.pin.move(next, c.moved); err != nil {
		return false, err
	}
	var more []byte
	if c.volume == 0 {
		more = z.position
	}
	if x.state, err = c.now.state(more); err != nil {
		return false, err
	}
	if have[c.file] == x.state && !c.begun {
		x.keep = true
		return true, nil
	}
	if !c.begun || c.again {
		return false, nil
	}
	x.slice = newPageSlice(most, time.Until(until))
	if complete, err = c.slice(x.slice); err != nil || !complete {
		return false, err
	}
	x.size, err = c.head(x.slice)
	return true, err
}

func (b *accountBackup) emitFinal(x finalCopy) error {
	if x.keep {
		return b.emit(&BackupPart{Kind: BackupKeep, Name: x.c.file, State: x.state})
	}
	if err := b.emitRuns(x.c.file, x.slice.runs); err != nil {
		return err
	}
	return b.emit(&BackupPart{Kind: BackupDone, Name: x.c.file, Size: x.size, State: x.state})
}

// stale reports whether a sealed volume changed since it was handed out, or
// there is another volume that is written to.
func (b *accountBackup) stale(z *frozen) bool {
	last := uint16(0)
	if b.last != nil {
		last = b.last.volume
	}
	_, skipped := b.sealed[z.last]
	again := z.last != last && !skipped
	for n, counter := range z.seen {
		if copied, ok := b.sealed[n]; n != last && ok && copied != counter {
			delete(b.sealed, n)
			again = true
		}
	}
	return again
}

// sealedVolumes hands out the volumes that are not written to, and finds the
// one that is.
func (b *accountBackup) sealedVolumes() error {
	var last uint16
	if err := b.between(func(f *files) error {
		last = f.blobs.volumes.last
		return nil
	}); err != nil {
		return err
	}
	vs := &b.f.blobs.volumes
	if b.last != nil && b.last.volume != last {
		b.mu.Lock()
		b.last.unpin() // sealed since: it is copied as such
		b.last = nil
		b.mu.Unlock()
	}
	for n := uint16(1); n != 0 && n < last; n++ {
		if _, ok := b.sealed[n]; ok || vs.lastSeen(n) == 0 && isMissing(vs.path(n)) {
			continue
		}
		if err := b.patient(func() error { return b.sealedVolume(n) }); err != nil && !errors.Is(err, ErrUnavailable) {
			return err
		} else if err != nil {
			b.skip(n, err)
		}
	}
	if _, skipped := b.sealed[last]; last == 0 || b.last != nil || skipped {
		return nil
	}
	// It is in use from now to the end.
	var p *pinned
	err := b.patient(func() error { return b.f.maps().take(&b.lastMap, b.f.maps().limits.volume, true, compactPatience) })
	if err != nil {
		return err
	}
	if v, err := vs.get(last); err == nil {
		b.f.maps().within(v, &b.lastMap)
	}
	err = b.patient(func() (err error) {
		p, err = b.beginVolume(last)
		return err
	})
	p.close()
	if errors.Is(err, ErrUnavailable) {
		b.skip(last, err)
		return nil
	}
	if err != nil {
		return err
	}
	name := volumeFile(last)
	b.last = &fileCopy{file: name, volume: last, pageCopy: pageCopy{pin: pin{name: name, begin: func() (*pinned, error) { return b.beginVolume(last) }}}}
	return nil
}

// between has the writer's goroutine run fn between two commits. The commit
// before it may wait for a pin, to map a file anew or to open a volume for
// writing.
func (b *accountBackup) between(fn func(f *files) error) error {
	return b.meanwhile(func() error { return b.a.exec(fn) })
}

// meanwhile does what may have to wait for others. The pins roll on until it
// comes to that, since the others may wait for them.
func (b *accountBackup) meanwhile(do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	timer := time.NewTicker(pinTime)
	defer timer.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-timer.C:
			if err := b.roll(); err != nil {
				b.unpin()
				<-done
				return err
			}
		}
	}
}

// backupPatience is how long a backup waits for address space that others use:
// longer than a request, since nobody waits for it in turn.
const backupPatience = 10 * time.Minute

// patient does something again while there is no address space for it.
func (b *accountBackup) patient(do func() error) error {
	for end := time.Now().Add(backupPatience); ; {
		err := b.meanwhile(do)
		if noSpace := new(mapSpaceError); !errors.As(err, &noSpace) && !errors.Is(err, syscall.ENOMEM) || time.Now().After(end) {
			return err
		}
		if err := b.meanwhile(b.waitTurn); err != nil {
			return err
		}
	}
}

func (b *accountBackup) waitTurn() error {
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-time.After(mapTurn):
		return nil
	}
}

// skip leaves out a volume that can't be read. That it is missing the check of
// the copy says, as that of the account does.
func (b *accountBackup) skip(n uint16, err error) {
	vs := &b.f.blobs.volumes
	b.a.st.log.Warn("backup_volume_skipped", "account", string(b.a.id), "file", vs.path(n), "error", err)
	b.sealed[n] = vs.lastSeen(n)
}

func (b *accountBackup) beginVolume(n uint16) (*pinned, error) {
	v, err := b.f.blobs.volumes.get(n)
	if err != nil {
		return nil, err
	}
	return v.beginPin()
}

// sealedVolume hands out a volume that nobody writes to, a slice at a time. If
// somebody does, it begins again.
func (b *accountBackup) sealedVolume(n uint16) error {
	name, first := volumeFile(n), ""
	var c pageCopy
	for {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		s := newPageSlice(copySlice, copyTime)
		seen := b.f.blobs.volumes.lastSeen(n) // before the state that is copied, or it is copied once more
		p, err := b.beginVolume(n)
		if err != nil {
			return err
		}
		state, err := p.state(nil)
		if err == nil && state != first {
			c, first = pageCopy{pin: pin{name: name}}, state
			b.sealed[n] = seen // not the file's own counter, which mail.db may not know (a compaction, and then a restart)
			if b.have[name] == state {
				p.close()
				return b.emit(&BackupPart{Kind: BackupKeep, Name: name, State: state})
			}
			p.close()
			if err := b.emit(&BackupPart{Kind: BackupFile, Name: name}); err != nil {
				return err
			}
			continue
		}
		var complete bool
		var size int64
		if err == nil {
			c.now = p
			if complete, err = c.slice(s); complete && err == nil {
				size, err = c.head(s)
			}
		}
		p.close()
		if err == nil {
			err = b.emitRuns(name, s.runs)
		}
		if err != nil {
			return err
		}
		if complete {
			return b.emit(&BackupPart{Kind: BackupDone, Name: name, Size: size, State: state})
		}
	}
}

func volumeFile(n uint16) string { return fmt.Sprintf("body-%04d.db", n) }

// isMissing says that a volume's file is not there, which is Check's to say of
// the copy as of the account.
func isMissing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}
