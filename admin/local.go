package admin

import (
	"context"
	"errors"
	"fmt"

	"nestbox/auth"
	"nestbox/storage"
	"nestbox/tls"
)

// Local is the API of a store that this process has open.
type Local struct {
	st *storage.Store
	// Changed, if it is set, is called after a setting of the household changed.
	Changed func(key string)
	// Auth is the running server's; nil: there is none.
	Auth *auth.Authenticator
	// Certs puts the sources of certificates together; set before use.
	Certs func() (*tls.Set, *tls.LocalCA, error)
	// Setup tells what devices are told; set before use.
	Setup func() (*Setup, error)
	// closeStore is set when the store ends with the API.
	closeStore bool
}

// NewLocal makes the API of a store. The store stays open when it is closed.
func NewLocal(st *storage.Store) *Local { return &Local{st: st} }

// OpenLocal opens a data folder for its API alone.
func OpenLocal(dir string, o storage.Options) (*Local, error) {
	st, err := storage.Open(dir, o)
	if err != nil {
		return nil, err
	}
	return &Local{st: st, closeStore: true}, nil
}

// Store is the store.
func (l *Local) Store() *storage.Store { return l.st }

// Close closes the store if OpenLocal opened it.
func (l *Local) Close() error {
	if l.closeStore {
		return l.st.Close()
	}
	return nil
}

// Accounts lists the accounts with what they hold.
func (l *Local) Accounts(context.Context) ([]Account, error) {
	infos, err := l.st.Accounts()
	if err != nil {
		return nil, err
	}
	all := make([]Account, 0, len(infos))
	for _, info := range infos {
		a, err := l.describe(info)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func (l *Local) describe(info storage.AccountInfo) (Account, error) {
	a := Account{
		Name: info.Name, ID: string(info.ID), Created: info.Created, Disabled: info.Disabled, Shared: info.Shared(), Addresses: []string{},
	}
	addresses, err := l.st.Addresses(info.ID)
	if err != nil {
		return a, err
	}
	for _, x := range addresses {
		a.Addresses = append(a.Addresses, x.Address)
	}
	if a.Password, err = l.password(info); err != nil {
		return a, err
	}
	boxes, err := l.mailboxes(info.ID)
	for _, b := range boxes {
		a.Messages += b.Messages
		a.Octets += b.Octets
	}
	return a, err
}

// AddAccount makes an account.
func (l *Local) AddAccount(_ context.Context, name, password string) (Account, error) {
	rows, err := auth.NewCredentials(password)
	if err != nil {
		return Account{}, err
	}
	info, err := l.st.CreateAccountWith(name, rows)
	if err != nil {
		return Account{}, err
	}
	return l.describe(info)
}

// SetPassword gives an account a new password.
func (l *Local) SetPassword(_ context.Context, name, password string) error {
	info, err := l.st.FindAccount(name)
	if err != nil {
		return err
	}
	if info.Shared() {
		return fmt.Errorf("%w: nobody logs in to a shared account", errWrongUse)
	}
	return auth.SetPassword(l.st, info.ID, password)
}

// DeleteAccount deletes an account by its name; an address won't do.
func (l *Local) DeleteAccount(_ context.Context, name string) error { return l.st.DeleteAccount(name) }

// DeletionNotice is what who deletes an account is to be told before.
func (l *Local) DeletionNotice(_ context.Context, name string) (string, error) {
	return l.st.DeletionNotice(name)
}

// Addresses lists addresses.
func (l *Local) Addresses(_ context.Context, account string) ([]Address, error) {
	var id storage.AccountID
	if account != "" {
		info, err := l.st.FindAccount(account)
		if err != nil {
			return nil, err
		}
		id = info.ID
	}
	rows, err := l.st.Addresses(id)
	if err != nil {
		return nil, err
	}
	all := make([]Address, 0, len(rows))
	for _, r := range rows {
		info, err := l.st.AccountInfo(r.Account)
		if err != nil && !errors.Is(err, storage.ErrNoAccount) {
			return nil, err
		}
		all = append(all, Address{Address: r.Address, Account: info.Name, Created: r.Created})
	}
	return all, nil
}

// AddAddress gives an account an address.
func (l *Local) AddAddress(_ context.Context, account, address string) error {
	info, err := l.st.FindAccount(account)
	if err != nil {
		return err
	}
	return l.st.AddAddress(info.ID, address)
}

// DeleteAddress deletes an address.
func (l *Local) DeleteAddress(_ context.Context, address string) error {
	return l.st.DeleteAddress(address)
}

// Domains lists the domains.
func (l *Local) Domains(context.Context) ([]string, error) { return l.st.Domains() }

// AddDomain adds a domain.
func (l *Local) AddDomain(_ context.Context, domain string) error { return l.st.AddDomain(domain) }

// DeleteDomain deletes a domain that no address uses.
func (l *Local) DeleteDomain(_ context.Context, domain string) error {
	return l.st.DeleteDomain(domain)
}

// Settings lists what the household has set.
func (l *Local) Settings(context.Context) (map[string]string, error) { return l.st.Settings() }

// SetSetting stores a setting. What keys and values are good for the caller
// has checked (config.CheckSetting).
func (l *Local) SetSetting(_ context.Context, key string, value *string) error {
	var err error
	if value == nil {
		err = l.st.DeleteSetting(key)
	} else {
		err = l.st.SetSetting(key, *value)
	}
	if err == nil && l.Changed != nil {
		l.Changed(key)
	}
	return err
}

// Mailboxes lists an account's mailboxes by name.
func (l *Local) Mailboxes(_ context.Context, account string) ([]Mailbox, error) {
	info, err := l.st.FindAccount(account)
	if err != nil {
		return nil, err
	}
	return l.mailboxes(info.ID)
}

func (l *Local) mailboxes(id storage.AccountID) ([]Mailbox, error) {
	a, err := l.st.Account(id)
	if err != nil {
		return nil, err
	}
	boxes, err := a.Mailboxes()
	if err != nil {
		return nil, err
	}
	all := make([]Mailbox, 0, len(boxes))
	for _, b := range boxes {
		all = append(all, Mailbox{Name: b.Name, Messages: int64(b.Messages), Octets: b.Octets})
	}
	return all, nil
}

// account opens an account by its name or an address.
func (l *Local) account(name string) (*storage.Account, error) {
	info, err := l.st.FindAccount(name)
	if err != nil {
		return nil, err
	}
	return l.st.Account(info.ID)
}
