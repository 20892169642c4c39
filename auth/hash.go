package auth

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// A foreignHash is what another server kept of a password. It is good for one
// login, which leaves a verifier in its place.
type foreignHash interface {
	matches(password string) (bool, error)
}

// ErrHash says that a hash of another server can't be taken. It wraps to a text
// that says why, and holds nothing of the hash.
var ErrHash = errors.New("password hash")

func hashError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrHash, fmt.Sprintf(format, args...))
}

// maxHash bounds the text of a hash.
const maxHash = 1024

// hashSchemes are Dovecot's names, as {NAME} before the hash, and what reads them.
var hashSchemes = map[string]func(string) (foreignHash, error){
	"CRYPT": parseCrypt, "SHA512-CRYPT": parseCrypt, "SHA256-CRYPT": parseCrypt, "BLF-CRYPT": parseCrypt,
	"ARGON2ID": parseCrypt, "ARGON2I": parseCrypt, "PBKDF2": parsePBKDF2,
	"SSHA":    func(s string) (foreignHash, error) { return parseSalted(s, sha1.New) },
	"SSHA256": func(s string) (foreignHash, error) { return parseSalted(s, sha256.New) },
	"SSHA512": func(s string) (foreignHash, error) { return parseSalted(s, sha512.New) },
}

// parseHash reads a hash with its scheme in braces, as Dovecot writes it, or one of
// crypt's, which begin with "$".
func parseHash(text string) (foreignHash, error) {
	if len(text) > maxHash {
		return nil, hashError("it is longer than %d characters", maxHash)
	}
	scheme, rest, braced := strings.Cut(text, "}")
	if !braced || !strings.HasPrefix(scheme, "{") {
		if !strings.HasPrefix(text, "$") {
			return nil, hashError("it begins with neither {SCHEME} nor $")
		}
		return parseCrypt(text)
	}
	scheme = strings.ToUpper(scheme[1:])
	name, encoding, _ := strings.Cut(scheme, ".")
	parse := hashSchemes[name]
	if parse == nil {
		return nil, hashError("the scheme %.32q is not one of SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, ARGON2ID, ARGON2I, PBKDF2, SSHA, SSHA256, SSHA512, CRYPT", name)
	}
	switch {
	case encoding == "" || encoding == "B64" || encoding == "BASE64":
	case encoding == "HEX" && strings.HasPrefix(name, "SSHA"):
		b, err := hex.DecodeString(rest)
		if err != nil {
			return nil, hashError("it is no hex")
		}
		rest = base64.StdEncoding.EncodeToString(b)
	default:
		return nil, hashError("the encoding %.16q is not known", encoding)
	}
	return parse(rest)
}

// parseCrypt reads what begins with "$" and its kind.
func parseCrypt(text string) (foreignHash, error) {
	switch {
	case strings.HasPrefix(text, "$5$"), strings.HasPrefix(text, "$6$"):
		return parseShaCrypt(text)
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$argon2"):
		return parseArgon2(text)
	}
	return nil, hashError("it is none of $5$, $6$, $2a$, $2b$, $2y$, $argon2i$, $argon2id$: the person needs a new password")
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// maxBcrypt is two seconds on a small box.
const maxBcrypt = 14

type bcryptHash string

func parseBcrypt(text string) (foreignHash, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || len(text) != 60 {
		return nil, hashError("it is no bcrypt hash")
	}
	if cost > maxBcrypt {
		return nil, hashError("its cost is %d, more than %d", cost, maxBcrypt)
	}
	return bcryptHash(text), nil
}

func (h bcryptHash) matches(password string) (bool, error) {
	const most = 72 // bcrypt sees no more, and its library refuses more
	err := bcrypt.CompareHashAndPassword([]byte(h), []byte(password[:min(len(password), most)]))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, hashError("bcrypt: %v", err)
	}
	return err == nil, nil
}

