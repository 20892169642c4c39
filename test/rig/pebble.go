package rig

import (
	"bytes"
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
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A Pebble is an ACME CA, Let's Encrypt's own for tests, and the DNS by which
// it finds servers: all names are 127.0.0.1, unless DNS says another server.
type Pebble struct {
	Dir       string // for its files
	HTTPPort  int    // where it looks for HTTP-01 ...
	TLSPort   int    // and TLS-ALPN-01
	DNS       string // a DNS server to ask, "": one of its own
	EABKeyID  string // if set, accounts must be bound with it and
	EABKey    string
	Refuse    []string      // names that it issues nothing for
	Validity  time.Duration // of certificates; 0: 90 days
	Directory string        // its address, set by Prepare
	Root      string        // file of the root of its own address, set by Prepare

	listen, manage string
	commands       []*exec.Cmd
	log            Log
}

// Programs that a Pebble needs.
var PebblePrograms = []string{"pebble", "pebble-challtestsrv"}

// Prepare writes its files, so that a server can be told of it that isn't there yet.
func (p *Pebble) Prepare() error {
	var ports [4]string
	var err error
	if ports[0], ports[1], err = FreePorts(); err != nil {
		return err
	}
	if ports[2], ports[3], err = FreePorts(); err != nil {
		return err
	}
	p.listen, p.manage = "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	p.Directory, p.Root = "https://"+p.listen+"/dir", filepath.Join(p.Dir, "acme-root.pem")
	if p.DNS == "" {
		p.DNS = "127.0.0.1:" + ports[2]
		p.commands = append(p.commands, exec.Command("pebble-challtestsrv", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
			"-dnsserver", p.DNS, "-management", "127.0.0.1:"+ports[3], "-defaultIPv6", ""))
	}
	key := filepath.Join(p.Dir, "acme-key.pem")
	if err := writeIdentity(p.Root, key); err != nil {
		return err
	}
	if p.Validity == 0 {
		p.Validity = 90 * 24 * time.Hour
	}
	conf := map[string]any{
		"listenAddress": p.listen, "managementListenAddress": p.manage, "certificate": p.Root, "privateKey": key,
		"httpPort": p.HTTPPort, "tlsPort": p.TLSPort, "externalAccountBindingRequired": p.EABKeyID != "",
		"domainBlocklist": p.Refuse,
		"profiles":        map[string]any{"default": map[string]any{"description": "a test's", "validityPeriod": int(p.Validity / time.Second)}},
	}
	if p.EABKeyID != "" {
		conf["externalAccountMACKeys"] = map[string]string{p.EABKeyID: p.EABKey}
	}
	text, err := json.Marshal(map[string]any{"pebble": conf})
	if err != nil {
		return err
	}
	file := filepath.Join(p.Dir, "pebble.json")
	p.commands = append(p.commands, exec.Command("pebble", "-config", file, "-dnsserver", p.DNS))
	return os.WriteFile(file, text, 0o600)
}

// Start starts it and waits until it answers. One that was stopped starts with
// nothing: accounts and certificates of before are unknown to it.
func (p *Pebble) Start() error {
	for i, c := range p.commands {
		cmd := exec.Command(c.Args[0], c.Args[1:]...)
		cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
		cmd.Stdout, cmd.Stderr = &p.log, &p.log
		if err := cmd.Start(); err != nil {
			return errors.Join(err, p.Stop())
		}
		p.commands[i] = cmd
	}
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err = p.get(p.Directory, nil); err == nil {
			if _, err = p.get("https://"+p.manage+"/roots/0", nil); err == nil {
				return nil
			}
		}
	}
	return errors.Join(fmt.Errorf("pebble doesn't answer: %w\n%s", err, p.Log()), p.Stop())
}

// Stop ends it; Start may follow.
func (p *Pebble) Stop() error {
	var errs []error
	for _, cmd := range p.commands {
		if cmd.Process == nil || cmd.ProcessState != nil {
			continue
		}
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		_ = cmd.Wait() // it was killed
	}
	return errors.Join(errs...)
}

// Log is what it printed: among others a line for each request.
func (p *Pebble) Log() string { return p.log.String() }

// Roots are those of the certificates that it issues.
func (p *Pebble) Roots() (*x509.CertPool, error) {
	text, err := p.get("https://"+p.manage+"/roots/0", nil)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("pebble's root is no PEM")
	}
	return pool, nil
}

// AdviseRenewal has the CA say that a certificate is to be renewed now (RFC 9773 §4.2).
func (p *Pebble) AdviseRenewal(cert *x509.Certificate) error {
	start := time.Now().Add(-time.Hour).UTC()
	window := fmt.Sprintf(`{"suggestedWindow":{"start":%q,"end":%q}}`, start.Format(time.RFC3339), start.Add(time.Minute).Format(time.RFC3339))
	body, err := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), "ARIResponse": window,
	})
	if err == nil {
		_, err = p.get("https://"+p.manage+"/set-renewal-info/", body)
	}
	return err
}

// get asks pebble, with a body by POST.
func (p *Pebble) get(url string, body []byte) ([]byte, error) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return text, err
}

// writeIdentity writes a certificate for 127.0.0.1 that is its own root, and its key.
func writeIdentity(cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "pebble of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600))
}
