package auth

import (
	"errors"
	"log/slog"

	"nestbox/storage"
)

// NewCredentials makes of a password all that is stored of it for a new account.
func NewCredentials(password string) ([]storage.Credential, error) {
	prepared, err := prepare(password)
	if err != nil {
		return nil, err
	}
	params := newParams(calibrated())
	s := secret{kind: storage.KindPassword, scope: ScopeAll}
	if err := s.derive(params, prepared); err != nil {
		return nil, err
	}
	return append(s.rows(), params.params()), nil
}

// derive makes the verifiers of a password.
func (s *secret) derive(params verifier, prepared string) error {
	s.verifiers = nil
	for _, sha1 := range []bool{false, true} {
		v, err := params.derive(sha1, prepared)
		if err != nil {
			return err
		}
		s.verifiers = append(s.verifiers, v)
	}
	return nil
}

// errChanged says that an account's secrets changed while one was computed.
var errChanged = errors.New("the account's passwords were changed at the same time, try again")

// put stores a secret of an account with the salt and iterations that it has, or
// gets now. Hashes are computed outside of the commit.
func put(st *storage.Store, id storage.AccountID, s secret, prepared string, check func(rows []storage.Credential) error) error {
	err := errChanged
	for tries := 0; tries < 3 && errors.Is(err, errChanged); tries++ {
		var rows []storage.Credential
		if rows, err = st.Credentials(id); err != nil {
			return err
		}
		now, _ := parseSecrets(rows) // unreadable ones are no reason not to make a new one
		params := now.paramsOrNew()
		if err := s.derive(params, prepared); err != nil {
			return err
		}
		err = st.ChangeCredentials(id, func(rows []storage.Credential) (change storage.CredentialChange, err error) {
			if later, _ := parseSecrets(rows); later.state != now.state {
				return change, errChanged
			}
			change.Set = append(s.rows(), params.params())
			if s.kind == storage.KindPassword {
				change.Set = append(change.Set, storage.Credential{Kind: kindForeign})
				change.Ends, change.Why = func(string) bool { return true }, "the password was changed"
			}
			if check != nil {
				err = check(rows)
			}
			return change, err
		})
	}
	return err
}

func (s *secrets) paramsOrNew() verifier {
	if s.params.iterations == 0 {
		return newParams(calibrated())
	}
	return s.params
}

// SetPassword gives an account a new main password. Its sessions end, and logins
// with the old one at once: what is remembered of logins hangs on what is stored.
// App passwords stay.
func SetPassword(st *storage.Store, id storage.AccountID, password string) error {
	prepared, err := prepare(password)
	if err != nil {
		return err
	}
	return audited(st, id, "changed", put(st, id, secret{kind: storage.KindPassword, scope: ScopeAll}, prepared, nil))
}

// audited notes what became of an account's passwords.
func audited(st *storage.Store, id storage.AccountID, what string, err error) error {
	if err == nil {
		st.Audit(storage.AuditEvent{Kind: storage.AuditPassword, Account: id, Detail: what})
	}
	return err
}

// SetPassword is the function of that name.
func (a *Authenticator) SetPassword(id storage.AccountID, password string) error {
	return SetPassword(a.st, id, password)
}

// renew gives the secret that just logged in the verifiers that it lacks, or those
// that clients take. Such a login writes, once.
func (a *Authenticator) renew(c *claim) {
	m := *c.matched
	if m.kind == kindForeign {
		m.kind = storage.KindPassword
	} else if m.complete(false, &c.secrets.params) && m.complete(true, &c.secrets.params) {
		return
	}
	params := c.secrets.paramsOrNew()
	err := m.derive(params, c.password)
	if err == nil {
		err = a.st.ChangeCredentials(c.info.ID, func(rows []storage.Credential) (change storage.CredentialChange, err error) {
			if now, _ := parseSecrets(rows); now.state != c.secrets.state {
				return change, errChanged // by another login, or by a new password
			}
			change.Set = append(m.rows(), params.params())
			if c.matched.kind == kindForeign {
				change.Set = append(change.Set, storage.Credential{Kind: kindForeign})
			}
			return change, nil
		})
	}
	if errors.Is(err, errChanged) && c.matched.kind == kindForeign {
		a.rematch(c)
		return
	}
	if err != nil {
		if !errors.Is(err, errChanged) {
			a.log.Warn("verifier_not_renewed", slog.String("account", string(c.info.ID)), slog.String("error", err.Error()))
		}
		return
	}
	a.log.Info("verifier_renewed", slog.String("account", string(c.info.ID)))
	if rows, err := a.st.Credentials(c.info.ID); err == nil {
		if now, err := parseSecrets(rows); err == nil && now.find(m.kind) != nil {
			c.secrets, c.matched = now, now.find(m.kind)
		}
	}
}

// rematch looks again at the password of a claim whose account's hash was replaced
// meanwhile: most likely by the same client, which logs in twice at a time.
func (a *Authenticator) rematch(c *claim) {
	c.matched = nil
	rows, err := a.st.Credentials(c.info.ID)
	if err == nil {
		if c.secrets, err = parseSecrets(rows); err == nil {
			err = c.match()
		}
	}
	if err != nil || c.matched == nil {
		c.matched, c.reason = nil, "password_changed"
	}
}
