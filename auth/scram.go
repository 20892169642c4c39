package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
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
// salt and keys in base64. The scheme in front is the version: another hash
// would come under another name.
const scheme = "SCRAM-SHA-256"

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
	iterations int
	salt       []byte
	storedKey  []byte // empty in a decoy, which nothing matches
	serverKey  []byte
}

// errVerifier never holds the text: it is as good as a password to some.
var errVerifier = errors.New("stored credential is unreadable or of a later nestbox")

// NewCredential makes of a password what is stored of it. A password that
// can't be used gives a *PasswordError.
func NewCredential(password string) ([]byte, error) {
	return newCredential(password, calibrated())
}

func newCredential(password string, iterations int) ([]byte, error) {
	prepared, err := prepare(password)
	if err != nil {
		return nil, err
	}
	v := verifier{iterations: iterations, salt: make([]byte, saltSize)}
	if _, err := rand.Read(v.salt); err != nil {
		return nil, err
	}
	if v.storedKey, v.serverKey, err = v.keys(prepared); err != nil {
		return nil, err
	}
	return v.text(), nil
}

// keys derives StoredKey and ServerKey (RFC 5802 §3).
func (v *verifier) keys(prepared string) (stored, server []byte, err error) {
	salted, err := pbkdf2.Key(sha256.New, prepared, v.salt, v.iterations, sha256.Size)
	if err != nil {
		return nil, nil, err
	}
	clientKey := sum(salted, "Client Key")
	h := sha256.Sum256(clientKey)
	return h[:], sum(salted, "Server Key"), nil
}

func sum(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// matches takes as long for a decoy as for a real verifier.
func (v *verifier) matches(prepared string) (bool, error) {
	stored, _, err := v.keys(prepared)
	if err != nil {
		return false, err
	}
	want := v.storedKey
	if len(want) != len(stored) {
		want = make([]byte, len(stored))
	}
	same := subtle.ConstantTimeCompare(stored, want) == 1
	return same && len(v.storedKey) == sha256.Size, nil
}

func (v *verifier) text() []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, "%s$%d:%s$%s:%s", scheme, v.iterations, b64(v.salt), b64(v.storedKey), b64(v.serverKey))
}

func parseVerifier(text []byte) (verifier, error) {
	parts := strings.Split(string(text), "$")
	if len(parts) != 3 || parts[0] != scheme {
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
	v := verifier{iterations: n}
	for _, f := range []struct {
		dst  *[]byte
		text string
	}{{&v.salt, salt}, {&v.storedKey, stored}, {&v.serverKey, server}} {
		if *f.dst, err = base64.StdEncoding.DecodeString(f.text); err != nil {
			return verifier{}, errVerifier
		}
	}
	if len(v.salt) == 0 || len(v.storedKey) != sha256.Size || len(v.serverKey) != sha256.Size {
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
