package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"nestbox/storage"
)

// PolicyAPI is what is ruled over accounts: how much they may hold, what goes
// by and by, what must stay, and what is erased.
type PolicyAPI interface {
	// Policies lists what is ruled over one account, or with an empty name all.
	Policies(ctx context.Context, account string) ([]Policy, error)
	// SetAccountSetting sets one of AccountSettings; an empty value gives the
	// household's.
	SetAccountSetting(ctx context.Context, account, key, value string) error
	// KeepMailbox says for how many days a mailbox's expunged messages are
	// kept, -1 for as long as the account's.
	KeepMailbox(ctx context.Context, account, mailbox string, days int) error
	// Hold puts an account under a legal hold or takes it from there; or with
	// a name, one of its mailboxes.
	Hold(ctx context.Context, account, mailbox string, on bool) error

	// RetentionForAll lists the retention rules for all accounts.
	RetentionForAll(ctx context.Context) ([]storage.RetentionRule, error)
	// AddRetention and DeleteRetention change the rules of an account, or with
	// an empty name those for all accounts.
	AddRetention(ctx context.Context, account string, r storage.RetentionRule) (storage.RetentionRule, error)
	DeleteRetention(ctx context.Context, account, rule string) error
	// RunRetention applies the rules now, or with dry says what they would do.
	RunRetention(ctx context.Context, account string, dry bool) ([]storage.RetentionResult, error)

	// Purge erases messages for good, or with dry counts them.
	Purge(ctx context.Context, account string, c storage.Criteria, dry bool) (storage.PurgeResult, error)
}

// AccountSettings are the settings that an account can have of its own.
var AccountSettings = []string{
	storage.SettingQuota, storage.SettingQuotaMessages, storage.SettingQuotaMailboxes, storage.SettingKeptDays,
}

// Policy is what is ruled over an account.
type Policy struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Used     storage.Usage     `json:"used"`
	Limits   storage.Usage     `json:"limits"` // 0: none
	Own      map[string]string `json:"own"`    // settings that aren't the household's
	Kept     storage.KeptCount `json:"kept"`   // expunged messages
	KeptDays int               `json:"kept_days"`
	// Mailboxes that have a number of their own, and those under a hold.
	MailboxKeptDays map[string]int          `json:"mailbox_kept_days"`
	Hold            bool                    `json:"hold"` // of all
	HeldMailboxes   []string                `json:"held_mailboxes"`
	Retention       []storage.RetentionRule `json:"retention"` // with those for all
}

