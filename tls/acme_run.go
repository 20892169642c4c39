package tls

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

const (
	// attemptTime bounds one try to get a certificate: with DNS it takes minutes
	// until the CA sees a record.
	attemptTime = 10 * time.Minute
	// longestWait is how long nothing is looked at: clocks can jump.
	longestWait = time.Hour
	// A CA says itself when it wants to be asked again (RFC 9773 §4.3), in these bounds.
	leastAsk, mostAsk = time.Minute, 24 * time.Hour
	// restartAsk is when it is asked first after a start, which makes no traffic by itself.
	restartAsk = time.Hour
)

// retries are the waits after failures. Let's Encrypt takes five failed
// validations an hour.
var retries = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour}

// due is when something is to be done for a name.
func (n *acmeName) due() time.Time {
	switch {
	case n.cert == nil || n.force || n.failures > 0:
		return n.tryAt
	case !n.askAt.IsZero() && n.askAt.Before(n.renewAt):
		return n.askAt
	}
	return n.renewAt
}

// Run gets and renews certificates until ctx ends.
func (a *ACME) Run(ctx context.Context) {
	a.mu.Lock()
	a.running = true
	a.mu.Unlock()
	defer a.stop()
	for ctx.Err() == nil {
		n, wait := a.next()
		if n != nil && wait <= 0 {
			a.do(ctx, n)
			continue
		}
		a.wait(ctx, wait)
	}
}

// wait returns when its time is over, somebody wants something done, or ctx
// ends. Where something failed, a new network is reason to try again.
func (a *ACME) wait(ctx context.Context, wait time.Duration) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if a.failing() {
		go whenLinked(ctx, func() { _ = a.Renew(false) })
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-a.kick:
	case <-timer.C:
	}
}

func (a *ACME) failing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.names {
		if n.failures > 0 {
			return true
		}
	}
	return false
}

func (a *ACME) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = false
	if a.magic != nil {
		a.magic.cache.Stop()
	}
}

// next is the name for which something is to be done first, and how long to
// wait for it.
func (a *ACME) next() (first *acmeName, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait = longestWait
	if err := a.adopt(); err != nil {
		a.o.Log.Error("certificate_failed", "source", FromACME, "error", err)
		return nil, time.Minute
	}
	if a.st.Clock().Early {
		return nil, time.Minute // to a CA nothing would hold
	}
	now := a.st.Now()
	for _, n := range a.names {
		if w := n.due().Sub(now); w < wait {
			first, wait = n, w
		}
	}
	return first, wait
}

// do gets or renews a certificate, or asks when that is due.
func (a *ACME) do(ctx context.Context, n *acmeName) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	a.mu.Lock()
	a.since, a.cancel = time.Now(), cancel
	m, err := a.client()
	had, ask := n.cert, n.cert != nil && !n.force && n.failures == 0 && a.st.Now().Before(n.renewAt)
	a.mu.Unlock()
	if ask {
		a.ask(ctx, m, err, n)
	} else if err == nil {
		err = m.get(ctx, n.name, had != nil)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// A cancelled attempt is no failure: who cancels wants another, at once.
	cancelled := errors.Is(ctx.Err(), context.Canceled)
	a.cancel = nil
	switch {
	case err != nil && cancelled, ask:
		return
	case err == nil:
		err = a.load(n)
		if err == nil && (n.cert == nil || n.cert == had) {
			err = errors.New("the storage lost the certificate")
		}
	}
	if err != nil {
		a.failed(n, err)
		return
	}
	why := "none"
	if had != nil {
		why = "renewal"
	}
	n.failures, n.err, n.force, n.tryAt = 0, nil, false, time.Time{}
	a.serve()
	a.o.Log.Info("certificate_issued", "source", FromACME, "names", n.name, "why", why, "until", n.cert.Leaf.NotAfter.UTC())
}

// failed notes a failure; a.mu is held.
func (a *ACME) failed(n *acmeName, err error) {
	wait := retries[min(n.failures, len(retries)-1)]
	wait += rand.N(wait / 10) // not all boxes of a street after a power cut
	n.failures++
	n.err, n.errAt = err, a.st.Now()
	n.tryAt = n.errAt.Add(wait)
	if a.magic != nil { // the files of the options may be other ones next time
		a.magic.cache.Stop()
		a.magic = nil
	}
	a.o.Log.Error("certificate_failed", "source", FromACME, "names", n.name, "error", err, "next", n.tryAt.UTC().Truncate(time.Second))
}

// ask takes the CA's advice when to renew. Without an answer it is as before.
func (a *ACME) ask(ctx context.Context, m *magic, err error, n *acmeName) {
	var info acme.RenewalInfo
	if err == nil {
		info, err = m.issuer.GetRenewalInfo(ctx, certmagic.Certificate{Certificate: *n.cert})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.st.Now()
	n.asked = now
	switch {
	case errors.Is(err, acme.ErrUnsupported):
		n.askAt = time.Time{}
	case err != nil:
		n.askAt = now.Add(6 * time.Hour)
	default:
		n.askAt = nextAsk(info, now)
		window := info.SuggestedWindow
		// Within the same window the time stays, else it would wander.
		if n.renewAt.Before(window.Start) || n.renewAt.After(window.End) {
			n.renewAt = info.SelectedTime
		}
	}
}

func nextAsk(info acme.RenewalInfo, now time.Time) time.Time {
	wait := 6 * time.Hour
	if info.RetryAfter != nil {
		wait = info.RetryAfter.Sub(now)
	}
	return now.Add(min(max(wait, leastAsk), mostAsk))
}

// plan says when a certificate that was just read is to be renewed, and when
// the CA is to be asked about it.
func (a *ACME) plan(n *acmeName) (renew, ask time.Time) {
	leaf, now := n.cert.Leaf, a.st.Now()
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	renew = leaf.NotAfter.Add(-life / 3)
	ask = now.Add(min(restartAsk, life/10))
	text, err := a.st.LoadACME(certmagic.StorageKeys.SiteMeta(a.issuerKey(), n.name))
	if err != nil {
		return renew, ask
	}
	var meta struct {
		Issuer acme.Certificate `json:"issuer_data"`
	}
	if json.Unmarshal(text, &meta) != nil || meta.Issuer.RenewalInfo == nil || !meta.Issuer.RenewalInfo.HasWindow() {
		return renew, ask
	}
	info := meta.Issuer.RenewalInfo
	if t := info.SelectedTime; !t.IsZero() && t.Before(leaf.NotAfter) {
		renew = t
	}
	if next := nextAsk(*info, now); info.RetryAfter != nil && next.After(ask) {
		ask = next
	}
	return renew, ask
}
