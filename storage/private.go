package storage

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// \Seen of a mailbox is everybody's, as a team wants it, unless it is made
// private: then each login has its own, but for the account's owner, whose the
// flag in the row stays. Private flags are in a bucket of the mailbox's account
// (schema.go, "private"), by space and login, with a change log of their own
// that is stamped from the same counter.

// A private is the \Seen flags of a login in a space. A nil one says that \Seen
// is everybody's.
type private struct {
	b      *bolt.Bucket
	prefix []byte // space, login
	blocks map[uint32]Block
	dirty  map[uint32]bool
}

// The kinds of entries of a login.
const (
	privateBlock   = 'b'
	privateHighest = 'h'
	privateLog     = 'l'
	privateModSeq  = 'm'
)

// readPrivate is nil when \Seen is everybody's, or the login the owner.
func readPrivate(tx *bolt.Tx, space Space, who AccountID) *private {
	b := tx.Bucket(bucketPrivate)
	mark := keyUID(space, 0)[:4]
	if who == "" || b == nil || b.Get(mark) == nil {
		return nil
	}
	return &private{b: b, prefix: append(mark, who...), blocks: map[uint32]Block{}, dirty: map[uint32]bool{}}
}

func (p *private) key(kind byte, rest ...byte) []byte {
	return append(append(bytes.Clone(p.prefix), kind), rest...)
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// block are the messages of a block that the login has seen.
func (p *private) block(index uint32) Block {
	b, ok := p.blocks[index]
	if !ok {
		b, ok = decodeBlock(index, p.b.Get(p.key(privateBlock, be32(index)...)))
		if !ok {
			b = Block{Index: index} // a damaged one: not seen
		}
		p.blocks[index] = b
	}
	return b
}

func (p *private) seen(uid imap.UID) bool {
	b := p.block(BlockIndex(uid))
	return b.Has(uid)
}

// flags are flags with the login's \Seen.
func (p *private) flags(uid imap.UID, flags Flags) Flags {
	flags &^= FlagSeen
	if p.seen(uid) {
		flags |= FlagSeen
	}
	return flags
}

func (p *private) apply(r *Row) {
	if p != nil {
		r.Flags, r.ModSeq = p.flags(r.UID, r.Flags), max(r.ModSeq, p.modseq(r.UID))
	}
}

// modseq is when the login changed the flag of a message, or 0.
func (p *private) modseq(uid imap.UID) ModSeq {
	v := p.b.Get(p.key(privateModSeq, be32(uint32(uid))...))
	if len(v) != 8 {
		return 0
	}
	return ModSeq(binary.LittleEndian.Uint64(v))
}

// highest is the last of its MODSEQs.
func (p *private) highest() ModSeq {
	if p == nil {
		return 0
	}
	v := p.b.Get(p.key(privateHighest))
	if len(v) != 8 {
		return 0
	}
	return ModSeq(binary.LittleEndian.Uint64(v))
}

// log are the login's changes with since < MODSEQ <= upTo, not many more than
// most of them; bound is up to where they are all.
func (p *private) log(since, upTo ModSeq, most int) (all []Change, bound ModSeq) {
	if p == nil {
		return nil, upTo
	}
	prefix := p.key(privateLog)
	c := p.b.Cursor()
	for k, _ := c.Seek(binary.BigEndian.AppendUint64(bytes.Clone(prefix), uint64(since+1))); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		k = k[len(prefix):]
		if len(k) != 12 {
			break
		}
		at, uid := ModSeq(binary.BigEndian.Uint64(k)), imap.UID(binary.BigEndian.Uint32(k[8:]))
		if at > upTo {
			break
		}
		if n := len(all); n >= most && all[n-1].ModSeq != at {
			return all, all[n-1].ModSeq
		}
		all = append(all, Change{UID: uid, Last: uid, ModSeq: at})
	}
	return all, upTo
}