// Policies lists what is ruled over accounts.
func (l *Local) Policies(_ context.Context, account string) ([]Policy, error) {
	infos, err := l.st.Accounts()
	if account != "" {
		var info storage.AccountInfo
		info, err = l.st.FindAccount(account)
		infos = []storage.AccountInfo{info}
	}
	if err != nil {
		return nil, err
	}
	all := make([]Policy, 0, len(infos))
	for _, info := range infos {
		p, err := l.policy(info)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", info.Name, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (l *Local) policy(info storage.AccountInfo) (Policy, error) {
	p := Policy{Name: info.Name, ID: string(info.ID), Own: map[string]string{}, MailboxKeptDays: map[string]int{},
		HeldMailboxes: []string{}, Retention: []storage.RetentionRule{}}
	a, err := l.st.Account(info.ID)
	if err != nil {
		return p, err
	}
	for _, key := range AccountSettings {
		if v := info.Settings[key]; v != "" {
			p.Own[key] = v
		}
	}
	if p.Used, p.Limits, err = a.Quota(); err != nil {
		return p, err
	}
	if p.Kept, err = a.KeptCount(); err != nil {
		return p, err
	}
	p.KeptDays = a.KeptDays()
	held, names, err := a.Held()
	if err != nil {
		return p, err
	}
	p.Hold, p.HeldMailboxes = held, append(p.HeldMailboxes, names...)
	rules, err := l.st.RetentionRules(info.ID)
	if err != nil {
		return p, err
	}
	p.Retention = append(p.Retention, rules...)
	boxes, err := a.Mailboxes()
	for _, m := range boxes {
		if m.KeptDays > 0 {
			p.MailboxKeptDays[m.Name] = int(m.KeptDays) - 1
		}
	}
	return p, err
}

// SetAccountSetting changes a setting of an account.
func (l *Local) SetAccountSetting(_ context.Context, account, key, value string) error {
	if !slices.Contains(AccountSettings, key) {
		return fmt.Errorf("%w: %s is no setting of an account", errWrongUse, key)
	}
	if n, err := strconv.ParseInt(value, 10, 64); value != "" && (err != nil || n < 0) {
		return fmt.Errorf("%w: %s wants a whole number, not %q", errWrongUse, key, value)
	}
	info, err := l.st.FindAccount(account)
	if err != nil {
		return err
	}
	return l.st.SetAccountSetting(info.ID, key, value)
}

// KeepMailbox says how long expunged messages of a mailbox are kept.
func (l *Local) KeepMailbox(_ context.Context, account, mailbox string, days int) error {
	a, err := l.account(account)
	if err != nil {
		return err
	}
	return a.SetKeptDays(mailbox, days)
}

// Hold puts an account or a mailbox under a legal hold.
func (l *Local) Hold(_ context.Context, account, mailbox string, on bool) error {
	a, err := l.account(account)
	if err != nil {
		return err
	}
	if mailbox != "" {
		return a.SetHold(mailbox, on)
	}
	value := ""
	if on {
		value = "true"
	}
	return l.st.SetAccountSetting(a.ID(), storage.SettingHold, value)
}

// AddRetention adds a retention rule.
func (l *Local) AddRetention(_ context.Context, account string, r storage.RetentionRule) (storage.RetentionRule, error) {
	id, err := l.ruled(account)
	if err != nil {
		return r, err
	}
	return l.st.AddRetention(id, r)
}

// DeleteRetention takes a retention rule away.
func (l *Local) DeleteRetention(_ context.Context, account, rule string) error {
	id, err := l.ruled(account)
	if err != nil {
		return err
	}
	return l.st.DeleteRetention(id, rule)
}

// ruled is whom rules are for: an account, or with no name all.
func (l *Local) ruled(account string) (storage.AccountID, error) {
	if account == "" {
		return storage.AllAccounts, nil
	}
	info, err := l.st.FindAccount(account)
	return info.ID, err
}

// RetentionForAll lists the rules for all accounts.
func (l *Local) RetentionForAll(context.Context) ([]storage.RetentionRule, error) {
	rules, err := l.st.RetentionRules(storage.AllAccounts)
	return append([]storage.RetentionRule{}, rules...), err
}

// RunRetention applies the retention rules of an account.
func (l *Local) RunRetention(ctx context.Context, account string, dry bool) ([]storage.RetentionResult, error) {
	a, err := l.account(account)
	if err != nil {
		return nil, err
	}
	res, err := a.RunRetention(ctx, dry)
	return append([]storage.RetentionResult{}, res...), err
}

// Purge erases messages.
func (l *Local) Purge(ctx context.Context, account string, c storage.Criteria, dry bool) (storage.PurgeResult, error) {
	a, err := l.account(account)
	if err != nil {
		return storage.PurgeResult{}, err
	}
	return a.Purge(ctx, c, dry)
}

// Policies lists what is ruled over accounts.
func (r *Remote) Policies(ctx context.Context, account string) (all []Policy, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/policies", url.Values{"account": {account}}, nil, &all)
	return all, err
}

// policyRequest is what changes a policy: one of its members is set.
type policyRequest struct {
	Account string                 `json:"account"`
	Mailbox string                 `json:"mailbox,omitempty"`
	Key     string                 `json:"key,omitempty"`
	Value   string                 `json:"value,omitempty"`
	Days    *int                   `json:"days,omitempty"`
	Hold    *bool                  `json:"hold,omitempty"`
	Rule    *storage.RetentionRule `json:"rule,omitempty"`
	NoRule  string                 `json:"no_rule,omitempty"`
}

func (r *Remote) policy(ctx context.Context, q policyRequest, result any) error {
	return r.call(ctx, http.MethodPost, "/v1/policies", nil, q, result)
}

// SetAccountSetting changes a setting of an account.
func (r *Remote) SetAccountSetting(ctx context.Context, account, key, value string) error {
	return r.policy(ctx, policyRequest{Account: account, Key: key, Value: value}, nil)
}

// KeepMailbox says how long expunged messages of a mailbox are kept.
func (r *Remote) KeepMailbox(ctx context.Context, account, mailbox string, days int) error {
	return r.policy(ctx, policyRequest{Account: account, Mailbox: mailbox, Days: &days}, nil)
}

// Hold puts an account or a mailbox under a legal hold.
func (r *Remote) Hold(ctx context.Context, account, mailbox string, on bool) error {
	return r.policy(ctx, policyRequest{Account: account, Mailbox: mailbox, Hold: &on}, nil)
}

// RetentionForAll lists the rules for all accounts.
func (r *Remote) RetentionForAll(ctx context.Context) (rules []storage.RetentionRule, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/retention", nil, nil, &rules)
	return rules, err
}

// AddRetention adds a retention rule.
func (r *Remote) AddRetention(ctx context.Context, account string, rule storage.RetentionRule) (made storage.RetentionRule, err error) {
	err = r.policy(ctx, policyRequest{Account: account, Rule: &rule}, &made)
	return made, err
}

// DeleteRetention takes a retention rule away.
func (r *Remote) DeleteRetention(ctx context.Context, account, rule string) error {
	return r.policy(ctx, policyRequest{Account: account, NoRule: rule}, nil)
}

// RunRetention applies the retention rules of an account.
func (r *Remote) RunRetention(ctx context.Context, account string, dry bool) (res []storage.RetentionResult, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/retention", url.Values{"account": {account}, "dry": {strconv.FormatBool(dry)}}, nil, &res)
	return res, err
}

// purgeRequest says what is to be erased.
type purgeRequest struct {
	Account  string           `json:"account"`
	Criteria storage.Criteria `json:"criteria"`
	Dry      bool             `json:"dry"`
}

// Purge erases messages.
func (r *Remote) Purge(ctx context.Context, account string, c storage.Criteria, dry bool) (res storage.PurgeResult, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/purge", nil, purgeRequest{account, c, dry}, &res)
	return res, err
}
