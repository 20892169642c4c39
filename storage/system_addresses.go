package storage

import (
	"errors"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Errors of domains.
var (
	ErrNoDomain     = errors.New("no such domain")
	ErrDomainExists = errors.New("that domain exists")
	ErrDomainInUse  = errors.New("the domain has addresses")
)

// An Address receives an account's mail and logs in to it.
type Address struct {
	Address string // local part as it was given, domain in lower case and UTF-8
	Account AccountID
	Created time.Time
}

// addressRow finds an address in any case.
func addressRow(tx *bolt.Tx, address string) (Address, error) {
	canonical, err := CanonicalAddress(address)
	if err != nil {
		return Address{}, ErrNoAddress
	}
	b, err := getSystem(tx, bucketAddresses, []byte(foldAddress(canonical)))
	if err != nil {
		return Address{}, err
	}
	if b == nil {
		return Address{}, ErrNoAddress
	}
	return decodeAddress(b)
}

func addressesOf(tx *bolt.Tx, id AccountID) ([]Address, error) {
	var all []Address
	err := eachSystem(tx, bucketAddresses, nil, func(_, data []byte) error {
		a, err := decodeAddress(data)
		if err == nil && (id == "" || a.Account == id) {
			all = append(all, a)
		}
		return err
	})
	slices.SortFunc(all, func(a, b Address) int { return strings.Compare(a.Address, b.Address) })
	return all, err
}

// Addresses lists the addresses of an account, or of all when id is empty.
func (st *Store) Addresses(id AccountID) (all []Address, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		all, err = addressesOf(tx, id)
		return err
	})
	return all, err
}

// FindAddress finds an address in any case: ErrNoAddress when the box has none such.
func (st *Store) FindAddress(address string) (a Address, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		a, err = addressRow(tx, address)
		return err
	})
	return a, err
}

// AddAddress gives an account an address. A domain that the box doesn't have
// yet is added with it.
func (st *Store) AddAddress(id AccountID, address string) error {
	address, err := CanonicalAddress(address)
	if err != nil {
		return err
	}
	st.admin.Lock()
	defer st.admin.Unlock()
	err = st.update(func(tx *bolt.Tx) error {
		if _, err := accountByID(tx, id); err != nil {
			return err
		}
		if _, err := addressRow(tx, address); !errors.Is(err, ErrNoAddress) {
			return errors.Join(err, ErrAddressExists)
		}
		// Addresses log in, so one must not be another account's name.
		owner, err := accountByName(tx, address)
		if err == nil && owner.ID != id {
			return ErrAccountExists
		}
		if err != nil && !errors.Is(err, ErrNoAccount) {
			return err
		}
		if err := st.addDomain(tx, DomainOf(address)); err != nil && !errors.Is(err, ErrDomainExists) {
			return err
		}
		return putSystem(tx, bucketAddresses, []byte(foldAddress(address)),
			encodeAddress(Address{Address: address, Account: id, Created: st.now()}))
	})
	if err != nil {
		return err
	}
	st.copyProfile(id)
	return nil
}

// DeleteAddress takes an address away; its domain stays.
func (st *Store) DeleteAddress(address string) error {
	st.admin.Lock()
	defer st.admin.Unlock()
	var a Address
	err := st.update(func(tx *bolt.Tx) (err error) {
		if a, err = addressRow(tx, address); err != nil {
			return err
		}
		return tx.Bucket(bucketAddresses).Delete([]byte(foldAddress(a.Address)))
	})
	if err != nil {
		return err
	}
	st.copyProfile(a.Account)
	return nil
}

// Domains lists the domains of the box.
func (st *Store) Domains() ([]string, error) {
	var all []string
	err := st.view(func(tx *bolt.Tx) error {
		return eachSystem(tx, bucketDomains, nil, func(k, _ []byte) error {
			all = append(all, string(k))
			return nil
		})
	})
	return all, err
}

func (st *Store) addDomain(tx *bolt.Tx, domain string) error {
	b, err := getSystem(tx, bucketDomains, []byte(domain))
	if err != nil {
		return err
	}
	if b != nil {
		return ErrDomainExists
	}
	return putSystem(tx, bucketDomains, []byte(domain), appendSystemTime(nil, 1, st.now()))
}

// AddDomain adds a domain to the box.
func (st *Store) AddDomain(domain string) error {
	domain, err := CanonicalDomain(domain)
	if err != nil {
		return err
	}
	return st.update(func(tx *bolt.Tx) error { return st.addDomain(tx, domain) })
}

// DeleteDomain takes a domain away that no address uses.
func (st *Store) DeleteDomain(domain string) error {
	domain, err := CanonicalDomain(domain)
	if err != nil {
		return ErrNoDomain
	}
	return st.update(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketDomains).Get([]byte(domain)) == nil {
			return ErrNoDomain
		}
		all, err := addressesOf(tx, "")
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(a Address) bool { return DomainOf(a.Address) == domain }) {
			return ErrDomainInUse
		}
		return tx.Bucket(bucketDomains).Delete([]byte(domain))
	})
}
