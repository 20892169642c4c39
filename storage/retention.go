package storage

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// SettingRetention is the setting with the retention rules, as JSON: of an
// account, and of the household those for all accounts. They add up: unlike
// other settings an account's own don't replace the household's.
const SettingRetention = "retention"

// AllAccounts stands for an account's id where rules of the household are meant.
const AllAccounts AccountID = ""

// retentionDelay is how long after it was made a rule first runs: long enough
// to see what it would do, and to think better of it.
const retentionDelay = oneDay

// ErrNoRule: the account has no retention rule of that id.
var ErrNoRule = errors.New("no such retention rule")

// A RetentionRule says which messages of a mailbox are expunged by and by.
// They are expunged like by a client: sessions see it, and the messages are
// kept for a restore as others are.
type RetentionRule struct {
	ID string `json:"id"`
	// Mailbox is a name, or "NAME/*" for all mailboxes below NAME. Without it
	// SpecialUse says which.
	Mailbox    string           `json:"mailbox,omitempty"`
	SpecialUse imap.MailboxAttr `json:"special_use,omitempty"`
	// Days: messages that are older go. They age from when they came to the
	// mailbox (SAVEDATE), with Received from their INTERNALDATE.
	Days     int  `json:"days,omitempty"`
	Received bool `json:"received,omitempty"`
	// Messages and Octets: the oldest go until the mailbox holds no more.
	Messages int64 `json:"messages,omitempty"`
	Octets   int64 `json:"octets,omitempty"`
	// All: a rule of the household, for every account.
	All  bool      `json:"all,omitempty"`
	Made time.Time `json:"made"`
}

// Starts is when the rule first runs.
func (r *RetentionRule) Starts() time.Time { return r.Made.Add(retentionDelay) }

// Of says which mailboxes the rule is for, for people.
func (r *RetentionRule) Of() string {
	if r.Mailbox != "" {
		return r.Mailbox
	}
	return string(r.SpecialUse)
}

// matches reports whether the rule is for a mailbox.
func (r *RetentionRule) matches(m *Mailbox) bool {
	if r.Mailbox != "" {
		above, tree := strings.CutSuffix(r.Mailbox, "/*")
		return m.Name == r.Mailbox || tree && strings.HasPrefix(m.Name, above+"/")
	}
	return slices.ContainsFunc(m.SpecialUse, func(use imap.MailboxAttr) bool { return strings.EqualFold(string(use), string(r.SpecialUse)) })
}

// check brings a rule to its canonical form, or says what is wrong with it.
func (r *RetentionRule) check() error {
	if (r.Mailbox == "") == (r.SpecialUse == "") {
		return errors.New("a retention rule is for a mailbox or for a special use")
	}
	if r.Days < 0 || r.Messages < 0 || r.Octets < 0 || r.Days == 0 && r.Messages == 0 && r.Octets == 0 {
		return errors.New("a retention rule needs an age, a number of messages or a size")
	}
	if r.Days > maxKeptDays {
		return &LimitError{What: "days in a retention rule", Max: maxKeptDays}
	}
	if use := string(r.SpecialUse); use != "" {
		if !strings.HasPrefix(use, `\`) {
			r.SpecialUse = imap.MailboxAttr(`\` + use)
		}
		return nil
	}
	above, tree := strings.CutSuffix(r.Mailbox, "/*")
	name, err := MailboxName(above)
	if r.Mailbox = name; tree {
		r.Mailbox += "/*"
	}
	return err
}

func decodeRules(text string) (rules []RetentionRule, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		return nil, fmt.Errorf("%w: retention rules: %w", ErrCorrupt, err)
	}
	return rules, nil
}

// RetentionRules lists the rules that hold for an account: the household's,
// then its own. Of AllAccounts it lists the household's.
func (st *Store) RetentionRules(id AccountID) ([]RetentionRule, error) {
	rules, err := st.ownRules(AllAccounts)
	if err != nil || id == AllAccounts {
		return rules, err
	}
	own, err := st.ownRules(id)
	return append(rules, own...), err
}

// ownRules are the rules in one setting.
func (st *Store) ownRules(id AccountID) ([]RetentionRule, error) {
	if id == AllAccounts {
		text, err := st.householdSetting(SettingRetention)
		if err != nil {
			return nil, err
		}
		return decodeRules(text)
	}
	info, err := st.AccountInfo(id)
	if err != nil {
		return nil, err
	}
	return decodeRules(info.Settings[SettingRetention])
}

// maxRules of an account, and of the household.
const maxRules = 100

// AddRetention gives an account, or AllAccounts, another rule. It runs a day later.
func (st *Store) AddRetention(id AccountID, r RetentionRule) (RetentionRule, error) {
	if err := r.check(); err != nil {
		return r, err
	}
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	r.All = id == AllAccounts
	r.ID, r.Made = idEncoding.EncodeToString(b[:]), st.now().UTC().Truncate(time.Second)
	return r, st.changeRules(id, func(rules []RetentionRule) ([]RetentionRule, error) {
		if len(rules) >= maxRules {
			return nil, &LimitError{What: "retention rules", Max: maxRules}
		}
		return append(rules, r), nil
	})
}

// DeleteRetention takes a rule of an account, or one of AllAccounts, away.
func (st *Store) DeleteRetention(id AccountID, rule string) error {
	return st.changeRules(id, func(rules []RetentionRule) ([]RetentionRule, error) {
		i := slices.IndexFunc(rules, func(r RetentionRule) bool { return r.ID == rule })
		if i < 0 {
			return nil, ErrNoRule
		}
		return slices.Delete(rules, i, i+1), nil
	})
}

// changeRules changes the setting, one change at a time.
func (st *Store) changeRules(id AccountID, change func([]RetentionRule) ([]RetentionRule, error)) error {
	st.changingRules.Lock()
	defer st.changingRules.Unlock()
	rules, err := st.ownRules(id)
	if err != nil {
		return err
	}
	if rules, err = change(rules); err != nil {
		return err
	}
	text := ""
	if len(rules) > 0 {
		b, err := json.Marshal(rules)
		if err != nil {
			return err
		}
		text = string(b)
	}
	if id == AllAccounts {
		return st.SetHouseholdSetting(SettingRetention, text)
	}
	return st.SetAccountSetting(id, SettingRetention, text)
}
