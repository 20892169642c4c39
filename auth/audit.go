package auth

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nestbox/storage"
)

// Opened notes in the audit log that a session began. The protocols call it once
// the login is theirs.
func (a *Authenticator) Opened(c *Conn, who Identity) storage.AuditRef {
	detail := c.way()
	if app := who.AppPassword(); app != "" {
		detail += ", app password " + app
	}
	if c.TLS == nil {
		detail += ", no TLS"
	}
	if who.Actor != "" {
		a.st.Audit(storage.AuditEvent{
			Kind: storage.AuditLogin, Account: who.Actor, Name: who.ActorName, Address: placeOf(c.Peer), Client: c.Client, Detail: detail + ", acts for " + who.Name,
		})
		detail += ", by " + who.ActorName
	}
	return a.st.Audit(storage.AuditEvent{
		Kind: storage.AuditLogin, Account: who.Account, Name: who.Name, Address: placeOf(c.Peer), Client: c.Client, Detail: detail,
	})
}

// auditRefused notes a login that failed. Of an account that doesn't exist there
// is no name: people type passwords into the wrong field. Of IPv6 addresses there
// is the /64, since a guesser has all of it.
func (a *Authenticator) auditRefused(c *Conn, info storage.AccountInfo, reason string) {
	place := ""
	if c.Peer.IsValid() {
		place = peerPrefix(c.Peer)
	}
	a.st.Audit(storage.AuditEvent{
		Kind: storage.AuditRefused, Account: info.ID, Name: info.Name, Address: place, Client: c.Client, Detail: c.way() + ", " + reason,
	})
}

func (c *Conn) way() string {
	if c.Protocol == 0 {
		return "password"
	}
	return strings.ToLower(c.Protocol.String())
}

func placeOf(peer netip.Addr) string {
	if !peer.IsValid() {
		return ""
	}
	return peer.Unmap().WithZone("").String()
}

// remember takes up the bans of before the restart, and from the audit log who has
// logged in from where within a week.
func (a *Authenticator) remember() {
	a.bans.changed = func(key string, ban *storage.BanRow) { storeBan(a.st, key, ban) }
	rows, err := a.st.Bans()
	if err == nil {
		a.bans.restore(rows)
		err = a.rememberLogins()
	}
	if err != nil {
		a.log.Warn("bans_unreadable", slog.String("error", err.Error()))
	}
}

func (a *Authenticator) rememberLogins() error {
	// By the clock that bans go by. One that is behind makes nobody known for longer
	// than a week from now.
	now := time.Now()
	logins, err := a.st.AuditEvents(storage.AuditFilter{Kinds: []storage.AuditKind{storage.AuditLogin}, Since: now.Add(-knownFor)})
	for _, e := range logins {
		peer, err := netip.ParseAddr(e.Address)
		if err != nil {
			continue
		}
		at := e.Last
		if at.After(now) {
			at = now
		}
		prefix := peerPrefix(peer)
		a.bans.known.add(prefix, at)
		a.friends.add((&claim{known: true, info: storage.AccountInfo{ID: e.Account}, prefix: prefix}).friendship(), at)
	}
	return err
}

// storeBan stores a ban that begins, or that one was lifted, and notes it.
func storeBan(st *storage.Store, key string, ban *storage.BanRow) {
	if ban == nil {
		st.DeleteBan(key)
		st.Audit(storage.AuditEvent{Kind: storage.AuditBan, Address: key, Detail: "lifted"})
		return
	}
	st.PutBan(*ban)
	st.Audit(storage.AuditEvent{
		Kind: storage.AuditBan, Address: key,
		Detail: fmt.Sprintf("banned for %s after %d failed logins", ban.Until.Sub(ban.Since).Round(time.Second), ban.Failures),
	})
}

// restore takes up bans of before a restart. However wrong the clock was or is,
// none lasts longer from now on than it was meant to.
func (b *bans) restore(rows []storage.BanRow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for _, r := range rows {
		lasts := min(max(r.Until.Sub(r.Since), 0), longestBan)
		if r.Until.Sub(now) > lasts {
			r.Since, r.Until = now, now.Add(lasts)
		}
		if now.Sub(r.Until) >= longestBan || len(b.suspects) >= maxSuspects || b.after <= 0 {
			continue
		}
		if peer, err := netip.ParsePrefix(r.Address); err == nil && b.isExempt(peer.Addr()) {
			continue
		}
		if peer, err := netip.ParseAddr(r.Address); err == nil && b.isExempt(peer) {
			continue
		}
		b.suspects[r.Address] = &suspect{
			since: r.Since, times: min(max(r.Times, 1), 32),
			ban: Ban{Address: r.Address, Since: r.Since, Until: r.Until, Failures: r.Failures},
		}
	}
}

// StoredBans lists the bans of a store that no server has open.
func StoredBans(st *storage.Store) ([]Ban, error) {
	rows, err := st.Bans()
	b := newBans(slog.New(slog.DiscardHandler), defaultBanAfter, []netip.Prefix{{}})
	b.restore(rows)
	return b.list(), err
}

// LiftStoredBan is LiftBan without a server.
func LiftStoredBan(st *storage.Store, peer netip.Addr) (bool, error) {
	all, err := StoredBans(st)
	key := peerPrefix(peer)
	if err != nil || !slices.ContainsFunc(all, func(b Ban) bool { return b.Address == key }) {
		return false, err
	}
	storeBan(st, key, nil)
	return true, nil
}
