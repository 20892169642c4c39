package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
)

// A jwk is one of a provider's keys (RFC 7517), of a kind that we verify with.
type jwk struct {
	kid  string
	algs []string // that signatures may have; the kind of key decides, not the token
	key  crypto.PublicKey
}

const (
	// maxJWKs bounds how many keys a provider has at a time.
	maxJWKs = 64
	// Bits of RSA keys: shorter ones are broken, longer ones take long.
	minRSA, maxRSA = 2048, 8192
)

var errJWKS = errors.New("not a JSON web key set with keys for RS256, PS256, ES256 or EdDSA")

// parseJWKS reads a provider's keys. Those of other kinds and uses are left out.
func parseJWKS(b []byte) (keys []jwk, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(b, &set) != nil {
		return nil, errJWKS
	}
	for _, raw := range set.Keys {
		c, err := parseClaims(raw)
		if err != nil || len(keys) == maxJWKs {
			continue
		}
		if k, ok := parseJWK(c); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errJWKS
	}
	return keys, nil
}

func parseJWK(c claims) (k jwk, ok bool) {
	k.kid = c.text("kid")
	if use := c.text("use"); use != "" && use != "sig" {
		return k, false
	}
	if ops := c.list("key_ops"); ops != nil && !slices.Contains(ops, "verify") {
		return k, false
	}
	switch kind, curve := c.text("kty"), c.text("crv"); {
	case kind == "RSA":
		k.key, ok = rsaKey(c.bytes("n"), c.bytes("e"))
		k.algs = []string{"RS256", "PS256"}
	case kind == "EC" && curve == "P-256":
		x, y := c.bytes("x"), c.bytes("y")
		if len(x) != 32 || len(y) != 32 {
			return k, false
		}
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		k.key, ok = key, err == nil
		k.algs = []string{"ES256"}
	case kind == "OKP" && curve == "Ed25519":
		x := c.bytes("x")
		k.key, ok = ed25519.PublicKey(x), len(x) == ed25519.PublicKeySize
		k.algs = []string{"EdDSA", "Ed25519"} // RFC 8037; its name since RFC 9864
	}
	if alg := c.text("alg"); alg != "" {
		k.algs = slices.DeleteFunc(k.algs, func(a string) bool { return a != alg })
	}
	return k, ok && len(k.algs) > 0
}

func rsaKey(n, e []byte) (*rsa.PublicKey, bool) {
	if len(n) > maxRSA/8 || len(e) > 4 {
		return nil, false
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e).Int64()
	if modulus.BitLen() < minRSA || modulus.Bit(0) == 0 || exponent < 3 || exponent&1 == 0 || exponent > 1<<31-1 {
		return nil, false
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent)}, true
}

// bytes is a member in base64url, nil if it isn't.
func (c claims) bytes(name string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(c.text(name), "="))
	if err != nil {
		return nil
	}
	return b
}

// findJWK picks the key that a token names, or the only one that fits a token
// that names none.
func findJWK(keys []jwk, kid, alg string) *jwk {
	var found *jwk
	for i := range keys {
		k := &keys[i]
		if !slices.Contains(k.algs, alg) || (kid != "" && k.kid != kid) {
			continue
		}
		if found != nil && kid == "" {
			return nil
		}
		if found == nil {
			found = k
		}
	}
	return found
}

// verifies tells whether the token's signature is the key's. The caller has taken
// care that the token's algorithm is one of the key's.
func (k *jwk) verifies(t *jwt) bool {
	hash := sha256.Sum256(t.signed)
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		switch t.alg {
		case "RS256":
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], t.sig) == nil
		case "PS256":
			return rsa.VerifyPSS(key, crypto.SHA256, hash[:], t.sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		if len(t.sig) != 64 { // RFC 7518 §3.4
			return false
		}
		return ecdsa.Verify(key, hash[:], new(big.Int).SetBytes(t.sig[:32]), new(big.Int).SetBytes(t.sig[32:]))
	case ed25519.PublicKey:
		return ed25519.Verify(key, t.signed, t.sig)
	}
	return false
}
