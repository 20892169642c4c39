package storage

import (
	"sync"
	"sync/atomic"
)

// logins are the sessions that hold an account, of any protocol.
type logins struct {
	mu  sync.Mutex
	all map[AccountID]map[*Login]struct{}
}

// A Login is one session's hold of an account. When the account is deleted or
// disabled, or the secret that it logged in with is changed, the session is woken
// and must end.
type Login struct {
	st     *Store
	ids    []AccountID // the account, and who acts for it if that is another
	kind   string      // of the credential it logged in with; "": any
	waker  Waker
	reason atomic.Pointer[string]
}

// Login registers a session that has authenticated. It must be closed.
func (st *Store) Login(id AccountID, w Waker) (*Login, error) {
	return st.LoginBy(id, id, "", w)
}

// LoginBy is Login for a session that logged in with a certain credential of by,
// an account that may act for id, or is id.
func (st *Store) LoginBy(id, by AccountID, kind string, w Waker) (*Login, error) {
	l := &Login{st: st, ids: []AccountID{id}, kind: kind, waker: w}
	if by != id {
		l.ids = append(l.ids, by)
	}
	st.logins.mu.Lock()
	if st.logins.all == nil {
		st.logins.all = map[AccountID]map[*Login]struct{}{}
	}
	for _, id := range l.ids {
		if st.logins.all[id] == nil {
			st.logins.all[id] = map[*Login]struct{}{}
		}
		st.logins.all[id][l] = struct{}{}
	}
	st.logins.mu.Unlock()
	// Looked at now, so that who deletes or disables it either finds this
	// login or was seen.
	if err := st.mayHold(l, by); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (st *Store) mayHold(l *Login, by AccountID) error {
	for _, id := range l.ids {
		info, err := st.AccountInfo(id)
		if err != nil {
			return err
		}
		if info.Disabled || info.Shared() {
			return ErrNoAccount
		}
	}
	if l.kind == "" {
		return nil
	}
	rows, err := st.Credentials(by)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Kind == l.kind {
			return nil
		}
	}
	return ErrNoAccount // revoked meanwhile
}

// Close ends the hold.
func (l *Login) Close() {
	ls := &l.st.logins
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, id := range l.ids {
		delete(ls.all[id], l)
		if len(ls.all[id]) == 0 {
			delete(ls.all, id)
		}
	}
}

// Ended says why the session must end; "" while it needn't.
func (l *Login) Ended() string {
	if why := l.reason.Load(); why != nil {
		return *why
	}
	return ""
}

// endLogins ends all sessions of an account, and those in which it acts for
// another.
func (st *Store) endLogins(id AccountID, why string) {
	st.endLoginsBy(id, func(string) bool { return true }, why)
}

// endLoginsBy ends the sessions of an account that logged in with some
// credentials.
func (st *Store) endLoginsBy(id AccountID, ends func(kind string) bool, why string) {
	st.endLoginsWhere(id, func(l *Login) bool { return ends(l.kind) }, why)
}

// actor is the account that acts for another in the session, or "".
func (l *Login) actor() AccountID {
	if len(l.ids) < 2 {
		return ""
	}
	return l.ids[1]
}

func (st *Store) endLoginsWhere(id AccountID, ends func(l *Login) bool, why string) {
	st.logins.mu.Lock()
	defer st.logins.mu.Unlock()
	for l := range st.logins.all[id] {
		if ends(l) {
			l.reason.CompareAndSwap(nil, &why)
			l.waker.Wake()
		}
	}
}
