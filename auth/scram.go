package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A password is stored as the SCRAM-SHA-256 verifier of RFC 7677, which
// serves PLAIN as well and from which the password can't be had back. Its
// text is that of RFC 5803 §3:
//
//	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
//
// salt and keys in base64. The scheme in front tells the hash. SHA-1's are for
// clients that know no other (docs/decisions/0050-logins.md).
const (
	schemeSHA256 = "SCRAM-SHA-256"
	schemeSHA1   = "SCRAM-SHA-1"
)

const (
	saltSize = 16
	// minIterations is what a router can bear, maxIterations what a NAS gets;
	// in between, hashTime decides (PLATFORM.md §4). Cyrus SASL refuses SCRAM with
	// more than 65,536, and mbsync then hangs instead of taking PLAIN.
	minIterations = 15_000
	maxIterations = 65_536
	hashTime      = 100 * time.Millisecond
	// mostIterations bounds what a stored verifier can make us compute.
	mostIterations = 10_000_000
)

// A verifier tells whether a password is the right one.
type verifier struct {
	sha1       bool // else SHA-256
	iterations int
	salt       []byte
	storedKey  []byte // empty in a decoy, which nothing matches
	serverKey  []byte
}

// errVerifier never holds the text: it is as good as a password to some.
var errVerifier = errors.New("stored credential is unreadable or of a later nestbox")

// NewCredential makes of a password what the first nestbox stored of it, and what
// every later one reads. A password that can't be used gives a *PasswordError.
func NewCredential(password string) ([]byte, error) {
	return newCredential(password, calibrated())
}

func newCredential(password string, iterations int) ([]byte, error) {
	prepared, err := prepare(password)
	if err != nil {
		return nil, err
	}
	v, err := newParams(iterations).derive(false, prepared)
	if err != nil {
		return nil, err
	}
	return v.text(), nil
}

// newParams are a salt and iterations for an account.
func newParams(iterations int) verifier {
	v := verifier{iterations: iterations, salt: make([]byte, saltSize)}
	_, _ = rand.Read(v.salt) // never fails: crypto/rand
	return v
}

// derive makes a verifier of a password with the salt and iterations of v.
func (v verifier) derive(sha1 bool, prepared string) (verifier, error) {
	v.sha1 = sha1
	var err error
	v.storedKey, v.serverKey, err = v.keys(prepared)
	return v, err
}

func schemeOf(sha1 bool) string {
	if sha1 {
		return schemeSHA1
	}
	return schemeSHA256
}

func (v *verifier) hash() hash.Hash {
	if v.sha1 {
		return sha1.New()
	}
	return sha256.New()
}

func (v *verifier) size() int {
	if v.sha1 {
		return sha1.Size
	}
	return sha256.Size
}

// keys derives StoredKey and ServerKey (RFC 5802 §3).
func (v *verifier) keys(prepared string) (stored, server []byte, err error) {
	salted, err := pbkdf2.Key(v.hash, prepared, v.salt, v.iterations, v.size())
	if err != nil {
		return nil, nil, err
	}
	return v.digest(v.sum(salted, "Client Key")), v.sum(salted, "Server Key"), nil
}

func (v *verifier) sum(key []byte, text string) []byte {
	mac := hmac.New(v.hash, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func (v *verifier) digest(b []byte) []byte {
	h := v.hash()
	h.Write(b)
	return h.Sum(nil)
}

func sum(key []byte, text string) []byte { return new(verifier).sum(key, text) }

// matches takes as long for a decoy as for a real verifier.
func (v *verifier) matches(prepared string) (bool, error) {
	stored, _, err := v.keys(prepared)
	return err == nil && v.stores(stored), err
}

// stores tells whether that is the StoredKey. A decoy has none.
func (v *verifier) stores(stored []byte) bool {
	want := v.storedKey
	if len(want) != len(stored) {
		want = make([]byte, len(stored))
	}
	same := subtle.ConstantTimeCompare(stored, want) == 1
	return same && len(v.storedKey) == len(stored)
}

func (v *verifier) text() []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, "%s$%d:%s$%s:%s", schemeOf(v.sha1), v.iterations, b64(v.salt), b64(v.storedKey), b64(v.serverKey))
}

func parseVerifier(text []byte) (verifier, error) {
	parts := strings.Split(string(text), "$")
	if len(parts) != 3 || parts[0] != schemeSHA256 && parts[0] != schemeSHA1 {
		return verifier{}, errVerifier
	}
	iterations, salt, ok := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	if !ok || !ok2 {
		return verifier{}, errVerifier
	}
	n, err := strconv.Atoi(iterations)
	if err != nil || n < 1 || n > mostIterations {
		return verifier{}, errVerifier
	}
	v := verifier{iterations: n, sha1: parts[0] == schemeSHA1}
	for _, f := range []struct {
		dst  *[]byte
		text string
	}{{&v.salt, salt}, {&v.storedKey, stored}, {&v.serverKey, server}} {
		if *f.dst, err = base64.StdEncoding.DecodeString(f.text); err != nil {
			return verifier{}, errVerifier
		}
	}
	if len(v.salt) == 0 || len(v.storedKey) != v.size() || len(v.serverKey) != v.size() {
		return verifier{}, errVerifier
	}
	return v, nil
}

// calibrated is the number of iterations that take hashTime on this machine,
// measured once a process.
var calibrated = sync.OnceValue(func() int {
	const probe = 2000
	best := time.Duration(1<<63 - 1)
	for range 3 { // the best of three: a busy moment must not weaken passwords
		start := time.Now()
		if _, err := pbkdf2.Key(sha256.New, "calibration", make([]byte, saltSize), probe, sha256.Size); err != nil {
			return minIterations
		}
		best = min(best, time.Since(start))
	}
	return iterationsFor(probe, best)
})

func iterationsFor(probe int, took time.Duration) int {
	n := int64(probe) * int64(hashTime) / max(int64(took), 1)
	return int(min(max(n, minIterations), maxIterations))
}
