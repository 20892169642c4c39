package storage

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// A repair mends what is derived from other data, in transactions of a few
// hundred rows, each of which leaves the account whole: a crash in between is
// gone on from by the next repair, which looks first.

// repairSlice is how many rows one transaction of a repair looks at.
const repairSlice = 500

// write runs fn in a transaction of its own, in the writer's goroutine.
func (c *check) write(fn func(w *txn) error) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	defer c.flush()
	return c.a.exec(func(f *files) error {
		w, err := f.update(fn)
		if errors.Is(err, errNothing) {
			return nil
		}
		if err == nil {
			w.publish()
		}
		return err
	})
}

// mendMailboxes mends mailbox rows and their names.
func (c *check) mendMailboxes() error {
	if err := c.write(c.mendBoxRows); err != nil {
		return err
	}
	if err := c.inKeys(bucketIntents, c.mendIntent); err != nil {
		return err
	}
	return c.write(c.mendNames)
}

// mendIntent takes out unfinished work that can't be read. Messages that only
// it had are found without an owner by the next step.
func (c *check) mendIntent(_ *txn, _ *bolt.Bucket, k, v []byte) ([]change, error) {
	if intentSound(k, v) {
		return nil, nil
	}
	c.did("unfinished work of space %x can't be read and is taken out", k)
	return []change{{bytes.Clone(k), nil}}, nil
}

// mendBoxRows mends or takes out mailbox rows that can't be read. What such a
// one had goes to a new mailbox with the next step.
func (c *check) mendBoxRows(w *txn) error {
	all := w.bucket(bucketMailboxes)
	var changes []change
	spaces := map[Space]bool{}
	err := all.ForEach(func(id, v []byte) error {
		key := append([]byte(nil), id...)
		if len(id) != 16 {
			changes = append(changes, change{key, nil})
			return nil
		}
		m, err := decodeMailbox(id, v)
		if err == nil {
			if m.Space != 0 && !spaces[m.Space] && m.UIDValidity != 0 && m.UIDNext != 0 && m.HighestModSeq != 0 {
				spaces[m.Space] = true
				return nil
			}
			m = c.otherwise(w, m, spaces[m.Space] || m.Space == 0)
			spaces[m.Space] = true
			changes = append(changes, change{key, encodeMailbox(&m)})
			return nil
		}
		mended, ok := mendByte(v, func(v []byte) bool { _, err := decodeMailbox(id, v); return err == nil && hasMailboxSum(v) })
		switch {
		case ok:
			c.did("the row of mailbox %s is mended: one byte had changed", m.ID)
			changes = append(changes, change{key, mended})
			if m, err := decodeMailbox(id, mended); err == nil {
				spaces[m.Space] = true
			}
		case m.Name != "" && m.Space != 0 && !spaces[m.Space]:
			c.did("mailbox %q is made again from what is left of its row", m.Name)
			spaces[m.Space] = true
			m.UIDNext = max(m.UIDNext, 1)
			m = c.otherwise(w, m, false)
			changes = append(changes, change{key, encodeMailbox(&m)})
		default:
			c.did("the row of mailbox %s can't be read and is taken out; its messages get another mailbox", m.ID)
			changes = append(changes, change{key, nil})
		}
		return nil
	})
	for _, ch := range changes {
		w.dirty = true
		if ch.value == nil {
			err = errors.Join(err, all.Delete(ch.key))
		} else {
			err = errors.Join(err, all.Put(ch.key, ch.value))
		}
	}
	return err
}

// otherwise is a mailbox row with numbers that can be: clients start afresh.
func (c *check) otherwise(w *txn, m Mailbox, newSpace bool) Mailbox {
	if newSpace {
		c.did("%s: another mailbox has its messages; it goes on empty", m.Name)
		m = Mailbox{ID: m.ID, Name: m.Name, Space: w.newSpace(), UIDNext: m.UIDNext, SpecialUse: m.SpecialUse, Keywords: m.Keywords}
		m.Floor = w.next()
	}
	m.UIDValidity, m.HighestModSeq = w.newValidity(), w.next()
	m.UIDNext, m.FirstUnseen = max(m.UIDNext, 1), min(m.FirstUnseen, m.UIDNext)
	return m
}

// mendNames makes "names" anew from the mailboxes.
func (c *check) mendNames(w *txn) error {
	w.boxes = map[MailboxID]*boxState{} // rows may have changed
	names := w.bucket(bucketNames)
	var stale [][]byte
	named := map[MailboxID]bool{}
	_ = names.ForEach(func(name, id []byte) error {
		if len(id) == 16 {
			if m, err := w.mailbox(MailboxID(id)); err == nil && m.Name == string(name) && !named[m.ID] {
				named[m.ID] = true
				return nil
			}
		}
		stale = append(stale, append([]byte(nil), name...))
		return nil
	})
	for _, name := range stale {
		w.dirty = true
		c.did("name %q led to no mailbox of that name", name)
		if err := names.Delete(name); err != nil {
			return err
		}
	}
	var nameless []MailboxID
	_ = w.bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
		if len(id) == 16 {
			nameless = append(nameless, MailboxID(id))
		}
		return nil
	})
	for _, id := range nameless {
		m, err := w.mailbox(id)
		if err != nil {
			continue
		}
		good, err := MailboxName(m.Name)
		if named[id] && err == nil && good == m.Name {
			continue
		}
		if err := c.rename(w, m, good, err); err != nil {
			return err
		}
	}
	if names.Get([]byte("INBOX")) == nil {
		c.did("INBOX is made")
		if err := w.putName(w.newMailbox("INBOX")); err != nil {
			return err
		}
	}
	return c.mendSubs(w)
}

