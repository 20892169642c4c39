package e2e

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// oauthServer is a nestbox that takes the provider's tokens.
func oauthServer(t *testing.T, p *provider, more ...string) *rig.Server {
	t.Helper()
	args := []string{"--oauth-issuer", p.issuer(), "--oauth-roots", p.roots, "--oauth-scope", "mail", "--oauth-audience", "nestbox"}
	return start(t, oauthAccounts(t), append(args, more...)...)
}

// oauthAccounts has anna and bert, with addresses.
func oauthAccounts(t *testing.T) *rig.Nestbox {
	t.Helper()
	n := install(t)
	command(t, n, "", "init")
	command(t, n, "", "domain", "add", "box.test")
	for _, name := range []string{"anna", "bert"} {
		if err := n.AddAccount(t.Context(), name, "password of "+name); err != nil {
			t.Fatal(err)
		}
		command(t, n, "", "address", "add", name, name+"@box.test")
	}
	return n
}

// logs waits until the server's log has a text.
func logs(t *testing.T, s *rig.Server, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(s.Log(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("the log lacks %s", text)
			return
		}
	}
}

// introspection are the settings for it.
func introspection(t *testing.T) []string {
	secret := write(t, filepath.Join(t.TempDir(), "secret"), "%s\n", "box: a+b%c")
	return []string{"--oauth-introspection", "--oauth-client-id", "nestbox", "--oauth-client-secret-file", secret}
}

func serverLogin(s *rig.Server) login { return login{addr: s.Addr, tlsAddr: s.TLSAddr} }

// bearer logs in by OAUTHBEARER and returns the server's JSON, if any, and the
// tagged answer.
func bearer(t *testing.T, s *rig.Server, authzid, token string) (told, answer string) {
	t.Helper()
	c, err := raw.Dial(s.TLSAddr, raw.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	message := "n," + authzid + ",\x01auth=Bearer " + token + "\x01\x01"
	tag := c.Send("AUTHENTICATE OAUTHBEARER " + base64.StdEncoding.EncodeToString([]byte(message)))
	for {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		line, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		if answer, ok := strings.CutPrefix(string(line), tag+" "); ok {
			return told, answer
		}
		text, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(line), "+ "))
		if err != nil || told != "" {
			t.Fatalf("%q: %v", line, err)
		}
		told = string(text)
		c.SendRaw([]byte("AQ==\r\n"))
	}
}

func TestOAuthClients(t *testing.T) {
	t.Parallel()
	need(t, "curl", "python3")
	p := newProvider(t)
	s := oauthServer(t, p, "--oauth-read-only-scope", "mail.read")
	host, port := serverLogin(s).host(), serverLogin(s).tlsPort()
	dir := t.TempDir()
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		token := p.token(t, "anna", "mail", alg+":nestbox:600")
		for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
			for _, url := range []string{"imaps://" + s.TLSAddr, "imap://" + s.Addr} {
				for _, ir := range [][]string{nil, {"--sasl-ir"}} {
					args := append([]string{"-sS", "--max-time", "30", "-k", "--ssl-reqd", "--oauth2-bearer", token, "-u", "anna@box.test:", "--login-options", "AUTH=" + mechanism, url + "/"}, ir...)
					if list := run(t, dir, "curl", args...); !strings.Contains(list, "INBOX") {
						t.Errorf("%s %s by %s: %q", alg, url, mechanism, list)
					}
				}
			}
		}
	}
	token := p.token(t, "anna", "mail", "ES256:nestbox:600")
	flow := imapflow(t)
	run(t, flow, "node", imapflowScript(t, flow, "imapflow_token.mjs"), host, port, "anna@box.test", token)
	for _, c := range []struct{ scope, kind, want string }{
		{"mail", "RS256:nestbox:600", "OAUTHBEARER APPEND OK\nOAUTHBEARER null\nXOAUTH2 APPEND OK\nXOAUTH2 null\n"},
		{"mail.read", "RS256:nestbox:600", "OAUTHBEARER APPEND NO\nOAUTHBEARER null\nXOAUTH2 APPEND NO\nXOAUTH2 null\n"},
		{"mail", "RS256:others:600", `OAUTHBEARER {"openid-configuration": "` + p.issuer() + `/.well-known/openid-configuration", "scope": "mail", "status": "invalid_token"}` + "\n" +
			`XOAUTH2 {"schemes": "bearer", "scope": "mail", "status": "401"}` + "\n"},
		{"", "RS256:nestbox:600", `OAUTHBEARER {"openid-configuration": "` + p.issuer() + `/.well-known/openid-configuration", "scope": "mail", "status": "insufficient_scope"}` + "\n" +
			`XOAUTH2 {"schemes": "bearer", "scope": "mail", "status": "403"}` + "\n"},
	} {
		token := p.token(t, "anna", c.scope, c.kind)
		in := write(t, filepath.Join(dir, "token"), "%s", token)
		out := run(t, dir, "sh", "-c", `exec python3 "$0" "$1" "$2" "$3" <"$4"`, filepath.Join(scripts(t), "imaplib_token.py"), host, port, "anna@box.test", in)
		if out != c.want {
			t.Errorf("%s %s: imaplib says\n%swant\n%s", c.scope, c.kind, out, c.want)
		}
		if strings.Contains(s.Log(), token[len(token)-40:]) {
			t.Error("the log has a token")
		}
	}
}