// An argon2Hash is "$argon2id$v=19$m=65536,t=3,p=1$salt$digest" (RFC 9106).
type argon2Hash struct {
	id           bool
	memory, time uint32 // memory in KiB
	threads      uint8
	salt, digest []byte
}

// maxArgon2Time is how often the memory may be gone through.
const maxArgon2Time = 20

func parseArgon2(text string) (foreignHash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[1] != "argon2id" && parts[1] != "argon2i" || parts[2] != "v=19" {
		return nil, hashError("it is no argon2id or argon2i of version 19")
	}
	h := argon2Hash{id: parts[1] == "argon2id"}
	if _, err := fmt.Sscanf(parts[3]+" ", "m=%d,t=%d,p=%d ", &h.memory, &h.time, &h.threads); err != nil {
		return nil, hashError("its parameters are not m=, t=, p=")
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.digest, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.digest) < 16 || len(h.digest) > 128 {
		return nil, hashError("its salt or digest can't be read")
	}
	if h.time < 1 || h.time > maxArgon2Time || h.threads < 1 || h.memory < 8 {
		return nil, hashError("its parameters are out of range (t up to %d)", maxArgon2Time)
	}
	if err := h.fits(); err != nil {
		return nil, err
	}
	return h, nil
}

// fits tells whether a login leaves the machine the memory to live.
func (h argon2Hash) fits() error {
	if most := machineMemory() / 4 >> 10; int64(h.memory) > most {
		return hashError("each login with it takes %d MB of memory, more than a quarter of what this machine has: the person needs a new password", h.memory>>10)
	}
	return nil
}

// leastMemory is counted with where the machine does not tell: a quarter of it is
// what Dovecot makes argon2 hashes with.
const leastMemory = 512 << 20

// argon2Turn: one at a time, however many log in.
var argon2Turn sync.Mutex

func (h argon2Hash) matches(password string) (bool, error) {
	if err := h.fits(); err != nil {
		return false, err // it came from a larger machine
	}
	argon2Turn.Lock()
	defer argon2Turn.Unlock()
	key := argon2.Key
	if h.id {
		key = argon2.IDKey
	}
	return subtle.ConstantTimeCompare(key([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.digest))), h.digest) == 1, nil
}

// A pbkdf2Hash is Dovecot's "$1$salt$rounds$digest in hex", with SHA-1.
type pbkdf2Hash struct {
	salt   string
	rounds int
	digest []byte
}

func parsePBKDF2(text string) (foreignHash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "1" || parts[2] == "" {
		return nil, hashError("it is not $1$salt$rounds$digest")
	}
	rounds, err1 := strconv.Atoi(parts[3])
	digest, err2 := hex.DecodeString(parts[4])
	if err1 != nil || err2 != nil || len(digest) != sha1.Size || rounds < 1 || rounds > maxCryptRounds {
		return nil, hashError("its rounds (up to %d) or its digest can't be read", maxCryptRounds)
	}
	return pbkdf2Hash{parts[2], rounds, digest}, nil
}

func (h pbkdf2Hash) matches(password string) (bool, error) {
	key, err := pbkdf2.Key(sha1.New, password, []byte(h.salt), h.rounds, len(h.digest))
	return err == nil && subtle.ConstantTimeCompare(key, h.digest) == 1, err
}

// A saltedHash is one digest of password and salt: {SSHA}, {SSHA256}, {SSHA512}.
type saltedHash struct {
	newHash      func() hash.Hash
	digest, salt []byte
}

func parseSalted(text string, newHash func() hash.Hash) (foreignHash, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if size := newHash().Size(); err == nil && len(b) > size {
		return saltedHash{newHash, b[:size], b[size:]}, nil
	}
	return nil, hashError("it is no base64 of a digest and a salt")
}

func (h saltedHash) matches(password string) (bool, error) {
	d := h.newHash()
	d.Write([]byte(password))
	d.Write(h.salt)
	return subtle.ConstantTimeCompare(d.Sum(nil), h.digest) == 1, nil
}
