package storage

import (
	"cmp"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// A ByLogin is an account as a login sees it that doesn't own it: where \Seen
// is private (private.go), the flags, counts and MODSEQs are its own.
type ByLogin struct {
	*Account
	who AccountID // "": the owner
}

// ByLogin is the account as an other one sees it, or with "" its owner.
func (a *Account) ByLogin(who AccountID) ByLogin {
	if who == a.id {
		who = ""
	}
	return ByLogin{a, who}
}

// see runs fn with the login's \Seen flags, nil where they are everybody's.
func (v ByLogin) see(space Space, fn func(f *files, tx *bolt.Tx, p *private) error) error {
	return v.read(func(f *files, tx *bolt.Tx) error { return fn(f, tx, readPrivate(tx, space, v.who)) })
}

// seeMailbox is see for a mailbox.
func (v ByLogin) seeMailbox(id MailboxID, fn func(f *files, tx *bolt.Tx, m *Mailbox, p *private) error) error {
	return v.read(func(f *files, tx *bolt.Tx) error {
		m, err := f.mailboxRow(tx, id)
		if err != nil {
			return err
		}
		return fn(f, tx, &m, readPrivate(tx, m.Space, v.who))
	})
}

// own gives mailbox rows the counts of the login.
func (v ByLogin) own(m *Mailbox) error {
	if v.who == "" {
		return nil
	}
	return v.see(m.Space, func(_ *files, tx *bolt.Tx, p *private) error { return p.count(tx, m) })
}

// Mailbox is Account.Mailbox for the login.
func (v ByLogin) Mailbox(id MailboxID) (Mailbox, error) {
	m, err := v.Account.Mailbox(id)
	if err == nil {
		err = v.own(&m)
	}
	return m, err
}

// MailboxByName is Account.MailboxByName for the login.
func (v ByLogin) MailboxByName(name string) (Mailbox, error) {
	m, err := v.Account.MailboxByName(name)
	if err == nil {
		err = v.own(&m)
	}
	return m, err
}

// Mailboxes is Account.Mailboxes for the login.
func (v ByLogin) Mailboxes() ([]Mailbox, error) {
	all, err := v.Account.Mailboxes()
	for i := range all {
		if err == nil {
			err = v.own(&all[i])
		}
	}
	return all, err
}

// Snapshot is Account.Snapshot for the login.
func (v ByLogin) Snapshot(id MailboxID) (Mailbox, Blocks, error) {
	m, blocks, err := v.Account.Snapshot(id)
	if err == nil {
		err = v.own(&m)
	}
	return m, blocks, err
}

// Rows is Account.Rows for the login.
func (v ByLogin) Rows(space Space, uids []imap.UID, dst []Row) ([]Row, error) {
	if v.who == "" {
		return v.Account.Rows(space, uids, dst)
	}
	err := v.see(space, func(f *files, tx *bolt.Tx, p *private) error {
		return f.rowsFrom(tx, space, uids, func(r Row) {
			p.apply(&r)
			dst = append(dst, r)
		})
	})
	return dst, err
}

// Changes is Account.Changes for the login. The mailbox's counts are not its own.
func (v ByLogin) Changes(id MailboxID, since, upTo ModSeq, dst []Change) (m Mailbox, _ []Change, more bool, err error) {
	if v.who == "" {
		return v.Account.Changes(id, since, upTo, dst)
	}
	err = v.seeMailbox(id, func(f *files, tx *bolt.Tx, row *Mailbox, p *private) error {
		m = *row
		m.HighestModSeq = max(m.HighestModSeq, p.highest())
		if upTo == 0 {
			upTo = m.HighestModSeq
		}
		first := len(dst)
		for more = since < upTo; more && len(dst) == first; {
			mine, bound := p.log(since, upTo, max(cap(dst)-len(dst), 1))
			if dst, more, since, err = f.changes(tx, m.Space, since, bound, dst); err != nil {
				return err
			}
			log := p.merge(f, tx, m.Space, slices.Clone(dst[first:]), mine, since)
			dst = append(dst[:first], log...)
			more = more || since < upTo
		}
		return nil
	})
	return m, dst, more, err
}

// merge makes one log of the changes of a mailbox and of the login's own up to
// a MODSEQ. Of two of a message the later one counts.
func (p *private) merge(f *files, tx *bolt.Tx, space Space, log, mine []Change, upTo ModSeq) []Change {
	if p == nil {
		return log
	}
	log = slices.DeleteFunc(log, func(c Change) bool { return !c.Expunged && p.modseq(c.UID) > c.ModSeq })
	for i := range log {
		if !log[i].Expunged {
			log[i].Flags = p.flags(log[i].UID, log[i].Flags)
		}
	}
	for _, c := range mine {
		if c.ModSeq > upTo {
			break
		}
		_ = f.rowsFrom(tx, space, []imap.UID{c.UID}, func(r Row) {
			if !r.Expunged && r.ModSeq <= c.ModSeq {
				c.Flags = p.flags(c.UID, r.Flags)
				log = append(log, c)
			}
		})
	}
	slices.SortStableFunc(log, func(a, b Change) int { return cmp.Compare(a.ModSeq, b.ModSeq) })
	return log
}

// Touched is Account.Touched for the login.
func (v ByLogin) Touched(space Space, since, upTo ModSeq, dst []Touch) (_ []Touch, through ModSeq, err error) {
	if v.who == "" {
		return v.Account.Touched(space, since, upTo, dst)
	}
	var mine []Change
	bound := upTo
	err = v.see(space, func(_ *files, _ *bolt.Tx, p *private) error {
		mine, bound = p.log(since, upTo, max(cap(dst)-len(dst), 1))
		return nil
	})
	if err != nil {
		return dst, 0, err
	}
	dst, through, err = v.Account.Touched(space, since, bound, dst)
	for _, c := range mine {
		if c.ModSeq <= through {
			dst = append(dst, Touch{UID: c.UID, Last: c.UID, ModSeq: c.ModSeq})
		}
	}
	return dst, through, err
}

// isPrivate reports whether the login has its own \Seen in a mailbox.
func (v ByLogin) isPrivate(id MailboxID) (is bool, err error) {
	if v.who == "" {
		return false, nil
	}
	err = v.seeMailbox(id, func(_ *files, _ *bolt.Tx, _ *Mailbox, p *private) error {
		is = p != nil
		return nil
	})
	return is, err
}

// PrivateSeen reports whether the login has its own \Seen in a mailbox.
func (v ByLogin) PrivateSeen(id MailboxID) (bool, error) { return v.isPrivate(id) }

// StoreFlags is Account.StoreFlags for the login.
func (v ByLogin) StoreFlags(id MailboxID, r StoreRequest) (StoreResult, error) {
	if private, err := v.isPrivate(id); err != nil || !private {
		if err != nil {
			return StoreResult{}, err
		}
		return v.Account.StoreFlags(id, r)
	}
	req := &privateStoreRequest{who: v.who, id: id, StoreRequest: r}
	err := v.do(req)
	return req.res, err
}

// Append is Account.Append for the login: what it adds with \Seen, others have
// not seen.
func (v ByLogin) Append(id MailboxID, msgs []NewMessage) (AppendResult, error) {
	private, err := v.isPrivate(id)
	if err != nil {
		for _, m := range msgs {
			m.Upload.Abort()
		}
		return AppendResult{}, err
	}
	var seen []int
	for i := range msgs {
		if at := slices.Index(msgs[i].Flags, imap.FlagSeen); private && at >= 0 {
			seen = append(seen, i)
			msgs[i].Flags = slices.Delete(slices.Clone(msgs[i].Flags), at, at+1)
		}
	}
	res, err := v.Account.Append(id, msgs)
	if err != nil || len(seen) == 0 {
		return res, err
	}
	var uids []imap.UID
	for _, i := range seen {
		uids = append(uids, res.UIDs[i])
	}
	_, err = v.StoreFlags(id, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
	return res, err
}

// CopyFor is Copy, or CopyFrom of another account, for somebody who has rights
// in the destination. Where \Seen is private at either end, the copies get it
// as the login saw it, when they are there.
func (v ByLogin) CopyFor(src ByLogin, from MailboxID, uids []imap.UID, to MailboxID, move bool, rights Rights, goOn func() error) (res CopyResult, err error) {
	here, err := v.isPrivate(to)
	if err != nil {
		return res, err
	}
	there, err := src.isPrivate(from)
	if err != nil {
		return res, err
	}
	var seen map[imap.UID]bool
	if (here || there) && rights&RightSeen != 0 {
		if seen, err = src.seenOf(from, uids); err != nil {
			return res, err
		}
	}
	if src.Account == v.Account {
		res, err = v.CopyWith(from, uids, to, move, rights)
	} else {
		res, err = v.CopyFrom(src.Account, from, uids, to, move, rights, goOn)
	}
	if err != nil || seen == nil {
		return res, err
	}
	for _, mode := range []StoreMode{StoreAdd, StoreRemove} {
		var uids []imap.UID
		for i, uid := range res.From {
			if seen[uid] == (mode == StoreAdd) {
				uids = append(uids, res.To[i])
			}
		}
		if len(uids) > 0 {
			if _, err := v.StoreFlags(to, StoreRequest{UIDs: uids, Mode: mode, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
				v.st.log.Warn("copy_seen_failed", "account", string(v.id), "error", err)
			}
		}
	}
	return res, nil
}

// seenOf are the messages that the login has seen.
func (v ByLogin) seenOf(id MailboxID, uids []imap.UID) (map[imap.UID]bool, error) {
	m, err := v.Account.Mailbox(id)
	seen := map[imap.UID]bool{}
	for part := range slices.Chunk(uids, ReadRows) {
		if err != nil {
			break
		}
		var rows []Row
		rows, err = v.Rows(m.Space, part, nil)
		for i := range rows {
			seen[rows[i].UID] = rows[i].Flags&FlagSeen != 0
		}
	}
	return seen, err
}

// SeenIsPrivate reports whether each login has a \Seen of its own in a mailbox.
func (a *Account) SeenIsPrivate(id MailboxID) (private bool, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		m, err := f.mailboxRow(tx, id)
		if b := tx.Bucket(bucketPrivate); err == nil && b != nil {
			private = b.Get(keyUID(m.Space, 0)[:4]) != nil
		}
		return err
	})
	return private, err
}