// scripts is testdata, from anywhere.
func scripts(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOAuthRefuses(t *testing.T) {
	t.Parallel()
	p, stranger := newProvider(t), newProvider(t)
	s := oauthServer(t, p)
	good := p.token(t, "anna", "mail", "RS256:nestbox:600")
	refused := func(what, authzid, token, reason string) {
		t.Helper()
		told, answer := bearer(t, s, authzid, token)
		if told == "" || !strings.HasPrefix(answer, "NO [AUTHENTICATIONFAILED]") {
			t.Errorf("%s: told %q, %q, want the reason %s", what, told, answer, reason)
		}
		logs(t, s, "reason="+reason)
	}
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	refused("another's issuer", "", stranger.token(t, "anna", "mail", "RS256:nestbox:600"), "token_of_another_issuer")
	refused("no account", "", p.token(t, "nobody", "mail", "RS256:nestbox:600"), "unknown")
	refused("address not verified", "", p.token(t, "unverified", "mail", "RS256:nestbox:600"), "token_address_unverified")
	refused("opaque", "", p.token(t, "anna", "mail", "opaque:nestbox:600"), "token_unreadable")
	refused("none", "", none+"."+parts[1]+".", "token_algorithm")
	refused("other claims", "", parts[0]+"."+strings.Split(p.token(t, "bert", "mail", "RS256:nestbox:600"), ".")[1]+"."+parts[2], "token_signature")
	if _, answer := bearer(t, s, "a=bert", good); !strings.HasPrefix(answer, "NO [AUTHORIZATIONFAILED]") {
		t.Errorf("for bert: %q", answer)
	}
	for _, authzid := range []string{"", "a=anna", "a=ANNA@box.test"} {
		if told, answer := bearer(t, s, authzid, good); told != "" || !strings.HasPrefix(answer, "OK") {
			t.Errorf("good, %q: %q, %q", authzid, told, answer)
		}
	}
	command(t, s.Nestbox, "", "account", "disable", "anna")
	refused("disabled", "", good, "disabled")

	// It has expired, but clocks may differ by a minute.
	if _, answer := bearer(t, s, "", p.token(t, "bert", "mail", "RS256:nestbox:-20")); !strings.HasPrefix(answer, "OK") {
		t.Errorf("expired 20 s ago: %q", answer)
	}
	refused("expired", "", p.token(t, "bert", "mail", "RS256:nestbox:-60"), "token_expired")
}

// TestOAuthProviderAway: keys are kept; without any, clients are told that it
// isn't their token.
func TestOAuthProviderAway(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	good := p.token(t, "anna", "mail", "ES256:nestbox:600")
	knows := oauthServer(t, p)
	if _, answer := bearer(t, knows, "", good); !strings.HasPrefix(answer, "OK") {
		t.Fatalf("good: %q", answer)
	}
	p.stop()
	if _, answer := bearer(t, knows, "", good); !strings.HasPrefix(answer, "OK") {
		t.Errorf("the keys are known: %q", answer)
	}
	s := oauthServer(t, p)
	told, answer := bearer(t, s, "", good)
	if told != "" || !strings.HasPrefix(answer, "NO [UNAVAILABLE]") {
		t.Errorf("provider away: %q, %q", told, answer)
	}
	for _, event := range []string{"oauth_provider_failed", "reason=provider_away"} {
		logs(t, s, event)
	}
	// It comes back, with other keys.
	p.start(t, imapflowScript(t, npmPackage(t, "oidc-provider", oidcVersion), "oidc_provider.mjs"))
	good = p.token(t, "anna", "mail", "ES256:nestbox:600")
	for end := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		_, answer = bearer(t, s, "", good)
		if strings.HasPrefix(answer, "OK") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the provider is back: %q", answer)
		}
	}
}

