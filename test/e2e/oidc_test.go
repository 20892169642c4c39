package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nestbox/test/rig"
)

const oidcVersion = "8.8.1" // the last that runs on Node 18 and 20

// A provider is npm's oidc-provider, a certified OpenID provider, on a port of
// its own and with TLS by a CA of its own.
type provider struct {
	dir, roots, cert, key string
	addr                  string
	cmd                   *exec.Cmd
	log                   *rig.Log
}

// newProvider starts one.
func newProvider(t *testing.T) *provider {
	t.Helper()
	need(t, "node", "npm")
	dir := npmPackage(t, "oidc-provider", oidcVersion)
	p := &provider{dir: t.TempDir()}
	p.certificate(t)
	p.addr = freeAddr(t)
	script := imapflowScript(t, dir, "oidc_provider.mjs")
	p.start(t, script)
	return p
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *provider) issuer() string { return "https://" + p.addr }

func (p *provider) start(t *testing.T, script string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(p.addr)
	p.log = new(rig.Log)
	p.cmd = exec.CommandContext(t.Context(), "node", script, port, p.cert, p.key)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the provider's log:\n%s", p.log)
		}
	})
	for end := time.Now().Add(time.Minute); !strings.Contains(p.log.String(), "listening"); {
		if time.Now().After(end) {
			t.Fatalf("the provider doesn't start:\n%s", p.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *provider) stop() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// certificate makes a CA and the provider's certificate.
func (p *provider) certificate(t *testing.T) {
	t.Helper()
	ca, caKey := testCertificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := testCertificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "provider"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	p.roots = writePEM(t, filepath.Join(p.dir, "roots.pem"), "CERTIFICATE", ca.Raw)
	p.cert = writePEM(t, filepath.Join(p.dir, "cert.pem"), "CERTIFICATE", leaf.Raw)
	p.key = writeKey(t, filepath.Join(p.dir, "key.pem"), key)
}

// testCertificate is of a CA, or of itself without one.
func testCertificate(t *testing.T, c, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if ca == nil {
		ca, caKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	return write(t, path, "%s", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func writeKey(t *testing.T, path string, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, path, "PRIVATE KEY", der)
}

// browser is a user's, whom the provider knows by its cookies.
func (p *provider) browser(t *testing.T) *http.Client {
	t.Helper()
	text, err := os.ReadFile(p.roots)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	jar, _ := cookiejar.New(nil) // never fails
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if r.URL.Host == "phone.test" {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

var promptOf = regexp.MustCompile(`name="prompt" value="(\w+)"`)

// token logs a user in at the provider, as a phone's browser does it, and returns
// the access token. kind is ALG:AUDIENCE:SECONDS.
func (p *provider) token(t *testing.T, user, scope, kind string) string {
	t.Helper()
	b := p.browser(t)
	const back = "https://phone.test/back"
	ask := url.Values{"client_id": {"phone"}, "response_type": {"code"}, "redirect_uri": {back}, "scope": {"openid " + scope}, "resource": {"urn:test:" + kind}}
	answer, err := b.Get(p.issuer() + "/auth?" + ask.Encode())
	for range 4 {
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if to, err := answer.Location(); err == nil && to.Host == "phone.test" {
			return p.exchange(t, b, url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {back}})
		}
		prompt := promptOf.FindSubmatch(page)
		if prompt == nil {
			t.Fatalf("the provider asks nothing: %s\n%s", answer.Status, page)
		}
		answer, err = b.PostForm(answer.Request.URL.String(), url.Values{"prompt": {string(prompt[1])}, "login": {user}, "password": {"any"}})
	}
	t.Fatal("the provider asks on and on")
	return ""
}

// exchange gets the token that a code is for.
func (p *provider) exchange(t *testing.T, b *http.Client, form url.Values) string {
	t.Helper()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(p.post(t, b, "/token", form), &answer); err != nil || answer.Token == "" {
		t.Fatal(err, "no token")
	}
	return answer.Token
}

func (p *provider) post(t *testing.T, b *http.Client, path string, form url.Values) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.issuer()+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("phone", url.QueryEscape("of the phone"))
	answer, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s %s", path, answer.Status, body))
	}
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// revoke takes a token back.
func (p *provider) revoke(t *testing.T, token string) {
	t.Helper()
	p.post(t, p.browser(t), "/token/revocation", url.Values{"token": {token}})
}
