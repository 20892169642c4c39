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
// disabled, or its password changes, the session is woken and must end.
type Login struct {
	st     *Store
	id     AccountID
	waker  Waker
	reason atomic.Pointer[string]
}

// Login registers a session that has authenticated. It must be closed.
func (st *Store) Login(id AccountID, w Waker) (*Login, error) {
	l := &Login{st: st, id: id, waker: w}
	st.logins.mu.Lock()
	if st.logins.all == nil {
		st.logins.all = map[AccountID]map[*Login]struct{}{}
	}
	if st.logins.all[id] == nil {
		st.logins.all[id] = map[*Login]struct{}{}
	}
	st.logins.all[id][l] = struct{}{}
	st.logins.mu.Unlock()
	// Looked at now, so that who deletes or disables it either finds this
	// login or was seen.
	info, err := st.AccountInfo(id)
	if err == nil && (info.Disabled || info.Shared()) {
		err = ErrNoAccount
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close ends the hold.
func (l *Login) Close() {
	ls := &l.st.logins
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.all[l.id], l)
	if len(ls.all[l.id]) == 0 {
		delete(ls.all, l.id)
	}
}

// Ended says why the session must end; "" while it needn't.
func (l *Login) Ended() string {
	if why := l.reason.Load(); why != nil {
		return *why
	}
	return ""
}

// endLogins ends all sessions of an account.
func (st *Store) endLogins(id AccountID, why string) {
	st.logins.mu.Lock()
	defer st.logins.mu.Unlock()
	for l := range st.logins.all[id] {
		l.reason.CompareAndSwap(nil, &why)
		l.waker.Wake()
	}
}