// rename gives a mailbox a name that it can have.
func (c *check) rename(w *txn, m *Mailbox, name string, bad error) error {
	names := w.bucket(bucketNames)
	if bad != nil {
		name = recoveredName
	}
	if string(names.Get([]byte(m.Name))) == string(m.ID[:]) {
		if err := names.Delete([]byte(m.Name)); err != nil {
			return err
		}
	}
	free := name
	for n := 2; names.Get([]byte(free)) != nil; n++ {
		free = fmt.Sprintf("%s %d", name, n)
	}
	if free != m.Name {
		c.did("mailbox %q has the name %q now", m.Name, free)
		m.Name = free
		w.change(m, w.next())
	} else {
		c.did("mailbox %q can be found by its name", m.Name)
	}
	return w.putName(m)
}

func (c *check) mendSubs(w *txn) error {
	var bad [][]byte
	subs := w.bucket(bucketSubs)
	_ = subs.ForEach(func(name, _ []byte) error {
		if n, err := MailboxName(string(name)); err != nil || n != string(name) {
			bad = append(bad, append([]byte(nil), name...))
		}
		return nil
	})
	for _, name := range bad {
		w.dirty = true
		if err := subs.Delete(name); err != nil {
			return err
		}
	}
	return nil
}

// mendOwners gives messages without a mailbox one, and lets go of blocks and
// change logs that nobody has.
func (c *check) mendOwners() error {
	for _, space := range c.spaces {
		for more := true; more; {
			err := c.write(func(w *txn) (err error) {
				more, err = c.adoptSpace(w, space)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *check) adoptSpace(w *txn, space Space) (more bool, err error) {
	if live := lastUID(w.bucket(bucketRows), space); live > 0 {
		name := w.freeName()
		m := w.newMailbox(name)
		m.Space, m.Recovered = space, true
		// What UIDs clients knew there is lost with the row: no tombstones.
		m.UIDNext = max(live, lastUID(w.bucket(bucketKept), space)) + 1
		m.Floor = m.HighestModSeq
		c.did("the messages of space %d are in the mailbox %q", space, name)
		return false, errors.Join(w.bucket(bucketSubs).Put([]byte(name), nil), w.putName(m))
	}
	w.dirty = true
	if lastUID(w.bucket(bucketKept), space) > 0 {
		c.did("the expunged messages of space %d can be restored from the mailbox %q", space, recoveredName)
		return false, w.putIntent(space, intentDeleted, encodeDeleted(&Mailbox{Space: space, Name: recoveredName}, w.f.a.now()))
	}
	left := repairSlice
	err = w.settleRest(&keptOwner{Mailbox: Mailbox{Space: space}}, &left)
	return left <= 0, err
}

// freeName is a name for a mailbox of what has no owner.
func (w *txn) freeName() string {
	names := w.bucket(bucketNames)
	name := recoveredName
	for n := 2; names.Get([]byte(name)) != nil; n++ {
		name = fmt.Sprintf("%s %d", recoveredName, n)
	}
	return name
}

// mendThreads drops entries of the index of Message-IDs that can't be: the
// next message of the id makes another.
func (c *check) mendThreads() error {
	for more := true; more; {
		err := c.write(func(w *txn) error {
			b, top := w.bucket(bucketThreads), getUint64(w.bucket(bucketMeta), "thread")
			var bad [][]byte
			_ = b.ForEach(func(k, v []byte) error {
				if !threadSound(k, v, top) && len(bad) < repairSlice {
					bad = append(bad, append([]byte(nil), k...))
				}
				return nil
			})
			more = len(bad) == repairSlice
			return deleteKeys(w, b, bad)
		})
		if err != nil {
			return err
		}
	}
	c.did("damaged entries of the index of Message-IDs are dropped")
	return nil
}

func deleteKeys(w *txn, b *bolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		w.dirty = true
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// mendCounts sets the counts of the whole account.
func (c *check) mendCounts() error {
	var kept KeptCount
	var before KeptCount
	var octets int64
	var usage Usage
	if err := c.view(func() (err error) {
		before, _ = readKeptCount(c.tx)
		octets = bodyOctets(c.tx) - c.v.bodies
		used := c.usage()
		usage = Usage{used.Octets - c.f.used.Octets, used.Messages - c.f.used.Messages, used.Mailboxes - c.f.used.Mailboxes}
		kept, err = c.f.recountKept(c.tx)
		return err
	}); err != nil {
		return err
	}
	c.did("the account's counts are corrected")
	// Others wrote meanwhile: by how much they are wrong stays the same.
	return c.a.exec(func(f *files) error {
		err := f.mail.Update(func(tx *bolt.Tx) error {
			now, _ := readKeptCount(tx)
			now = now.plus(KeptCount{kept.Messages - before.Messages, kept.Octets - before.Octets})
			return errors.Join(tx.Bucket(bucketMeta).Put(keptCountKey, now.encode()), f.blobs.addBodies(tx, octets), f.blobs.stamp(tx))
		})
		if err == nil {
			f.nowUsed(usage)
		}
		return err
	})
}

// mendJournal moves what the journal said, which is in memory, into mail.db.
func (c *check) mendJournal() error {
	c.did("the flags that the journal held are in mail.db")
	return c.a.fold()
}

// mendSearch makes search.db anew, in the background.
func (c *check) mendSearch() error {
	x := &c.a.index
	x.mu.Lock()
	x.damaged = true
	x.mu.Unlock()
	x.busy.Lock()
	x.renew()
	x.busy.Unlock()
	x.plan()
	c.did("the search index is made anew")
	return nil
}
