package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
)

// RetentionResult is what a rule did with a mailbox, or would do.
type RetentionResult struct {
	Rule     RetentionRule `json:"rule"`
	Mailbox  string        `json:"mailbox"`
	Messages int64         `json:"messages"`
	Octets   int64         `json:"octets"`
	// Held and Waiting say why nothing was done: a hold, or that the rule is
	// not a day old.
	Held    bool `json:"held,omitempty"`
	Waiting bool `json:"waiting,omitempty"`
}

// ErrClock: the clock can't be trusted, so that nothing may go by its age.
var ErrClock = errors.New("the clock is not trusted yet")

// RunRetention applies the account's rules, each that is a day old, in slices
// of at most ReadRows expunges. With dry it says what it would do, also of
// rules that wait. A hold beats every rule.
func (a *Account) RunRetention(ctx context.Context, dry bool) (results []RetentionResult, err error) {
	return a.runRetention(ctx, dry, nil)
}

// retainWhenDue is the account's share of the upkeep. Without rules its files
// are not opened.
func (a *Account) retainWhenDue(ctx context.Context) (next time.Time, err error) {
	_, err = a.runRetention(ctx, false, new(pacer))
	return a.now().Add(oneDay / 4), err
}

func (a *Account) runRetention(ctx context.Context, dry bool, p *pacer) (results []RetentionResult, err error) {
	rules, err := a.st.RetentionRules(a.id)
	if err != nil || len(rules) == 0 {
		return nil, err
	}
	if !dry && !a.st.clockTrusted() {
		return nil, fmt.Errorf("%w (%s): nothing goes by its age until it is synchronised, or the server has run for a day", ErrClock, a.st.clock.state().Why)
	}
	boxes, err := a.Mailboxes()
	if err != nil {
		return nil, err
	}
	settings := a.policy()
	if settings.err != nil {
		return nil, settings.err
	}
	now := a.now()
	for i := range boxes {
		for _, rule := range rules {
			if !rule.matches(&boxes[i]) {
				continue
			}
			res := RetentionResult{Rule: rule, Mailbox: boxes[i].Name, Held: settings.hold || boxes[i].Hold, Waiting: now.Before(rule.Starts())}
			if dry || !res.Held && !res.Waiting {
				err = a.retain(ctx, p, &boxes[i], now, &res, dry)
			}
			results = append(results, res)
			if err != nil {
				return results, err
			}
		}
	}
	return results, nil
}

// retain applies a rule to a mailbox: first the messages that are too old,
// then of what is left the first ones, until there are no more than the rule
// allows.
func (a *Account) retain(ctx context.Context, p *pacer, m *Mailbox, now time.Time, res *RetentionResult, dry bool) error {
	box, err := a.Mailbox(m.ID)
	if errors.Is(err, ErrNoMailbox) {
		return nil
	}
	if err != nil {
		return err
	}
	rule := &res.Rule
	messages, octets := int64(box.Messages), box.Octets
	over := func() bool {
		return rule.Messages > 0 && messages > rule.Messages || rule.Octets > 0 && octets > rule.Octets
	}
	cut := now.AddDate(0, 0, -rule.Days).Unix()
	pass := func(due func(r *Row) bool) error {
		return a.eachLive(&box, func(rows []Row) error {
			if err := p.rest(ctx, a); err != nil {
				return err
			}
			var uids []imap.UID
			for i := range rows {
				if !due(&rows[i]) {
					continue
				}
				uids = append(uids, rows[i].UID)
				messages--
				octets -= rows[i].Size
				if dry {
					res.Messages++
					res.Octets += rows[i].Size
				}
			}
			if dry || len(uids) == 0 {
				return nil
			}
			r := &retainRequest{id: box.ID, uids: uids}
			err := a.do(r)
			res.Messages += r.gone.Messages
			res.Octets += r.gone.Octets
			return err
		})
	}
	aged := func(r *Row) bool {
		since := r.SaveDate
		if rule.Received {
			since = r.Date
		}
		return rule.Days > 0 && since < cut
	}
	if rule.Days > 0 {
		err = pass(aged)
	}
	if err == nil && over() {
		err = pass(func(r *Row) bool { return over() && !(dry && aged(r)) })
	}
	if !dry && res.Messages > 0 {
		a.retained(res)
	}
	return err
}

// retained tells what a rule took.
func (a *Account) retained(res *RetentionResult) {
	a.st.log.Info("retention_expunged", "account", string(a.id), "rule", res.Rule.ID, "messages", res.Messages, "octets", res.Octets)
	if res.Messages >= MassDeletion {
		a.st.Audit(AuditEvent{Kind: AuditDeletion, Account: a.id, Detail: fmt.Sprintf("%d messages expunged by retention rule %s", res.Messages, res.Rule.ID)})
	}
}

// retainRequest expunges messages whether they have \Deleted or not.
type retainRequest struct {
	id   MailboxID
	uids []imap.UID
	gone KeptCount
}

func (r *retainRequest) bodies() []*Upload { return nil }
func (r *retainRequest) rows() int         { return len(r.uids) }
func (r *retainRequest) rewind()           { r.gone = KeptCount{} }
func (r *retainRequest) frees() bool       { return true }

func (r *retainRequest) apply(w *txn) (bool, error) {
	r.gone = KeptCount{}
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	if settings := w.f.a.policy(); m.Hold || settings.hold || settings.err != nil {
		return false, fmt.Errorf("%w: mailbox %q", ErrHeld, m.Name)
	}
	var rows []Row
	for _, uid := range r.uids {
		if row, ok := w.row(m.Space, uid); ok {
			rows = append(rows, row)
			r.gone = r.gone.plus(KeptCount{1, row.Size})
		}
	}
	if len(rows) == 0 {
		return false, nil
	}
	return false, w.expunge(m, rows, w.next(), keptExpunged)
}