func TestOAuthIntrospection(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := oauthServer(t, p, append(introspection(t), "--oauth-user-claim", "preferred_username", "--oauth-read-only-scope", "mail.read")...)
	good, revoked := p.token(t, "anna", "mail", "opaque:nestbox:600"), p.token(t, "anna", "mail", "opaque:nestbox:600")
	p.revoke(t, revoked)
	for _, c := range []struct{ what, token, told, answer string }{
		{"good", good, "", "OK"},
		{"revoked", revoked, "invalid_token", "NO [AUTHENTICATIONFAILED]"},
		{"nonsense", "abc.def", "invalid_token", "NO [AUTHENTICATIONFAILED]"},
		{"another audience", p.token(t, "anna", "mail", "opaque:others:600"), "invalid_token", "NO [AUTHENTICATIONFAILED]"},
		{"no scope", p.token(t, "anna", "", "opaque:nestbox:600"), "insufficient_scope", "NO [AUTHENTICATIONFAILED]"},
		{"read-only", p.token(t, "anna", "mail.read", "opaque:nestbox:600"), "", "OK"},
	} {
		told, answer := bearer(t, s, "", c.token)
		if (c.told == "") != (told == "") || !strings.Contains(told, c.told) || !strings.HasPrefix(answer, c.answer) {
			t.Errorf("%s: told %q, %q", c.what, told, answer)
		}
	}
	// What the provider said holds for a while, but never longer than the token.
	short := p.token(t, "bert", "mail", "opaque:nestbox:4")
	p.revoke(t, good)
	for what, token := range map[string]string{"taken back a moment ago": good, "short": short} {
		if _, answer := bearer(t, s, "", token); !strings.HasPrefix(answer, "OK") {
			t.Errorf("%s: %q", what, answer)
		}
	}
	await(t, "the short token to expire", func() bool {
		_, answer := bearer(t, s, "", short)
		return strings.HasPrefix(answer, "NO [AUTHENTICATIONFAILED]")
	})
	p.stop()
	if told, answer := bearer(t, s, "", p.issuer()); told != "" || !strings.HasPrefix(answer, "BAD") {
		t.Errorf("no token: %q, %q", told, answer)
	}
	if told, answer := bearer(t, s, "", "xyz"); told != "" || !strings.HasPrefix(answer, "NO [UNAVAILABLE]") {
		t.Errorf("provider away: %q, %q", told, answer)
	}
}

// TestOAuthSettings: nothing is announced without a provider, and settings that
// would take anybody's tokens are refused.
func TestOAuthSettings(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "", "init")
	s := start(t, n)
	c, err := raw.Dial(s.TLSAddr, raw.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do("CAPABILITY", func(line []byte) {
		if strings.Contains(string(line), "OAUTH") {
			t.Errorf("announced without a provider: %s", line)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, settings := range []string{
		`oauth_issuer = "https://id.test"`,
		`oauth_issuer = "http://id.test"` + "\n" + `oauth_audience = ["a"]`,
		`oauth_audience = ["a"]`,
		`oauth_issuer = "https://id.test"` + "\n" + "oauth_introspection = true",
	} {
		file := write(t, filepath.Join(t.TempDir(), "nestbox.toml"), "%s\n", settings)
		if out, err := try(t, n.Data, n.Binary, "config", "check", "--config", file); err == nil || !strings.Contains(out, "oauth_") {
			t.Errorf("%s: %v %s", settings, err, out)
		}
	}
}
