package storage

import (
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Usage is what an account holds, or with 0 for no limit, may hold: the
// resources STORAGE, MESSAGE and MAILBOX of RFC 9208 §5. Expunged messages
// count for none.
type Usage struct {
	Octets    int64 `json:"octets"`
	Messages  int64 `json:"messages"`
	Mailboxes int64 `json:"mailboxes"`
}

func (u Usage) plus(more Usage) Usage {
	return Usage{u.Octets + more.Octets, u.Messages + more.Messages, u.Mailboxes + more.Mailboxes}
}

// usageOf is a mailbox's share.
func usageOf(m *Mailbox) Usage {
	return Usage{Octets: m.Octets, Messages: int64(m.Messages), Mailboxes: 1}
}

// eachResource calls f with the numbers of u and limit, one resource at a time.
func (u Usage) eachResource(limit Usage, f func(resource string, used, limit int64)) {
	f("octets of mail", u.Octets, limit.Octets)
	f("messages", u.Messages, limit.Messages)
	f("mailboxes", u.Mailboxes, limit.Mailboxes)
}

// A QuotaError says which quota a request would pass. It is an ErrOverQuota.
type QuotaError struct {
	Resource string // "octets of mail"
	Limit    int64
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("quota of %d %s exceeded", e.Limit, e.Resource)
}

// Unwrap makes it an ErrOverQuota.
func (e *QuotaError) Unwrap() error { return ErrOverQuota }

// room refuses what would pass a quota. Who holds more than a quota that was
// lowered can still do what adds nothing of that resource.
func (w *txn) room(more Usage) error {
	return w.f.used.plus(w.used).room(more, w.f.a.policy().limits)
}

func (u Usage) room(more, limits Usage) (err error) {
	will := u.plus(more)
	adds := Usage{}
	if more.Octets > 0 {
		adds.Octets = limits.Octets
	}
	if more.Messages > 0 {
		adds.Messages = limits.Messages
	}
	if more.Mailboxes > 0 {
		adds.Mailboxes = limits.Mailboxes
	}
	will.eachResource(adds, func(resource string, used, limit int64) {
		if err == nil && limit > 0 && used > limit {
			err = &QuotaError{Resource: resource, Limit: limit}
		}
	})
	return err
}

// The levels of a quota, in percent, that the log is told of when they are
// reached; and by how much the usage must fall for it to be told again.
const (
	quotaHigh, quotaNearlyFull = 80, 95
	quotaSlack                 = 5
)

// nowUsed counts a committed transaction.
func (f *files) nowUsed(more Usage) {
	if more == (Usage{}) {
		return
	}
	f.used = f.used.plus(more)
	f.showUsed()
	f.watchQuota(f.a.policy().limits, true)
}

// watchQuota finds out which level the fullest quota has reached.
func (f *files) watchQuota(limits Usage, tell bool) {
	top, what, of := int64(0), "", int64(0)
	f.used.eachResource(limits, func(resource string, used, limit int64) {
		if limit > 0 && used*100/limit > top {
			top, what, of = used*100/limit, resource, limit
		}
	})
	level := 0
	switch {
	case top >= quotaNearlyFull:
		level = quotaNearlyFull
	case top >= quotaHigh:
		level = quotaHigh
	}
	switch {
	case level > f.level:
		f.level = level
		if !tell {
			return
		}
		event := f.a.st.log.With("account", string(f.a.id), "resource", what, "limit", of, "percent", top)
		if level == quotaNearlyFull {
			event.Warn("quota_95")
		} else {
			event.Warn("quota_80")
		}
	case int64(f.level) > top+quotaSlack:
		f.level = level
	}
}

// showUsed lets readers see what the writer counted.
func (f *files) showUsed() {
	u := f.used
	f.shown.Store(&u)
}

// Quota is what the account holds and may hold (RFC 9208 §4.1: GETQUOTA), as
// of the last commit. It reads nothing.
func (a *Account) Quota() (used, limits Usage, err error) {
	f, err := a.acquire()
	if err != nil {
		return used, limits, err
	}
	defer f.release()
	return *f.shown.Load(), a.policy().limits, nil
}

// MayAppend refuses a message of so many octets that would pass a quota, so
// that it need not be sent. Append decides: others may write meanwhile.
func (a *Account) MayAppend(octets int64) error {
	if limits := a.policy().limits; limits.Octets == 0 && limits.Messages == 0 {
		return nil
	}
	used, limits, err := a.Quota()
	if err != nil {
		return err
	}
	return used.room(Usage{Octets: octets, Messages: 1}, limits)
}

// readMeta reads what is known of the account while it is open.
func (f *files) readMeta(path string) error {
	return f.mail.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		f.secret = append([]byte(nil), meta.Get([]byte("secret"))...)
		f.modseq = ModSeq(getUint64(meta, "modseq"))
		return tx.Bucket(bucketMailboxes).ForEach(func(k, v []byte) error {
			m, err := decodeMailbox(k, v)
			if err != nil { // the others must be served; Check names it
				f.a.st.log.Error("mailbox_damaged", "account", string(f.a.id), "error", err)
				return nil
			}
			f.used = f.used.plus(usageOf(&m))
			sharesIn(f.shares, &m)
			return nil
		})
	})
}
