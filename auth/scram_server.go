package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"nestbox/storage"
)

// A scramVariant is one of the mechanisms.
type scramVariant struct{ sha1, plus bool }

func (v scramVariant) name() string {
	if v.plus {
		return schemeOf(v.sha1) + "-PLUS"
	}
	return schemeOf(v.sha1)
}

// A scramExchange is the server's side of one SCRAM exchange (RFC 5802, RFC 7677):
// the password never comes over the wire, and the client learns that the server
// knows it too.
type scramExchange struct {
	a *Authenticator
	c *Conn
	v scramVariant

	begun       bool
	claim       *claim
	params      verifier // what the client was sent: salt and iterations
	first       scramFirst
	nonce       string // the client's and ours
	serverFirst string
}

// scramNonce is the size of our half of the nonce; 192 bits never repeat.
const scramNonce = 24

// Next is Exchange's. An account that doesn't exist is answered like one that
// does: with a salt and iterations that stay the same.
func (x *scramExchange) Next(ctx context.Context, response []byte) (challenge []byte, who *Identity, err error) {
	switch {
	case x.begun:
		_, who, err = x.a.finish(x.c, x.first.authzid, func() (who Identity, err error) {
			challenge, who, err = x.finish(ctx, response)
			return who, err
		})
		return challenge, who, err
	case response == nil:
		return []byte{}, nil, nil
	}
	var b [scramNonce]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	challenge, err = x.start(response, base64.RawStdEncoding.EncodeToString(b[:]))
	return challenge, nil, err
}

func (x *scramExchange) start(message []byte, nonce string) (challenge []byte, err error) {
	x.begun = true
	if x.first, err = parseScramFirst(message); err != nil {
		return nil, err
	}
	if x.v.plus != (x.first.binding != "") {
		return nil, scramError("p= and a mechanism with -PLUS belong together")
	}
	if x.v.plus && x.c.bindingData(x.first.binding) == nil {
		return nil, scramError("the connection has no channel binding of that name, take tls-exporter")
	}
	x.nonce = x.first.nonce + nonce
	if x.claim, err = x.a.lookup(x.first.login, x.c.Peer); err != nil {
		return nil, err
	}
	// Looked for in any case: the answer takes as long for a real account.
	if x.params, err = x.a.scramDecoy(x.first.login); err != nil {
		return nil, err
	}
	if x.claim.reason == "" {
		if x.claim.secrets.params.iterations > 0 {
			x.params = x.claim.secrets.params
		} else {
			x.claim.reason = "no_verifier"
		}
	}
	return x.greet(), nil
}

// greet is the server's first message.
func (x *scramExchange) greet() []byte {
	x.serverFirst = fmt.Sprintf("r=%s,s=%s,i=%d", x.nonce, base64.StdEncoding.EncodeToString(x.params.salt), x.params.iterations)
	return []byte(x.serverFirst)
}

// scramDecoy is the decoy of a login with the iterations of one of the
// accounts, always the same while that account keeps its own: the client sees
// them, and accounts made on another machine have others.
func (a *Authenticator) scramDecoy(login string) (verifier, error) {
	v := a.decoyVerifier(login)
	v.iterations = calibrated()
	accounts, err := a.st.Accounts()
	if err != nil {
		return v, err
	}
	var most []byte
	for _, info := range accounts {
		weight := sum(a.decoy, string(info.ID)+" "+login)
		if bytes.Compare(weight, most) <= 0 {
			continue
		}
		rows, err := a.st.Credentials(info.ID)
		if err != nil {
			return v, err
		}
		if real, _ := parseSecrets(rows); real.params.iterations > 0 {
			most, v.iterations = weight, real.params.iterations
		}
	}
	return v, nil
}

// finish takes the client's last message and returns what proves the server
// to it. Errors and delays are those of Password.
func (x *scramExchange) finish(ctx context.Context, message []byte) ([]byte, Identity, error) {
	final, err := parseScramFinal(message, (&verifier{sha1: x.v.sha1}).size())
	if err != nil {
		return nil, Identity{}, err
	}
	header, ok := bytes.CutPrefix(final.binding, []byte(x.first.header))
	switch {
	case !ok || !x.v.plus && len(header) > 0:
		return nil, Identity{}, scramError("channel binding isn't that of the first message")
	case final.nonce != x.nonce:
		return nil, Identity{}, scramError("nonce isn't that of the first message")
	}
	c := x.claim
	switch {
	case x.v.plus && subtle.ConstantTimeCompare(header, x.c.bindingData(x.first.binding)) != 1:
		c.reason = "channel_binding" // somebody sits between the client and us
	case x.first.strip && x.a.announcesPlus(x.c):
		// The client was told that we have no -PLUS (RFC 5802 §6).
		c.reason = "channel_binding_stripped"
	}
	text := []byte(x.first.bare + "," + x.serverFirst + "," + final.withoutProof)
	serverKey, err := x.check(ctx, text, final.proof)
	x.a.report(c, x.c, err)
	if err != nil {
		return nil, Identity{}, err
	}
	signature := serverKey.sum(serverKey.serverKey, string(text))
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), x.a.welcome(c), nil
}

