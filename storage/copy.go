package storage

import "github.com/emersion/go-imap/v2"

type copyRequest struct {
	from, to MailboxID
	uids     []imap.UID
	move     bool
	fixed    Flags // which copies don't get
	copyState
	before copyState // the last apply
}

type copyState struct {
	done  int
	next  imap.UID // the destination's next UID
	shown int      // how many of res.To are shown
	moved []Row    // of a MOVE: what this slice expunges
	res   CopyResult
}

// copyOctets is about what the index takes for another row.
const copyOctets = 256

// Copy copies messages to another mailbox of the account, or moves them. A
// copy is all or nothing: its messages appear in one commit. A move of many
// messages goes in slices, each of which vanishes here and appears there in
// one commit (RFC 6851 §3.3 asks it of each message). A message of uids that
// is expunged is passed over.
func (a *Account) Copy(from MailboxID, uids []imap.UID, to MailboxID, move bool) (CopyResult, error) {
	return a.CopyWith(from, uids, to, move, AllRights)
}

// CopyWith is Copy by somebody who has rights in the destination: the copies
// have the flags that these allow (RFC 4314 §4).
func (a *Account) CopyWith(from MailboxID, uids []imap.UID, to MailboxID, move bool, rights Rights) (CopyResult, error) {
	r := &copyRequest{from: from, to: to, uids: uids, move: move, fixed: rights.FixedFlags()}
	if !move {
		if err := a.roomFor(int64(len(uids)) * copyOctets); err != nil {
			return r.res, err
		}
	}
	err := a.do(r)
	return r.res, err
}

func (r *copyRequest) bodies() []*Upload { return nil }
func (r *copyRequest) rows() int         { return len(r.uids) }
func (r *copyRequest) rewind()           { r.copyState = r.before }
func (r *copyRequest) frees() bool       { return r.move }

// apply copies a slice. Rows above UIDNEXT are seen by nobody; the last slice
// moves UIDNEXT and the counts, and shows all at once. What an earlier slice
// wrote is under an intent, so that a power cut before the last one undoes it.
func (r *copyRequest) apply(w *txn) (more bool, err error) {
	r.before = r.copyState
	src, err := w.mailbox(r.from)
	if err != nil {
		return false, err
	}
	dst, err := w.mailbox(r.to)
	if err != nil {
		return false, err
	}
	if r.done == 0 {
		if err := r.check(w, src, dst); err != nil {
			return false, err
		}
	}
	uids := r.uids[r.done:]
	uids = uids[:min(len(uids), sliceRows)]
	if err := r.copySlice(w, src, dst, uids); err != nil {
		return false, err
	}
	r.done += len(uids)
	more = r.done < len(r.uids)
	if more && !r.move {
		return true, w.putIntent(dst.Space, intentCopy, le32(uint32(dst.UIDNext)))
	}
	return more, r.finish(w, src, dst)
}

func (r *copyRequest) check(w *txn, src, dst *Mailbox) error {
	r.next = dst.UIDNext
	r.res.UIDValidity = dst.UIDValidity
	if uint64(dst.UIDNext)+uint64(len(r.uids)) > 1<<32-1 {
		return &LimitError{What: "UIDs in a mailbox", Max: 1<<32 - 1}
	}
	var used Flags
	var more Usage
	for _, uid := range r.uids {
		if row, ok := w.row(src.Space, uid); ok {
			used |= row.Flags &^ r.fixed
			more = more.plus(Usage{Octets: row.Size, Messages: 1})
		}
	}
	if !r.move {
		if err := w.room(more); err != nil {
			return err
		}
	}
	fresh, err := dst.newKeywords(src.FlagNames(used))
	if err != nil {
		return err
	}
	return w.addKeywords(dst, fresh)
}

// copySlice writes the copies of uids above the destination's UIDNEXT.
func (r *copyRequest) copySlice(w *txn, src, dst *Mailbox, uids []imap.UID) error {
	same := sameKeywords(src, dst)
	now := w.f.a.now().Unix()
	rows := w.bucket(bucketRows)
	at := w.modseq + 1 // what finish will take; given out only then
	for _, uid := range uids {
		row, ok := w.row(src.Space, uid)
		if !ok {
			continue
		}
		if r.move {
			r.moved = append(r.moved, row)
		}
		r.res.From = append(r.res.From, uid)
		r.res.To = append(r.res.To, r.next)
		row.UID = r.next
		row.Flags &^= r.fixed
		r.next++
		if !same {
			row.Flags = dst.mask(src.FlagNames(row.Flags))
		}
		row.ModSeq, row.SaveDate = at, now
		if err := w.f.blobs.link(w.tx, row.Blob, 1); err != nil {
			return fatal(err)
		}
		if err := rows.Put(keyUID(dst.Space, row.UID), encodeRow(&row)); err != nil {
			return fatal(err)
		}
		w.dirty = true
	}
	return nil
}

// finish shows the copies and expunges what was moved.
func (r *copyRequest) finish(w *txn, src, dst *Mailbox) error {
	fresh := r.res.To[r.shown:]
	if len(fresh) == 0 {
		return nil
	}
	at := w.next()
	r.res.DestModSeq = at
	rows := w.bucket(bucketRows)
	for _, uid := range fresh {
		row, err := decodeRow(uid, rows.Get(keyUID(dst.Space, uid)))
		if err != nil {
			return fatal(err)
		}
		dst.count(&row)
		w.used = w.used.plus(Usage{Octets: row.Size, Messages: 1})
	}
	if err := w.show(dst, fresh[0], fresh[len(fresh)-1], at); err != nil {
		return err
	}
	r.shown = len(r.res.To)
	if !r.move {
		return fatal(w.bucket(bucketIntents).Delete(keyUID(dst.Space, 0)[:4]))
	}
	r.res.ModSeq = w.next()
	if r.res.FirstModSeq == 0 {
		r.res.FirstModSeq = r.res.ModSeq
	}
	moved := r.moved
	r.moved = nil
	return w.expunge(src, moved, r.res.ModSeq, keptMoved)
}

func sameKeywords(a, b *Mailbox) bool {
	if len(a.Keywords) != len(b.Keywords) {
		return false
	}
	for i := range a.Keywords {
		if a.Keywords[i] != b.Keywords[i] {
			return false
		}
	}
	return true
}
