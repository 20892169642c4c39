package auth

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxLogin bounds login names in bytes; RFC 4616 §2 wants 255 at least.
const maxLogin = 1024

// ErrMalformed says that a SASL response isn't what its mechanism prescribes.
// It wraps to a text that says what is wrong and holds nothing of the response.
var ErrMalformed = errors.New("malformed response")

// ParsePlain takes the message of PLAIN apart (RFC 4616 §2):
//
//	message = [authzid] NUL authcid NUL passwd
//
// authcid and passwd are not empty, all are UTF-8, and there are two NULs.
func ParsePlain(b []byte) (authzid, login, password string, err error) {
	bad := func(why string) (string, string, string, error) {
		return "", "", "", fmt.Errorf("%w: %s", ErrMalformed, why)
	}
	parts := bytes.Split(b, []byte{0})
	switch {
	case len(parts) != 3:
		return bad("PLAIN has two NULs")
	case !utf8.Valid(b):
		return bad("PLAIN is UTF-8")
	case len(parts[1]) == 0:
		return bad("login is empty")
	case len(parts[2]) == 0:
		return bad("password is empty")
	case len(parts[0]) > maxLogin || len(parts[1]) > maxLogin:
		return bad("login is too long")
	case len(parts[2]) > maxPassword:
		return bad("password is too long")
	}
	return string(parts[0]), string(parts[1]), string(parts[2]), nil
}

// Login is the server's side of the mechanism LOGIN
// (draft-murchison-sasl-login-00): two prompts, a login and a password. It is
// not announced by default; some old clients know nothing else.
type Login struct {
	step            int
	Login, Password string
}

// Next takes the client's response, nil at the start when there is no initial
// one, and returns the next challenge. After done, Login and Password are there.
func (l *Login) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil && l.step == 0 {
		return []byte("Username:"), false, nil
	}
	if bytes.IndexByte(response, 0) >= 0 || !utf8.Valid(response) {
		return nil, false, fmt.Errorf("%w: LOGIN is UTF-8 without NUL", ErrMalformed)
	}
	if len(response) == 0 || len(response) > maxPassword {
		return nil, false, fmt.Errorf("%w: login or password is empty or too long", ErrMalformed)
	}
	l.step++
	switch l.step {
	case 1:
		l.Login = string(response)
		return []byte("Password:"), false, nil
	case 2:
		l.Password = string(response)
		return nil, true, nil
	}
	return nil, false, fmt.Errorf("%w: LOGIN has two responses", ErrMalformed)
}