// count gives the mailbox row the login's counts.
func (p *private) count(tx *bolt.Tx, m *Mailbox) error {
	if p == nil {
		return nil
	}
	m.HighestModSeq = max(m.HighestModSeq, p.highest())
	blocks, err := readBlocks(tx, m.Space, 0, ^uint32(0))
	if err != nil {
		return err
	}
	m.Unseen, m.FirstUnseen = 0, m.UIDNext
	for i := range blocks {
		seen := p.block(blocks[i].Index)
		there, seenBits := blocks[i].bitmap(), seen.bitmap()
		for j := range there {
			w := there[j] &^ seenBits[j]
			if w != 0 && m.Unseen == 0 {
				m.FirstUnseen = blocks[i].First() + imap.UID(j*64+bits.TrailingZeros64(w))
			}
			m.Unseen += uint32(bits.OnesCount64(w))
		}
	}
	return nil
}

// set changes the flag of a message; flush writes the rest.
func (p *private) set(uid imap.UID, seen bool, at ModSeq) error {
	if was := p.modseq(uid); was != 0 {
		if err := p.b.Delete(p.logKey(was, uid)); err != nil {
			return err
		}
	}
	index := BlockIndex(uid)
	if b := p.block(index); seen {
		p.blocks[index] = b.AddRange(uid, uid)
	} else {
		p.blocks[index] = b.RemoveRange(uid, uid)
	}
	p.dirty[index] = true
	n := binary.LittleEndian.AppendUint64(nil, uint64(at))
	if err := p.b.Put(p.key(privateModSeq, be32(uint32(uid))...), n); err != nil {
		return err
	}
	if err := p.b.Put(p.key(privateHighest), n); err != nil {
		return err
	}
	return p.b.Put(p.logKey(at, uid), nil)
}

func (p *private) logKey(at ModSeq, uid imap.UID) []byte {
	return append(p.key(privateLog, binary.BigEndian.AppendUint64(nil, uint64(at))...), be32(uint32(uid))...)
}

