package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

const (
	// cacheTime is how long a login is remembered after its last use.
	cacheTime = 10 * time.Minute
	// cacheSize bounds each cache: about 100 KB.
	cacheSize = 1024
)

// A macCache remembers logins by HMAC-SHA-256 under a key of this process:
// what is in memory is neither a password nor of use elsewhere. The stored
// verifier is part of what is hashed, so a changed password is unknown here.
type macCache struct {
	key [sha256.Size]byte

	mu      sync.Mutex
	entries map[[sha256.Size]byte]macEntry
}

type macEntry struct {
	expires time.Time
	kind    string // of the credential that it was
}

func newMACCache() *macCache {
	c := &macCache{entries: map[[sha256.Size]byte]macEntry{}}
	_, _ = rand.Read(c.key[:]) // never fails: crypto/rand
	return c
}

// mac is the key under which the parts of a login are remembered.
func (c *macCache) mac(parts ...string) (m [sha256.Size]byte) {
	h := hmac.New(sha256.New, c.key[:])
	for _, p := range parts {
		var n [8]byte // lengths, so that no two logins hash the same bytes
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	h.Sum(m[:0])
	return m
}

func (c *macCache) get(m [sha256.Size]byte) (kind string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[m]
	return e.kind, ok && time.Now().Before(e.expires)
}

// add remembers m, in place of an expired entry or of any when it is full.
func (c *macCache) add(m [sha256.Size]byte, kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if _, ok := c.entries[m]; !ok && len(c.entries) >= cacheSize {
		c.makeRoom(now)
	}
	c.entries[m] = macEntry{now.Add(cacheTime), kind}
}

func (c *macCache) makeRoom(now time.Time) {
	for k, e := range c.entries {
		if !now.Before(e.expires) {
			delete(c.entries, k)
		}
	}
	for k := range c.entries {
		if len(c.entries) < cacheSize {
			return
		}
		delete(c.entries, k)
	}
}
