package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nestbox/storage"
)

// What is stored of an account, in rows of storage.Credential:
//
//	password       the main password's verifier for SCRAM-SHA-256: all that the first
//	               nestbox knew
//	password.sha1  its verifier for SCRAM-SHA-1, "$" and the SHA-256 of the row password
//	               in hex: when a nestbox that knows only that row changes it, this one
//	               is void
//	params         iterations ":" salt: what all secrets of the account share
//	foreign        in the place of password: what another server kept of it
//	               (parseHash), until the first login
//	app/NAME       an app password, a line each: its verifiers, "scope" and words,
//	               "created" and seconds since 1970
//
// All secrets of an account share salt and iterations: SCRAM sends them before it
// knows which secret the client holds, and PLAIN costs one PBKDF2 for them all. A
// secret with others (as an older nestbox made it) is good for PLAIN, which gives it
// the account's.
const (
	kindSHA1   = "password.sha1"
	kindParams = "params"
	// kindForeign is of the row that another server's hash is in.
	kindForeign = "foreign"
	kindApp     = "app/"
)

// maxAppPasswords bounds an account's, and with them what a login compares.
const maxAppPasswords = 64

// A secret is what one login can be checked against.
type secret struct {
	kind      string // of its row
	scope     Scope
	created   time.Time
	verifiers []verifier // at most one of each hash; the first is of SHA-256
}

// secrets are all of an account.
type secrets struct {
	params verifier // only iterations and salt; none: iterations are 0
	list   []secret
	// foreign is in the place of a main password; nil: it isn't.
	foreign foreignHash
	// state is all rows: what is remembered of a login hangs on it.
	state string
}

// errSecret never holds the row.
var errSecret = errors.New("stored app password is unreadable or of a later nestbox")

// parseSecrets reads an account's rows. With an error, which is of the main
// password, the others are there.
func parseSecrets(rows []storage.Credential) (s secrets, err error) {
	byKind := map[string]string{}
	var state strings.Builder
	for _, r := range rows {
		byKind[r.Kind] = string(r.Value)
		fmt.Fprintf(&state, "%d:%s%d:%s", len(r.Kind), r.Kind, len(r.Value), r.Value)
	}
	s.state = state.String()
	if text := byKind[storage.KindPassword]; text != "" {
		main, bad := parseMain(text, byKind[kindSHA1])
		if err = bad; err == nil {
			s.list = append(s.list, main)
		}
	} else if text := byKind[kindForeign]; text != "" {
		s.foreign, err = parseHash(text)
	}
	for _, r := range rows {
		if !strings.HasPrefix(r.Kind, kindApp) {
			continue
		}
		// One that can't be read logs nobody in, and keeps nobody else out.
		if app, bad := parseApp(r.Kind, string(r.Value)); bad == nil {
			s.list = append(s.list, app)
		}
	}
	s.params = s.sharedParams(byKind[kindParams])
	return s, err
}

// sharedParams are those of the row, or of a main password that has had none
// beside it so far.
func (s *secrets) sharedParams(row string) verifier {
	if p, ok := parseParams(row); ok {
		return p
	}
	if len(s.list) > 0 && s.list[0].kind == storage.KindPassword && s.list[0].verifiers[0].usable() {
		v := s.list[0].verifiers[0]
		return verifier{iterations: v.iterations, salt: v.salt}
	}
	return verifier{}
}

func parseMain(text, sha1Text string) (secret, error) {
	v, err := parseVerifier([]byte(text))
	if err != nil || v.sha1 {
		return secret{}, errVerifier
	}
	s := secret{kind: storage.KindPassword, scope: ScopeAll, verifiers: []verifier{v}}
	at := strings.LastIndexByte(sha1Text, '$')
	if at < 0 || sha1Text[at+1:] != boundTo(text) {
		return s, nil // none, or of the password before
	}
	if v, err = parseVerifier([]byte(sha1Text[:at])); err == nil && v.sha1 {
		s.verifiers = append(s.verifiers, v)
	}
	return s, nil
}

