package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"

	bolt "go.etcd.io/bbolt"
)

// Check reads an account through while it is used. Each step of it works on
// one state of mail.db, which a transaction of its own keeps (checkView), so
// that a message on its way from one place to the other is never taken for a
// finding; the account's writer is only asked for a moment. Bodies are read a
// chunk in a transaction.
type check struct {
	*checkReport
	a     *Account
	quick bool

	// Of the view that is open.
	v  *checkView
	f  *files // as of this view, with its own overlay
	tx *bolt.Tx

	// What a look has learned for its mend.
	refs    refFindings
	records []BlobID
	strays  []strayBlob
	boxes   []MailboxID // whose rows, blocks, counts or log are wrong
	spaces  []Space     // that nobody owns
}

// A checkView is one state of mail.db and of the journal on top of it.
type checkView struct {
	f      *files // with its own overlay
	pin    *pinned
	live   map[BlobID]bool
	next   BlobID
	bodies int64
}

func (a *Account) checkView() (v *checkView, err error) {
	hold, err := a.acquire()
	if err != nil {
		return nil, err
	}
	begun := false
	v = &checkView{live: map[BlobID]bool{}}
	err = a.exec(func(f *files) error {
		v.f = &files{a: f.a, dir: f.dir, mail: f.mail, blobs: f.blobs, journal: f.journal, secret: f.secret,
			modseq: f.modseq, used: f.used, overlay: f.overlay.clone()}
		v.next, v.bodies = f.blobs.next, f.blobs.bodies
		for id := range f.blobs.live {
			v.live[id] = true
		}
		v.pin, err = f.mail.beginPin(hold.release)
		begun = true // the files are given back with the pin, or were
		return err
	})
	if err != nil && !begun {
		hold.release()
	}
	return v, err
}

// clone copies the overlay, for the writer's goroutine.
func (o *overlay) clone() *overlay {
	c := newOverlay()
	maps.Copy(c.boxes, o.boxes)
	c.rows = o.rows
	for space, s := range o.spaces {
		c.spaces[space] = &spaceOverlay{rows: maps.Clone(s.rows)}
	}
	return c
}

// view runs fn with a view of the present state.
func (c *check) view(fn func() error) error {
	v, err := c.a.checkView()
	if err != nil {
		return err
	}
	c.v, c.f, c.tx = v, v.f, v.pin.tx
	defer func() {
		v.pin.close()
		c.v, c.f, c.tx = nil, nil, nil
		c.flush()
	}()
	return mapError(survive(fn))
}

// Check reads the account's files, without the contents of all messages, and
// returns one line for each finding; none when all is sound.
func (a *Account) Check() (findings []string, err error) {
	err = a.check(&checkReport{ctx: context.Background(), tell: func(f Finding) error {
		findings = append(findings, f.Text)
		return nil
	}}, true)
	return findings, err
}

// check runs the steps of an account.
func (a *Account) check(r *checkReport, quick bool) error {
	c := &check{checkReport: r, a: a, quick: quick}
	if err := r.run(&checkStep{"pages", c.pages, nil}); err != nil {
		return err
	}
	if c.n > 0 { // damaged pages could lead anywhere
		return nil
	}
	for _, s := range []checkStep{
		{"buckets", c.buckets, c.mendBuckets},
		{"meta", c.meta, c.mendMeta},
		{"mailboxes", c.mailboxes, c.mendMailboxes},
		{"owners", c.owners, c.mendOwners},
		{"messages", c.messages, c.mendMessages},
		{"kept", c.kept, c.mendKept},
		{"references", c.references, c.mendReferences},
		{"records", c.lookRecords, c.mendRecords},
		{"threads", c.threads, c.mendThreads},
		{"annotations", c.annotations, c.mendAnnotations},
		{"private", c.private, c.mendPrivate},
		{"urlkeys", c.urlKeys, c.mendURLKeys},
		{"volumes", c.volumes, nil},
		{"strays", c.lookStrays, c.mendStrays},
		{"counts", c.counts, c.mendCounts},
		{"journal", c.journal, c.mendJournal},
		{"search", c.search, c.mendSearch},
		{"bodies", c.bodies, nil},
	} {
		if quick && s.kind == "bodies" || a.st.opts.readOnly && s.kind == "search" {
			continue
		}
		if err := r.run(&s); err != nil {
			return err
		}
	}
	return nil
}

