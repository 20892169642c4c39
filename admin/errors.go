package admin

import (
	"context"
	"errors"
	"net/http"

	"nestbox/auth"
	"nestbox/storage"
)

// An Error is an error that came over the control socket. It unwraps to the
// one it was on the other side, as far as that is one that callers tell apart.
type Error struct {
	Kind string `json:"kind,omitempty"`
	Text string `json:"error"`
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the error that the kind stands for.
func (e *Error) Unwrap() error {
	for _, k := range errorKinds {
		if k.name == e.Kind {
			return k.err
		}
	}
	return nil
}

// errorKinds are the names of errors on the socket.
var errorKinds = []struct {
	name   string
	err    error
	status int
}{
	{"no_account", storage.ErrNoAccount, http.StatusNotFound},
	{"account_exists", storage.ErrAccountExists, http.StatusConflict},
	{"no_address", storage.ErrNoAddress, http.StatusNotFound},
	{"address_exists", storage.ErrAddressExists, http.StatusConflict},
	{"no_domain", storage.ErrNoDomain, http.StatusNotFound},
	{"domain_exists", storage.ErrDomainExists, http.StatusConflict},
	{"domain_in_use", storage.ErrDomainInUse, http.StatusConflict},
	{"no_mailbox", storage.ErrNoMailbox, http.StatusNotFound},
	{"mailbox_exists", storage.ErrMailboxExists, http.StatusConflict},
	{"too_big", storage.ErrTooBig, http.StatusRequestEntityTooLarge},
	{"disk_full", storage.ErrDiskFull, http.StatusInsufficientStorage},
	{"no_deleted", storage.ErrNoDeleted, http.StatusNotFound},
	{"no_rule", storage.ErrNoRule, http.StatusNotFound},
	{"clock", storage.ErrClock, http.StatusServiceUnavailable},
	{"app_password", auth.ErrAppPassword, http.StatusConflict},
	{"hash", auth.ErrHash, http.StatusBadRequest},
	{"no_ban", ErrNoBan, http.StatusNotFound},
	{"held", storage.ErrHeld, http.StatusForbidden},
	{"over_quota", storage.ErrOverQuota, http.StatusInsufficientStorage},
	{"read_only", storage.ErrReadOnly, http.StatusForbidden},
	{"unavailable", storage.ErrUnavailable, http.StatusServiceUnavailable},
	{"closed", storage.ErrClosed, http.StatusServiceUnavailable},
	{"corrupt", storage.ErrCorrupt, http.StatusInternalServerError},
	{"interrupted", context.Canceled, http.StatusServiceUnavailable},
	{"wrong_use", errWrongUse, http.StatusBadRequest},
}

// errWrongUse is what a request gets that this server can't read.
var errWrongUse = errors.New("request not understood")

// wireError is how an error goes over the socket.
func wireError(err error) (*Error, int) {
	for _, k := range errorKinds {
		if errors.Is(err, k.err) {
			return &Error{Kind: k.name, Text: err.Error()}, k.status
		}
	}
	var name *storage.NameError
	var limit *storage.LimitError
	var password *auth.PasswordError
	status := http.StatusInternalServerError
	if errors.As(err, &name) || errors.As(err, &limit) || errors.As(err, &password) {
		status = http.StatusUnprocessableEntity
	}
	return &Error{Text: err.Error()}, status
}
