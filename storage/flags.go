package storage

import "github.com/emersion/go-imap/v2"

type storeRequest struct {
	id MailboxID
	StoreRequest
	storeState
	before storeState // the last apply
}

type storeState struct {
	done int // UIDs of earlier slices
	res  StoreResult
}

// StoreFlags changes the flags of messages. Messages that don't exist are
// passed over. A request for many messages becomes visible in slices.
func (a *Account) StoreFlags(id MailboxID, r StoreRequest) (StoreResult, error) {
	req := &storeRequest{id: id, StoreRequest: r}
	err := a.do(req)
	return req.res, err
}

func (r *storeRequest) bodies() []*Upload { return nil }
func (r *storeRequest) rows() int         { return len(r.UIDs) }
func (r *storeRequest) rewind()           { r.storeState = r.before }
func (r *storeRequest) frees() bool       { return true }

func (r *storeRequest) apply(w *txn) (bool, error) { return r.applyFlags(w) }

func (r *storeRequest) applyFlags(w flagWriter) (more bool, err error) {
	r.before = r.storeState
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	if r.Mode != StoreRemove {
		fresh, err := m.newKeywords(r.Flags)
		if err != nil {
			return false, err
		}
		if err := w.addKeywords(m, fresh); err != nil {
			return false, err
		}
	}
	mask := m.mask(r.Flags)
	res := r.res
	var at ModSeq
	uids := r.UIDs[r.done:]
	uids = uids[:min(len(uids), sliceRows)]
	for _, uid := range uids {
		row, ok := w.row(m.Space, uid)
		if !ok {
			continue
		}
		if r.HasUnchangedSince && row.ModSeq > r.UnchangedSince && row.ModSeq != at {
			res.Modified = append(res.Modified, uid)
			continue
		}
		was := row.ModSeq
		if flags := r.newFlags(row.Flags, mask); flags != row.Flags {
			if at == 0 {
				at = w.next()
			}
			if err := w.setFlags(m, &row, flags, at); err != nil {
				return false, err
			}
		}
		res.Changed = append(res.Changed, Change{UID: uid, Last: uid, ModSeq: row.ModSeq, Flags: row.Flags, Was: was})
	}
	if at != 0 {
		res.ModSeq = at
		if res.FirstModSeq == 0 {
			res.FirstModSeq = at
		}
	}
	res.Mailbox = *m
	r.res = res
	r.done += len(uids)
	return r.done < len(r.UIDs), nil
}

func (r *storeRequest) newFlags(old, mask Flags) (flags Flags) {
	switch r.Mode {
	case StoreAdd:
		flags = old | mask
	case StoreRemove:
		flags = old &^ mask
	default:
		flags = mask
	}
	return flags&^r.Fixed | old&r.Fixed
}

type expungeRequest struct {
	id   MailboxID
	uids []imap.UID
	expungeState
	before expungeState // the last apply
}

type expungeState struct {
	done int
	res  ExpungeResult
}

// Expunge removes the messages among uids that have \Deleted, or of all when
// uids is nil. Their rows are kept for restoring.
func (a *Account) Expunge(id MailboxID, uids []imap.UID) (ExpungeResult, error) {
	if uids == nil {
		var err error
		if uids, err = a.deleted(id); err != nil {
			return ExpungeResult{}, err
		}
	}
	if len(uids) == 0 {
		_, err := a.Mailbox(id)
		return ExpungeResult{}, err
	}
	r := &expungeRequest{id: id, uids: uids}
	err := a.do(r)
	return r.res, err
}

// deleted lists the messages with \Deleted.
func (a *Account) deleted(id MailboxID) (found []imap.UID, err error) {
	m, blocks, err := a.Snapshot(id)
	if err != nil || m.Deleted == 0 {
		return nil, err
	}
	uids, rows := make([]imap.UID, 0, ReadRows), make([]Row, 0, ReadRows)
	for i := range blocks {
		for lo := blocks[i].First(); ; lo = uids[len(uids)-1] + 1 {
			uids = blocks[i].Append(uids[:0], lo, blocks[i].First()+BlockUIDs-1)
			if rows, err = a.Rows(m.Space, uids, rows[:0]); err != nil {
				return nil, err
			}
			for j := range rows {
				if rows[j].Flags&FlagDeleted != 0 && !rows[j].Expunged {
					found = append(found, rows[j].UID)
				}
			}
			if len(uids) < ReadRows {
				break
			}
		}
		if len(found) >= int(m.Deleted) {
			break
		}
	}
	return found, nil
}

func (r *expungeRequest) bodies() []*Upload { return nil }
func (r *expungeRequest) rows() int         { return len(r.uids) }
func (r *expungeRequest) rewind()           { r.expungeState = r.before }
func (r *expungeRequest) frees() bool       { return true }

func (r *expungeRequest) apply(w *txn) (more bool, err error) {
	r.before = r.expungeState
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	uids := r.uids[r.done:]
	uids = uids[:min(len(uids), sliceRows)]
	var rows []Row
	for _, uid := range uids {
		if row, ok := w.row(m.Space, uid); ok && row.Flags&FlagDeleted != 0 {
			rows = append(rows, row)
			r.res.UIDs = append(r.res.UIDs, uid)
		}
	}
	if len(rows) > 0 {
		at := w.next()
		if err := w.expunge(m, rows, at, keptExpunged); err != nil {
			return false, err
		}
		r.res.ModSeq = at
		if r.res.FirstModSeq == 0 {
			r.res.FirstModSeq = at
		}
	}
	r.done += len(uids)
	return r.done < len(r.uids), nil
}