func (p *private) flush() error {
	for index := range p.dirty {
		b := p.blocks[index]
		key := p.key(privateBlock, be32(index)...)
		err := error(nil)
		if b.Count == 0 {
			err = p.b.Delete(key)
		} else {
			err = p.b.Put(key, b.encode())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A privateStoreRequest changes flags for a login with a \Seen of its own. It
// becomes visible in slices, as a storeRequest.
type privateStoreRequest struct {
	who AccountID
	id  MailboxID
	StoreRequest
	storeState
	before storeState // the last apply
}

func (r *privateStoreRequest) bodies() []*Upload { return nil }
func (r *privateStoreRequest) rows() int         { return len(r.UIDs) }
func (r *privateStoreRequest) rewind()           { r.storeState = r.before }
func (r *privateStoreRequest) frees() bool       { return true }

func (r *privateStoreRequest) apply(w *txn) (more bool, err error) {
	r.before = r.storeState
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	p := readPrivate(w.tx, m.Space, r.who)
	if p == nil { // it was everybody's meanwhile
		p = &private{}
	}
	uids := r.UIDs[r.done:]
	uids = uids[:min(len(uids), sliceRows)]
	r.done += len(uids)
	res := r.res
	rest := make([]imap.UID, 0, len(uids))
	for _, uid := range uids {
		if r.HasUnchangedSince && p.b != nil && p.modseq(uid) > r.UnchangedSince {
			res.Modified = append(res.Modified, uid)
		} else {
			rest = append(rest, uid)
		}
	}
	shared := &storeRequest{id: r.id, StoreRequest: r.StoreRequest}
	shared.UIDs = rest
	if p.b != nil {
		shared.Fixed |= FlagSeen
		shared.Flags = Rights(AllRights &^ RightSeen).Flags(r.Flags)
	}
	if _, err := shared.applyFlags(w); err != nil {
		return false, err
	}
	res.Modified = append(res.Modified, shared.res.Modified...)
	at := shared.res.ModSeq
	if p.b != nil {
		if at, err = r.see(w, m, p, shared.res.Changed, at); err != nil {
			return false, fatal(err)
		}
	}
	res.Changed = append(res.Changed, shared.res.Changed...)
	if at != 0 {
		res.ModSeq = at
		if res.FirstModSeq == 0 {
			res.FirstModSeq = at
		}
	}
	res.Mailbox = *m
	r.res = res
	return r.done < len(r.UIDs), nil
}

// see changes the login's own flags of the messages, at the MODSEQ of the
// others' if these changed.
func (r *privateStoreRequest) see(w *txn, m *Mailbox, p *private, changed []Change, at ModSeq) (ModSeq, error) {
	named := (&Mailbox{}).mask(r.Flags)&FlagSeen != 0
	for i := range changed {
		c := &changed[i]
		was := p.seen(c.UID)
		seen := was
		switch {
		case r.Fixed&FlagSeen != 0:
		case r.Mode == StoreReplace:
			seen = named
		case named:
			seen = r.Mode == StoreAdd
		}
		c.Was = max(c.Was, p.modseq(c.UID))
		if seen != was {
			if at == 0 {
				at = w.next()
			}
			if err := p.set(c.UID, seen, at); err != nil {
				return at, err
			}
			w.dirty = true
			w.boxes[m.ID].touched = true
		}
		c.Flags, c.ModSeq = p.flags(c.UID, c.Flags), max(c.ModSeq, p.modseq(c.UID))
	}
	return at, p.flush()
}

// A privateRequest makes \Seen of a mailbox private, or everybody's again.
type privateRequest struct {
	name string
	on   bool
	next imap.UID
	was  imap.UID // next before the last apply
}

// SetPrivateSeen says whether each login has a \Seen of its own in a mailbox.
// All messages count as changed: clients look at them again.
func (a *Account) SetPrivateSeen(name string, on bool) error {
	name, err := MailboxName(name)
	if err != nil {
		return ErrNoMailbox
	}
	return a.do(&privateRequest{name: name, on: on})
}

func (r *privateRequest) bodies() []*Upload { return nil }
func (r *privateRequest) rows() int         { return batchRows + 1 } // alone, in slices
func (r *privateRequest) rewind()           { r.next = r.was }
func (r *privateRequest) frees() bool       { return false }

func (r *privateRequest) apply(w *txn) (more bool, err error) {
	r.was = r.next
	m, err := w.byName(r.name)
	if err != nil {
		return false, err
	}
	if err := w.markPrivate(m.Space, r.on); err != nil {
		return false, err
	}
	blocks, err := readBlocks(w.tx, m.Space, BlockIndex(r.next), ^uint32(0))
	if err != nil {
		return false, fatal(err)
	}
	uids := make([]imap.UID, 0, sliceRows)
	for i := range blocks {
		uids = blocks[i].Append(uids, r.next, ^imap.UID(0))
	}
	at := w.next()
	w.change(m, at)
	for _, uid := range uids {
		if row, ok := w.row(m.Space, uid); ok {
			if err := w.setFlags(m, &row, row.Flags, at); err != nil {
				return false, err
			}
		}
		r.next = uid + 1
	}
	return len(uids) == cap(uids), nil
}

// markPrivate says that \Seen is private in a space, or everybody's.
func (w *txn) markPrivate(space Space, on bool) error {
	b, err := w.tx.CreateBucketIfNotExists(bucketPrivate)
	if err != nil {
		return fatal(err)
	}
	w.dirty = true
	if key := keyUID(space, 0)[:4]; on {
		return fatal(b.Put(key, []byte{1}))
	} else {
		return fatal(b.Delete(key))
	}
}

// inheritPrivate makes \Seen private in space if it is in of.
func (w *txn) inheritPrivate(of, space Space) error {
	if b := w.tx.Bucket(bucketPrivate); b == nil || b.Get(keyUID(of, 0)[:4]) == nil {
		return nil
	}
	return w.markPrivate(space, true)
}

// forgetPrivate removes the private flags of a space, some at a time.
func (w *txn) forgetPrivate(space Space) (more bool, err error) {
	b := w.tx.Bucket(bucketPrivate)
	if b == nil {
		return false, nil
	}
	prefix := keyUID(space, 0)[:4]
	var gone [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(gone) < batchRows; k, _ = c.Next() {
		gone = append(gone, bytes.Clone(k))
	}
	for _, k := range gone {
		w.dirty = true
		if err := b.Delete(k); err != nil {
			return false, err
		}
	}
	return len(gone) == batchRows, nil
}
