package imap

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extURLAuth: a URL may carry the right to read what it names (RFC 4467, RFC
// 5092 §6.1). It is signed with a key of its owner and the mailbox, which the
// owner can change at any time.
var extURLAuth = extension{
	name: "URLAUTH", rfc: "RFC 4467", caps: []capability{{name: "URLAUTH"}},
	onSelect: tellURLMech, onSync: syncURLMech,
	commands: []*command{
		{name: "GENURLAUTH", state: loggedIn, parse: parseGenURLAuth},
		{name: "RESETKEY", state: loggedIn, parse: parseResetKey},
		{name: "URLFETCH", state: loggedIn, parse: parseURLFetch},
	},
}

const (
	codeURLMech  = "URLMECH INTERNAL"
	mechanismURL = "internal"
	// tokenKind begins a token, and says how it is made: HMAC-SHA256.
	tokenKind = "01"
	// maxURLs bounds the URLs of a command.
	maxURLs = 1000
)

// tellURLMech tells of the ways in which URLs are signed.
func tellURLMech(s *session) {
	s.sel.urlKeys = s.sel.account.URLKeyChanges(s.sel.box.ID)
	s.status("", imap.StatusResponseTypeOK, codeURLMech, "ways to sign URLs")
}

// syncURLMech does the same when there is a new key (RFC 4467 §7).
func syncURLMech(s *session) error {
	if s.sel.account.URLKeyChanges(s.sel.box.ID) != s.sel.urlKeys {
		tellURLMech(s)
	}
	return nil
}

// A urlGrant says who may use a URL: what follows the message in it.
type urlGrant struct {
	rump      string // the URL without mechanism and token
	expire    time.Time
	access    string // "submit+", "user+", "authuser", "anonymous"
	user      string // of the first two
	mechanism string
	token     string
}

// parseGrant reads [expire] ";URLAUTH=" access [":" mechanism ":" token].
func (u *messageURL) parseGrant(text string) (g urlGrant, err error) {
	wrong := errors.New("it does not end with a right access identifier: ;URLAUTH= and user+, submit+, authuser or anonymous")
	rest := u.rest
	if after, ok := cutPrefixFold(rest, ";EXPIRE="); ok {
		end := strings.IndexByte(after+";", ';')
		if g.expire, err = time.Parse(time.RFC3339, strings.ToUpper(after[:end])); err != nil {
			return g, errors.New("its EXPIRE is not a date-time of RFC 3339")
		}
		rest = after[end:]
	}
	rest, ok := cutPrefixFold(rest, ";URLAUTH=")
	if !ok || strings.Contains(rest, ";") {
		return g, wrong
	}
	access, verifier, signed := strings.Cut(rest, ":")
	g.rump = text[:len(text)-len(rest)+len(access)]
	g.mechanism, g.token, _ = strings.Cut(verifier, ":")
	if signed && (g.mechanism == "" || g.token == "") {
		return g, wrong
	}
	for _, kind := range []string{"submit+", "user+"} {
		if user, ok := cutPrefixFold(access, kind); ok {
			g.access = kind
			g.user, ok = unescape(user)
			if !ok || user == "" || strings.ContainsAny(user, "/@") { // an enc-user has none
				return g, wrong
			}
			return g, nil
		}
	}
	switch g.access = strings.ToLower(access); g.access {
	case "authuser", "anonymous":
		return g, nil
	}
	return g, wrong
}

// urlUser is the user in "user;AUTH=*@host:port", or "".
func urlUser(server string) string {
	info, host, ok := strings.Cut(server, "@")
	if !ok || host == "" {
		return ""
	}
	user, auth, has := strings.Cut(info, ";")
	if _, ok := cutPrefixFold(auth, "AUTH="); has && !ok {
		return ""
	}
	user, ok = unescape(user)
	if !ok {
		return ""
	}
	return user
}

// sign makes the token of a URL.
func sign(key []byte, rump string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(tokenKind + rump))
	return tokenKind + hex.EncodeToString(h.Sum(nil))
}

// decoyURLKey signs what no key is there for.
var decoyURLKey = sync.OnceValue(func() []byte {
	key := make([]byte, storage.URLKeySize)
	_, _ = rand.Read(key) // it never fails
	return key
})

