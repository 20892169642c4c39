package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
)

// A Scram is the server's side of one SCRAM-SHA-256 exchange (RFC 5802,
// RFC 7677): the password never comes over the wire, and the client learns
// that the server knows it too.
type Scram struct {
	a     *Authenticator
	peer  netip.Addr
	claim *claim
	first scramFirst

	nonce       string // the client's and ours
	serverFirst string
}

// scramNonce is the size of our half of the nonce; 192 bits never repeat.
const scramNonce = 24

// StartScram takes the client's first message and returns the answer to it.
// An account that doesn't exist is answered like one that does: with a salt
// and iterations that stay the same.
func (a *Authenticator) StartScram(message []byte, peer netip.Addr) (*Scram, []byte, error) {
	var b [scramNonce]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return a.startScram(message, base64.RawStdEncoding.EncodeToString(b[:]), peer)
}

func (a *Authenticator) startScram(message []byte, nonce string, peer netip.Addr) (*Scram, []byte, error) {
	first, err := parseScramFirst(message)
	if err != nil {
		return nil, nil, err
	}
	s := &Scram{a: a, peer: peer, first: first, nonce: first.nonce + nonce}
	if s.claim, err = a.lookup(first.login, peer); err != nil {
		return nil, nil, err
	}
	// Looked for in any case: the answer takes as long for a real account.
	decoy, err := a.scramDecoy(first.login)
	if err != nil {
		return nil, nil, err
	}
	s.claim.verifier = decoy
	if s.claim.reason == "" {
		if s.claim.verifier, err = parseVerifier(s.claim.credential); err != nil {
			return nil, nil, err
		}
	}
	s.serverFirst = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce,
		base64.StdEncoding.EncodeToString(s.claim.verifier.salt), s.claim.verifier.iterations)
	return s, []byte(s.serverFirst), nil
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
		credential, err := a.st.Credential(info.ID)
		if err != nil {
			return v, err
		}
		if real, err := parseVerifier(credential); err == nil {
			most, v.iterations = weight, real.iterations
		}
	}
	return v, nil
}

// Authzid is for whom the client wants to act, or "".
func (s *Scram) Authzid() string { return s.first.authzid }

// Login is the name that the client logs in with.
func (s *Scram) Login() string { return s.first.login }

// Finish takes the client's last message and returns what proves the server
// to it. Errors and delays are those of Password.
func (s *Scram) Finish(ctx context.Context, message []byte) ([]byte, Identity, error) {
	final, err := parseScramFinal(message)
	switch {
	case err != nil:
		return nil, Identity{}, err
	case !bytes.Equal(final.binding, []byte(s.first.header)):
		return nil, Identity{}, scramError("channel binding isn't that of the first message")
	case final.nonce != s.nonce:
		return nil, Identity{}, scramError("nonce isn't that of the first message")
	}
	text := []byte(s.first.bare + "," + s.serverFirst + "," + final.withoutProof)
	err = s.check(ctx, text, final.proof)
	s.a.report(s.claim, s.peer, err)
	if err != nil {
		return nil, Identity{}, err
	}
	c := s.claim
	who := Identity{Account: c.info.ID, Name: c.info.Name, Login: c.login}
	if s.a.loggedIn != nil {
		s.a.loggedIn(who)
	}
	signature := sum(c.verifier.serverKey, string(text))
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), who, nil
}

// check is Password's check, without caches: no two exchanges are the same.
func (s *Scram) check(ctx context.Context, text, proof []byte) error {
	a, c := s.a, s.claim
	if err := a.bans.banned(c.prefix); err != nil {
		return err
	}
	wait, ok := a.addresses.reserve(c.prefix)
	if !ok {
		return &ThrottledError{Wait: wait}
	}
	more, ok := a.accounts.reserve(c.account())
	if !ok {
		return &ThrottledError{Wait: more}
	}
	if a.queued.Add(1) > maxQueue {
		a.queued.Add(-1)
		return &ThrottledError{Wait: maxHold}
	}
	defer a.queued.Add(-1)
	if err := pause(ctx, max(wait, more)); err != nil {
		return err
	}
	// The client may have let minutes pass since its first message: a password
	// that was changed, or an account that was disabled, no longer logs in.
	now, err := a.lookup(c.login, s.peer)
	if err != nil {
		return err
	}
	ok = c.verifier.proves(text, proof)
	switch {
	case c.reason != "":
	case now.reason != "":
		c.reason = now.reason
	case now.info.ID != c.info.ID || !slices.Equal(now.credential, c.credential):
		c.reason = "password_changed"
	case !ok:
		c.reason = "wrong_password"
	default:
		c.info = now.info
		a.succeeded(c)
		return nil
	}
	a.failed(c)
	return ErrBadLogin
}

// proves tells whether the client that signed text knows the password
// (RFC 5802 §3). A decoy is proved by nothing.
func (v *verifier) proves(text, proof []byte) bool {
	stored := v.storedKey
	if len(stored) != sha256.Size {
		stored = make([]byte, sha256.Size)
	}
	mac := hmac.New(sha256.New, stored)
	mac.Write(text)
	clientKey := make([]byte, sha256.Size)
	subtle.XORBytes(clientKey, mac.Sum(nil), proof)
	h := sha256.Sum256(clientKey)
	return subtle.ConstantTimeCompare(h[:], stored) == 1 && len(v.storedKey) == sha256.Size
}
