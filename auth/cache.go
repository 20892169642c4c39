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
	expires map[[sha256.Size]byte]time.Time
}

func newMACCache() *macCache {
	c := &macCache{expires: map[[sha256.Size]byte]time.Time{}}
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

func (c *macCache) has(m [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.expires[m]
	return ok && time.Now().Before(t)
}

// add remembers m, in place of an expired entry or of any when it is full.
func (c *macCache) add(m [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if _, ok := c.expires[m]; !ok && len(c.expires) >= cacheSize {
		c.makeRoom(now)
	}
	c.expires[m] = now.Add(cacheTime)
}

func (c *macCache) makeRoom(now time.Time) {
	for k, t := range c.expires {
		if !now.Before(t) {
			delete(c.expires, k)
		}
	}
	for k := range c.expires {
		if len(c.expires) < cacheSize {
			return
		}
		delete(c.expires, k)
	}
}