func boundTo(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func parseParams(row string) (verifier, bool) {
	n, salt, ok := strings.Cut(row, ":")
	if !ok {
		return verifier{}, false
	}
	iterations, err := strconv.Atoi(n)
	decoded, err2 := base64.StdEncoding.DecodeString(salt)
	p := verifier{iterations: iterations, salt: decoded}
	return p, err == nil && err2 == nil && len(decoded) > 0 && p.usable()
}

func (v *verifier) params() storage.Credential {
	return storage.Credential{Kind: kindParams, Value: fmt.Appendf(nil, "%d:%s", v.iterations, base64.StdEncoding.EncodeToString(v.salt))}
}

// usable tells whether clients take the number of iterations, and guessers don't.
func (v *verifier) usable() bool {
	return v.iterations >= minIterations && v.iterations <= maxIterations
}

// sharing tells whether v has the salt and iterations of p.
func (v *verifier) sharing(p *verifier) bool {
	return v.iterations == p.iterations && slices.Equal(v.salt, p.salt)
}

func parseApp(kind, text string) (secret, error) {
	s := secret{kind: kind}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(word, "SCRAM-"):
			v, err := parseVerifier([]byte(line))
			if err != nil {
				return s, err
			}
			s.verifiers = append(s.verifiers, v)
		case word == "scope":
			var err error
			if s.scope, err = ParseScope(rest); err != nil {
				return s, errSecret // a word that we don't know may take something away
			}
		case word == "created":
			n, err := strconv.ParseInt(rest, 10, 64)
			if err != nil {
				return s, errSecret
			}
			s.created = time.Unix(n, 0).UTC()
		default:
			return s, errSecret
		}
	}
	if len(s.verifiers) == 0 || s.verifiers[0].sha1 || s.scope&ScopeAll == 0 {
		return s, errSecret
	}
	return s, nil
}

// rows are what is stored of the secret.
func (s *secret) rows() []storage.Credential {
	if s.kind == storage.KindPassword {
		text := s.verifiers[0].text()
		rows := []storage.Credential{{Kind: s.kind, Value: text}}
		if v := s.verifier(true); v != nil {
			rows = append(rows, storage.Credential{Kind: kindSHA1, Value: fmt.Appendf(nil, "%s$%s", v.text(), boundTo(string(text)))})
		}
		return rows
	}
	var b []byte
	for _, v := range s.verifiers {
		b = append(append(b, v.text()...), '\n')
	}
	b = fmt.Appendf(b, "scope %s\ncreated %d\n", s.scope, s.created.Unix())
	return []storage.Credential{{Kind: s.kind, Value: b}}
}

// verifier is that of a hash, or nil.
func (s *secret) verifier(sha1 bool) *verifier {
	for i := range s.verifiers {
		if s.verifiers[i].sha1 == sha1 {
			return &s.verifiers[i]
		}
	}
	return nil
}

// complete tells whether the secret logs in by SCRAM with a hash, beside the
// other secrets of its account.
func (s *secret) complete(sha1 bool, params *verifier) bool {
	v := s.verifier(sha1)
	return v != nil && v.usable() && v.sharing(params)
}

// none tells whether nobody can log in with any.
func (s *secrets) none() bool { return len(s.list) == 0 && s.foreign == nil }

// complete tells whether all secrets of the account log in by SCRAM with a hash.
func (s *secrets) complete(sha1 bool) bool {
	if s.foreign != nil {
		return false
	}
	for i := range s.list {
		if !s.list[i].complete(sha1, &s.params) {
			return false
		}
	}
	return true
}

// find is the secret of a kind.
func (s *secrets) find(kind string) *secret {
	if kind == kindForeign && s.foreign != nil {
		return &secret{kind: kindForeign, scope: ScopeAll}
	}
	for i := range s.list {
		if s.list[i].kind == kind {
			return &s.list[i]
		}
	}
	return nil
}

// appName is the name of the app password that has a kind, or "".
func appName(kind string) string {
	name, ok := strings.CutPrefix(kind, kindApp)
	if !ok {
		return ""
	}
	return name
}