// announcesPlus tells whether clients on the connection are told of channel binding.
func (a *Authenticator) announcesPlus(c *Conn) bool {
	return c.canBind() && (a.scramReady(false) || a.scramReady(true))
}

// check is Password's check, without caches: no two exchanges are the same. It
// returns the verifier that the client proved to know the password of.
func (x *scramExchange) check(ctx context.Context, text, proof []byte) (*verifier, error) {
	a, c := x.a, x.claim
	if err := a.bans.banned(c.prefix); err != nil {
		return nil, err
	}
	wait, ok := a.addresses.reserve(c.prefix)
	if !ok {
		a.bans.fail(c.prefix, c.peer)
		return nil, &ThrottledError{Wait: wait}
	}
	more := time.Duration(0)
	if !a.isFriend(c) {
		if more, ok = a.accounts.reserve(c.account()); !ok {
			return nil, &ThrottledError{Wait: more}
		}
	}
	if !a.enqueue(c) {
		return nil, &ThrottledError{Wait: maxHold}
	}
	defer a.dequeue(c)
	if err := pause(ctx, max(wait, more)); err != nil {
		return nil, err
	}
	if err := a.bans.banned(c.prefix); err != nil {
		return nil, err // since it began to wait
	}
	// The client may have let minutes pass since its first message: a password
	// that was changed, or an account that was disabled, no longer logs in.
	now, err := a.lookup(c.login, x.c.Peer)
	if err != nil {
		return nil, err
	}
	matched, v := x.matches(text, proof)
	switch {
	case c.reason != "":
	case now.reason != "":
		c.reason = now.reason
	case matched == nil:
		c.reason = "wrong_password"
	case now.info.ID != c.info.ID || !now.secrets.has(matched, v):
		c.reason = "password_changed"
	default:
		c.info, c.matched = now.info, matched
		a.succeeded(c)
		return v, nil
	}
	a.failed(c)
	return nil, ErrBadLogin
}

// matches finds the secret whose password the client knows, among those with the
// salt and iterations that it was sent. All are tried.
func (x *scramExchange) matches(text, proof []byte) (matched *secret, with *verifier) {
	list := x.claim.secrets.list
	for i := range list {
		v := list[i].verifier(x.v.sha1)
		if v != nil && v.sharing(&x.params) && v.proves(text, proof) && matched == nil {
			matched, with = &list[i], v
		}
	}
	if len(list) == 0 { // a decoy, which is proved by nothing
		v := x.params
		v.sha1, v.storedKey = x.v.sha1, make([]byte, v.size())
		v.proves(text, proof)
	}
	return matched, with
}

// has tells whether a secret is still there as it was.
func (s *secrets) has(old *secret, v *verifier) bool {
	now := s.find(old.kind)
	if now == nil || now.scope != old.scope {
		return false
	}
	same := now.verifier(v.sha1)
	return same != nil && bytes.Equal(same.storedKey, v.storedKey)
}

// proves tells whether the client that signed text knows the password
// (RFC 5802 §3).
func (v *verifier) proves(text, proof []byte) bool {
	signature := v.sum(v.storedKey, string(text))
	clientKey := make([]byte, len(signature))
	if len(proof) != len(signature) {
		return false
	}
	subtle.XORBytes(clientKey, signature, proof)
	return v.stores(v.digest(clientKey))
}

// scramReady tells whether SCRAM with a hash is announced: once every account that
// somebody logs in to has all it needs for it. A client that picks it doesn't fall
// back to PLAIN.
func (a *Authenticator) scramReady(sha1 bool) bool {
	version := a.st.SettingsVersion() // before it is looked at
	a.readyMu.Lock()
	defer a.readyMu.Unlock()
	if a.ready == nil || a.readyAt != version {
		a.ready, a.readyAt = a.findReady(), version
	}
	if sha1 {
		return a.ready[1]
	}
	return a.ready[0]
}

func (a *Authenticator) findReady() *[2]bool {
	accounts, err := a.st.Accounts()
	if err != nil {
		return new([2]bool)
	}
	ready := [2]bool{true, true}
	for _, info := range accounts {
		if info.Disabled || info.Shared() {
			continue
		}
		rows, err := a.st.Credentials(info.ID)
		if errors.Is(err, storage.ErrNoAccount) {
			continue // deleted meanwhile
		}
		var s secrets
		if err == nil {
			s, err = parseSecrets(rows)
		}
		ready[0] = ready[0] && err == nil && s.complete(false)
		ready[1] = ready[1] && err == nil && s.complete(true)
	}
	return &ready
}