// pages: the trees of mail.db.
func (c *check) pages() error {
	return c.view(func() error {
		return c.auditPages("mail.db", c.v.pin)
	})
}

// meta: what mail.db says of itself.
func (c *check) meta() error {
	return c.view(func() error {
		meta := c.tx.Bucket(bucketMeta)
		for _, want := range []struct {
			key string
			n   int
		}{{"format", 2}, {"min_reader", 2}, {"secret", 32}, {"volume", 2}, {"modseq", 8}, {"space", 4}, {"validity", 4}} {
			if n := len(meta.Get([]byte(want.key))); n != want.n {
				c.find("mail.db: %q has %d bytes, not %d", want.key, n, want.n)
			}
		}
		if n := len(meta.Get([]byte("volumes"))); n%10 != 0 {
			c.find(`mail.db: "volumes" has %d bytes`, n)
		}
		top := c.highest()
		for _, n := range []struct {
			what       string
			have, need uint64
		}{
			{"MODSEQ", uint64(c.f.modseq), uint64(top.ModSeq)}, {"space", uint64(getUint32(meta, "space")), uint64(top.Space)},
			{"UIDVALIDITY", uint64(getUint32(meta, "validity")), uint64(top.Validity)},
			{"thread", getUint64(meta, "thread"), uint64(top.Thread)}, {"blob", uint64(c.v.next), uint64(c.highestBlob())},
		} {
			if n.have < n.need {
				c.find("mail.db: the highest %s given out is %d, and it has %d", n.what, n.have, n.need)
			}
		}
		if p, err := c.a.st.profile(c.a.id); err == nil && !c.a.st.opts.readOnly && string(p.encode()) != string(meta.Get([]byte("profile"))) {
			c.find("mail.db doesn't repeat the name, addresses and settings that system.db has")
		}
		return nil
	})
}

// highest is what mail.db's numbers must not be below.
func (c *check) highest() (top highWater) {
	_ = c.tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
		if m, err := c.f.mailboxRow(c.tx, MailboxID(id)); err == nil {
			top.ModSeq, top.Space, top.Validity = max(top.ModSeq, m.HighestModSeq), max(top.Space, m.Space), max(top.Validity, m.UIDValidity)
		}
		return nil
	})
	for _, bucket := range [][]byte{bucketRows, bucketKept} {
		if k, _ := c.tx.Bucket(bucket).Cursor().Last(); len(k) == 8 {
			top.Space = max(top.Space, Space(binary.BigEndian.Uint32(k)))
		}
	}
	_ = paced(c.tx.Bucket(bucketThreads), func(_, v []byte) error {
		if len(v) == 8 {
			top.Thread = max(top.Thread, ThreadID(binary.LittleEndian.Uint64(v)))
		}
		return nil
	})
	return top
}

func (c *check) highestBlob() (top BlobID) {
	for _, bucket := range [][]byte{bucketBlobs, bucketHeads, bucketChunks} {
		if k, _ := c.tx.Bucket(bucket).Cursor().Last(); len(k) == 8 {
			top = max(top, BlobID(binary.BigEndian.Uint64(k)))
		}
	}
	return top
}

// mendMeta raises the numbers, and copies the profile. What else there is is
// beyond repair: the secret is the key of all EMAILIDs.
func (c *check) mendMeta() error {
	var top highWater
	var blob BlobID
	if err := c.view(func() error {
		top, blob = c.highest(), c.highestBlob()
		return nil
	}); err != nil {
		return err
	}
	err := c.a.exec(func(f *files) error {
		f.blobs.next = max(f.blobs.next, blob)
		w, err := f.update(func(w *txn) error {
			meta := w.bucket(bucketMeta)
			w.dirty = true
			w.modseq = max(w.modseq, top.ModSeq)
			return errors.Join(meta.Put([]byte("space"), le32(max(getUint32(meta, "space"), uint32(top.Space)))),
				meta.Put([]byte("validity"), le32(max(getUint32(meta, "validity"), top.Validity))),
				putUint64(meta, "thread", max(getUint64(meta, "thread"), uint64(top.Thread))))
		})
		if err == nil {
			w.publish()
		}
		return err
	})
	if err == nil {
		c.did("numbers given out were raised, the profile was copied from system.db")
		c.a.st.copyProfile(c.a.id)
	}
	return err
}

func isClosed(err error) bool { return errors.Is(err, ErrClosed) }
