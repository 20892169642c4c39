package storage

import "github.com/emersion/go-imap/v2"

type replaceRequest struct {
	appendRequest
	from MailboxID
	uid  imap.UID
}

// Replace adds a message to the mailbox to and expunges message uid of the
// mailbox from, both or neither (RFC 8508 §3.4). What the old message occupied
// is taken off the quota first. The upload is used up.
func (a *Account) Replace(from MailboxID, uid imap.UID, to MailboxID, msg NewMessage) (AppendResult, error) {
	r := &replaceRequest{appendRequest: appendRequest{id: to, msgs: []NewMessage{msg}}, from: from, uid: uid}
	err := a.do(r)
	if err != nil {
		msg.Upload.Abort()
	}
	return r.res, err
}

func (r *replaceRequest) rows() int { return 2 }

func (r *replaceRequest) apply(w *txn) (bool, error) {
	src, err := w.mailbox(r.from)
	if err != nil {
		return false, err
	}
	old, ok := w.row(src.Space, r.uid)
	if !ok {
		return false, ErrExpunged
	}
	freed := Usage{Octets: -old.Size, Messages: -1}
	w.used = w.used.plus(freed)
	_, err = r.appendRequest.apply(w)
	w.used = w.used.plus(Usage{Octets: old.Size, Messages: 1}) // expunge counts it
	if err != nil {
		return false, err
	}
	return false, w.expunge(src, []Row{old}, w.next(), keptExpunged)
}