type genURLAuth struct{ urls, mechanisms []string }

func parseGenURLAuth(d *wire.Decoder, _ *request) runner {
	c := new(genURLAuth)
	for d.SP(); d.Err() == nil; {
		c.urls = append(c.urls, d.Astring())
		d.SP()
		c.mechanisms = append(c.mechanisms, d.Word())
		if len(c.urls) > maxURLs {
			d.FailErr(bad("more than %d URLs", maxURLs))
		}
		if !d.TrySP() {
			break
		}
	}
	d.End()
	return c
}

// run signs all URLs or none.
func (c *genURLAuth) run(s *session, _ *request) (reply, error) {
	signed := make([]string, len(c.urls))
	for i, url := range c.urls {
		if !strings.EqualFold(c.mechanisms[i], mechanismURL) {
			return reply{}, no(imap.ResponseCodeCannot, "the only mechanism is INTERNAL")
		}
		token, err := s.signURL(url)
		if err != nil {
			return reply{}, err
		}
		signed[i] = url + ":" + mechanismURL + ":" + token
	}
	s.w.Raw("* GENURLAUTH")
	for _, url := range signed {
		s.w.SP().String(url)
	}
	s.w.CRLF()
	return reply{}, nil
}

// signURL looks whether the URL is one that the session may sign (RFC 4467 §7,
// GENURLAUTH), and makes its token.
func (s *session) signURL(url string) (token string, err error) {
	u, err := parseMessageURL(url)
	if err != nil {
		return "", bad("the URL can't be signed: %s", err.Error())
	}
	g, err := u.parseGrant(url)
	if err != nil {
		return "", bad("the URL can't be signed: %s", err.Error())
	}
	if g.mechanism != "" {
		return "", bad("the URL is signed already")
	}
	if u.hasPartial && !s.has(&extURLPartial) {
		return "", bad("URL-PARTIAL is switched off")
	}
	user := urlUser(u.server)
	if user == "" {
		return "", bad("missing owner username in supplied URL")
	}
	if info, err := s.srv.o.Store.FindAccount(user); err != nil || info.ID != s.account.ID() {
		return "", bad("the URL has another user than this session")
	}
	box, err := s.urlMailbox(&u)
	if err != nil {
		var none *urlError
		if errors.As(err, &none) {
			return "", bad("the URL can't be signed: %s", none.text)
		}
		return "", err
	}
	if g.user != "" {
		if _, err := s.srv.o.Store.FindAccount(g.user); err != nil {
			// Nobody learns here who has an account: the URL is just never good.
			return sign(decoyURLKey(), g.rump), nil
		}
	}
	key, err := s.account.MakeURLKey(box.ID, false)
	if err != nil {
		return "", err
	}
	return sign(key, g.rump), nil
}

type resetKey struct {
	all        bool
	mailbox    string
	mechanisms []string
}

func parseResetKey(d *wire.Decoder, _ *request) runner {
	c := &resetKey{all: d.AtEnd()}
	if !c.all {
		d.SP()
		c.mailbox = d.Mailbox()
		for d.Err() == nil && d.TrySP() {
			c.mechanisms = append(c.mechanisms, d.Word())
		}
	}
	d.End()
	return c
}

func (c *resetKey) run(s *session, _ *request) (reply, error) {
	if c.all {
		return reply{text: "all keys removed"}, s.account.DropURLKeys()
	}
	for _, m := range c.mechanisms {
		if !strings.EqualFold(m, mechanismURL) {
			return reply{}, no(imap.ResponseCodeCannot, "the only mechanism is INTERNAL")
		}
	}
	box, err := s.mailbox(c.mailbox, storage.RightRead)
	if err != nil {
		return reply{}, err
	}
	if _, err := s.account.MakeURLKey(box.ID, true); err != nil {
		return reply{}, err
	}
	box.account.Wake(box.ID)                    // other sessions of this login tell their clients
	if s.sel != nil && s.sel.box.ID == box.ID { // this session is told here
		s.sel.urlKeys = s.account.URLKeyChanges(box.ID)
	}
	return reply{code: codeURLMech, text: "all URLs signed with the old key are worthless"}, nil
}
