package storage

import (
	"errors"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// Messages go from one account to another without either's writer waiting for
// the other. The session reads them there and stages them here: their rows are
// in a space that belongs to no mailbox, under an intent that has the next open
// remove them. The last transaction gives the rows to the mailbox, all at once.
// Of a MOVE it turns the intent into one that says what to expunge at the
// source; that is done when it is on the disk, by this call or, after a crash,
// at the next open (moved.go). So a message is in one place or in both, never
// in none.

// Bounds of what is staged in one transaction, and of a MOVE in one go: each
// slice of it vanishes there when it has appeared here.
const (
	stageMessages = 100
	stageOctets   = 1 << 20
	moveSlice     = sliceRows
)

// A transfer is a COPY or MOVE from another account.
type transfer struct {
	dst, src *Account
	from, to MailboxID
	move     bool
	rights   Rights
	goOn     func() error // asked now and then; an error ends the transfer

	space Space // where the rows are staged
	next  imap.UID
	uids  []imap.UID // at the source, of what is staged
	// validity is the UIDVALIDITY of the source.
	validity uint32
}

// CopyFrom copies messages of a mailbox of another account into a mailbox of
// this one, or moves them, for somebody who has rights here. A copy is all or
// nothing; a move of many messages goes in slices. A message of uids that is
// expunged is passed over.
func (a *Account) CopyFrom(src *Account, from MailboxID, uids []imap.UID, to MailboxID, move bool, rights Rights, goOn func() error) (res CopyResult, err error) {
	t := &transfer{dst: a, src: src, from: from, to: to, move: move, rights: rights, goOn: goOn}
	slice := len(uids)
	if move {
		slice = moveSlice
	}
	for part := range slices.Chunk(uids, max(slice, 1)) {
		if err = t.run(part, &res); err != nil {
			break
		}
	}
	if move && len(res.From) > 0 {
		return res, nil // what is moved is; the rest stays where it was
	}
	return res, err
}

// run transfers uids, all or none.
func (t *transfer) run(uids []imap.UID, res *CopyResult) error {
	f, err := t.dst.acquire() // the files stay open: opening them removes what is staged
	if err != nil {
		return err
	}
	defer f.release()
	if err := t.begin(uids); err != nil {
		return err
	}
	if err := t.stageAll(uids); err != nil {
		return errors.Join(err, t.abandon())
	}
	if len(t.uids) == 0 {
		return t.abandon()
	}
	show := &showRequest{t: t}
	if err := t.dst.do(show); err != nil {
		return errors.Join(err, t.abandon())
	}
	res.UIDValidity, res.DestModSeq = show.validity, show.at
	res.From, res.To = append(res.From, t.uids...), append(res.To, show.to...)
	if !t.move {
		return nil
	}
	if err := t.src.Remove(t.from, t.uids); err != nil && !errors.Is(err, ErrNoMailbox) {
		return err // the intent stays: the next open tries again
	}
	return t.dst.forgetMove(t.space)
}

// begin makes the space in which the messages are staged, if there is room for
// all of them.
func (t *transfer) begin(uids []imap.UID) error {
	var more Usage
	m, err := t.src.Mailbox(t.from)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(uids, ReadRows) {
		rows, err := t.src.Rows(m.Space, part, nil)
		if err != nil {
			return err
		}
		for i := range rows {
			if !rows[i].Expunged {
				more = more.plus(Usage{Octets: rows[i].Size, Messages: 1})
			}
		}
	}
	if err := t.dst.roomFor(more.Octets); err != nil {
		return err
	}
	t.next, t.uids, t.validity = 1, nil, m.UIDValidity
	return t.dst.do(mailboxRequest(func(w *txn) error {
		if _, err := w.mailbox(t.to); err != nil {
			return err
		}
		if err := w.room(more); err != nil {
			return err
		}
		t.space = w.newSpace()
		return w.putIntent(t.space, intentStage, nil)
	}))
}

// stageAll reads the messages at the source and stages them.
func (t *transfer) stageAll(uids []imap.UID) error {
	m, err := t.src.Mailbox(t.from)
	if err != nil {
		return err
	}
	stage := &stageRequest{t: t}
	defer func() { stage.abort() }()
	for part := range slices.Chunk(uids, ReadRows) {
		rows, err := t.src.Rows(m.Space, part, nil)
		if err != nil {
			return err
		}
		for i := range rows {
			if rows[i].Expunged {
				continue
			}
			if len(stage.msgs) > 0 && (len(stage.msgs) == stageMessages || stage.octets+rows[i].Size > stageOctets) {
				if stage, err = t.flush(stage); err != nil {
					return err
				}
			}
			if err := t.goOn(); err != nil {
				return err
			}
			up, err := t.read(&rows[i])
			if err != nil {
				return err
			}
			r := &rows[i]
			stage.octets += r.Size
			stage.msgs = append(stage.msgs, NewMessage{Upload: up, Flags: t.rights.Flags(m.FlagNames(r.Flags)), Date: r.InternalDate()})
			stage.uids = append(stage.uids, r.UID)
		}
	}
	stage, err = t.flush(stage)
	return err
}

// read takes the bytes of a message over.
func (t *transfer) read(r *Row) (*Upload, error) {
	blob, err := t.src.OpenBlob(r.Blob)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	up, err := t.dst.NewUpload(r.Size)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(up, io.NewSectionReader(blob, 0, blob.Size())); err != nil {
		up.Abort()
		return nil, err
	}
	if err := up.Close(); err != nil {
		up.Abort()
		return nil, err
	}
	return up, nil
}

// flush stages what was read, and returns an empty request for the next.
func (t *transfer) flush(stage *stageRequest) (*stageRequest, error) {
	if len(stage.msgs) == 0 {
		return stage, nil
	}
	if err := t.dst.do(stage); err != nil {
		stage.done = false
		return stage, err
	}
	t.next += imap.UID(len(stage.msgs))
	t.uids = append(t.uids, stage.uids...)
	return &stageRequest{t: t}, nil
}

// abandon removes what is staged.
func (t *transfer) abandon() error {
	return t.dst.exec(func(f *files) error { return f.sweepSpace(t.space, 1) })
}

// A stageRequest adds rows to the space of a transfer.
type stageRequest struct {
	t      *transfer
	msgs   []NewMessage
	uids   []imap.UID
	octets int64
	done   bool
}

func (r *stageRequest) rows() int   { return len(r.msgs) }
func (r *stageRequest) rewind()     { r.done = false }
func (r *stageRequest) frees() bool { return false }

func (r *stageRequest) bodies() []*Upload {
	ups := make([]*Upload, len(r.msgs))
	for i := range r.msgs {
		ups[i] = r.msgs[i].Upload
	}
	return ups
}

// abort gives up what was read and not staged.
func (r *stageRequest) abort() {
	if r.done {
		return
	}
	for _, m := range r.msgs {
		m.Upload.Abort()
	}
}

func (r *stageRequest) apply(w *txn) (bool, error) {
	m, err := w.mailbox(r.t.to)
	if err != nil {
		return false, err
	}
	if !w.isStage(r.t.space) {
		return false, errUnstaged
	}
	var all []imap.Flag
	for i := range r.msgs {
		all = append(all, r.msgs[i].Flags...)
	}
	fresh, err := m.newKeywords(all)
	if err != nil {
		return false, err
	}
	if err := w.addKeywords(m, fresh); err != nil {
		return false, err
	}
	w.dirty = true
	for i := range r.msgs {
		row, err := w.newRow(m, &r.msgs[i], r.t.next+imap.UID(i), 0)
		if err != nil {
			return false, fatal(err)
		}
		if err := w.bucket(bucketRows).Put(keyUID(r.t.space, row.UID), encodeRow(&row)); err != nil {
			return false, fatal(err)
		}
	}
	r.done = true
	return false, nil
}

// errUnstaged says that the files were opened again meanwhile, and what was
// staged removed.
var errUnstaged = errors.Join(errors.New("the account was opened again during a transfer"), ErrUnavailable)

func (w *txn) isStage(space Space) bool {
	v := w.bucket(bucketIntents).Get(keyUID(space, 0)[:4])
	return len(v) == 1 && v[0] == intentStage
}

// A showRequest gives the staged rows to the mailbox.
type showRequest struct {
	t *transfer
	showState
	before showState // the last apply
}

type showState struct {
	done     int
	to       []imap.UID
	validity uint32
	at       ModSeq
}

func (r *showRequest) bodies() []*Upload { return nil }
func (r *showRequest) rows() int         { return len(r.t.uids) }
func (r *showRequest) rewind()           { r.showState = r.before }
func (r *showRequest) frees() bool       { return false }

// apply moves a slice of the rows to where they belong, above UIDNEXT; the last
// one shows all. What an earlier slice wrote is under an intent.
func (r *showRequest) apply(w *txn) (more bool, err error) {
	r.before = r.showState
	m, err := w.mailbox(r.t.to)
	if err != nil {
		return false, err
	}
	if r.done == 0 {
		switch {
		case !w.isStage(r.t.space):
			return false, errUnstaged
		case uint64(m.UIDNext)+uint64(len(r.t.uids)) > 1<<32-1:
			return false, &LimitError{What: "UIDs in a mailbox", Max: 1<<32 - 1}
		}
	}
	n := min(len(r.t.uids)-r.done, sliceRows)
	at := w.modseq + 1 // what the last slice takes
	rows, now := w.bucket(bucketRows), w.f.a.now().Unix()
	w.dirty = true
	for i := range n {
		n := imap.UID(r.done + i + 1)
		staged := keyUID(r.t.space, n)
		uid := m.UIDNext + imap.UID(r.done+i)
		row, err := decodeRow(n, rows.Get(staged))
		if err != nil {
			return false, fatal(err)
		}
		row.UID, row.ModSeq, row.SaveDate = uid, at, now
		if err := rows.Put(keyUID(m.Space, uid), encodeRow(&row)); err != nil {
			return false, fatal(err)
		}
		if err := rows.Delete(staged); err != nil {
			return false, fatal(err)
		}
		r.to = append(r.to, uid)
	}
	r.done += n
	if r.done < len(r.t.uids) {
		return true, w.putIntent(m.Space, intentCopy, le32(uint32(m.UIDNext)))
	}
	return false, r.finish(w, m)
}

func (r *showRequest) finish(w *txn, m *Mailbox) error {
	r.at, r.validity = w.next(), m.UIDValidity
	rows := w.bucket(bucketRows)
	for _, uid := range r.to {
		row, err := decodeRow(uid, rows.Get(keyUID(m.Space, uid)))
		if err != nil {
			return fatal(err)
		}
		m.count(&row)
		w.used = w.used.plus(Usage{Octets: row.Size, Messages: 1})
	}
	if err := w.show(m, r.to[0], r.to[len(r.to)-1], r.at); err != nil {
		return err
	}
	intents := w.bucket(bucketIntents)
	if r.before.done > 0 {
		if err := intents.Delete(keyUID(m.Space, 0)[:4]); err != nil {
			return fatal(err)
		}
	}
	if r.t.move {
		return w.putIntent(r.t.space, intentMoved, r.t.moved())
	}
	return fatal(intents.Delete(keyUID(r.t.space, 0)[:4]))
}

// removeRequest expunges messages that are somewhere else now.
type removeRequest struct{ expungeRequest }

// Remove expunges messages, with \Deleted or without: they have gone elsewhere.
func (a *Account) Remove(id MailboxID, uids []imap.UID) error {
	return a.do(&removeRequest{expungeRequest{id: id, uids: uids}})
}

func (r *removeRequest) apply(w *txn) (more bool, err error) {
	r.before = r.expungeState
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	uids := r.uids[r.done:]
	uids = uids[:min(len(uids), sliceRows)]
	var rows []Row
	for _, uid := range uids {
		if row, ok := w.row(m.Space, uid); ok {
			rows = append(rows, row)
		}
	}
	r.done += len(uids)
	if len(rows) == 0 {
		return r.done < len(r.uids), nil
	}
	return r.done < len(r.uids), w.expunge(m, rows, w.next(), keptMoved)
}
