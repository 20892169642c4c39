package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"
)

// A device is a client certificate with its files.
type device struct {
	cert, key string
	pair      tls.Certificate
	hash      string
}

// clientCA makes a CA for client certificates; make makes one of them.
func clientCA(t *testing.T) (file string, make func(name string, addresses ...string) device) {
	t.Helper()
	ca, caKey := testCertificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	dir := t.TempDir()
	return writePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", ca.Raw), func(name string, addresses ...string) device {
		leaf, key := testCertificate(t, &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, EmailAddresses: addresses, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ca, caKey)
		sum := sha256.Sum256(leaf.Raw)
		return device{
			cert: writePEM(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", leaf.Raw),
			key:  writeKey(t, filepath.Join(dir, name+"-key.pem"), key),
			pair: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}, hash: hex.EncodeToString(sum[:]),
		}
	}
}

// external connects with a certificate (nil: none), tells whether EXTERNAL is
// announced, and tries it.
func external(t *testing.T, addr string, config *tls.Config, authzid string) (announced bool, answer string, err error) {
	t.Helper()
	config.InsecureSkipVerify = true
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return false, "", err
	}
	defer c.Close()
	text := textproto.NewConn(c)
	greeting, err := text.ReadLine()
	if err != nil {
		return false, "", err
	}
	initial := "="
	if authzid != "" {
		initial = base64.StdEncoding.EncodeToString([]byte(authzid))
	}
	if err := text.PrintfLine("a AUTHENTICATE EXTERNAL %s", initial); err != nil {
		return false, "", err
	}
	answer, err = text.ReadLine()
	return strings.Contains(greeting, "AUTH=EXTERNAL"), strings.TrimPrefix(answer, "a "), err
}

func TestExternal(t *testing.T) {
	t.Parallel()
	need(t, "curl", "python3")
	ca, make := clientCA(t)
	anna, both, laptop := make("anna", "anna@box.test"), make("both", "anna@box.test", "bert@box.test"), make("laptop of bert", "anna@box.test")
	lost, unknown := make("lost", "anna@box.test"), make("unknown", "nobody@box.test")
	_, strange := clientCA(t)
	foreign := strange("foreign", "anna@box.test")

	n := oauthAccounts(t)
	file := write(t, filepath.Join(t.TempDir(), "nestbox.toml"), "client_ca_file = %q\nclient_accounts = [\"laptop of bert=bert\", %q]\n", ca, strings.ToUpper(lost.hash)+"=-")
	s := start(t, n, "--config", file)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			what      string
			certs     []tls.Certificate
			authzid   string
			announced bool
			answer    string // how it begins; "": no connection
		}{
			{"no certificate", nil, "", false, "NO unknown mechanism"},
			{"anna", []tls.Certificate{anna.pair}, "", true, "OK"},
			{"anna as anna", []tls.Certificate{anna.pair}, "anna", true, "OK"},
			{"anna's address", []tls.Certificate{anna.pair}, "Anna@box.test", true, "OK"},
			{"anna as bert", []tls.Certificate{anna.pair}, "bert", true, "NO [AUTHORIZATIONFAILED]"},
			{"both as bert", []tls.Certificate{both.pair}, "bert@box.test", true, "OK"},
			{"both as nobody in particular", []tls.Certificate{both.pair}, "", true, "NO [AUTHENTICATIONFAILED]"},
			{"by common name", []tls.Certificate{laptop.pair}, "bert", true, "OK"},
			{"by common name, not by address", []tls.Certificate{laptop.pair}, "anna", true, "NO [AUTHORIZATIONFAILED]"},
			{"lost", []tls.Certificate{lost.pair}, "", false, "NO unknown mechanism"},
			{"no account", []tls.Certificate{unknown.pair}, "", false, "NO unknown mechanism"},
			{"another CA", []tls.Certificate{foreign.pair}, "", false, ""},
			{"NUL", []tls.Certificate{anna.pair}, "a\x00b", true, "BAD"},
		} {
			// A client sends the certificate it was told to, whatever CAs the server names.
			config := &tls.Config{MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.certs == nil {
					return new(tls.Certificate), nil
				}
				return &c.certs[0], nil
			}}
			announced, answer, err := external(t, s.TLSAddr, config, c.authzid)
			if (err == nil) != (c.answer != "") || announced != c.announced || !strings.HasPrefix(answer, c.answer) {
				t.Errorf("TLS %x, %s: announced %v, %q, %v", version, c.what, announced, answer, err)
			}
		}
	}

	// A resumed session has the certificate of the first.
	config := &tls.Config{Certificates: []tls.Certificate{anna.pair}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		if announced, answer, err := external(t, s.TLSAddr, config, ""); !announced || !strings.HasPrefix(answer, "OK") {
			t.Errorf("resumed: %v, %q, %v", announced, answer, err)
		}
	}

	for _, url := range []string{"imaps://" + s.TLSAddr, "imap://" + s.Addr} {
		list := run(t, t.TempDir(), "curl", "-sS", "--max-time", "30", "-k", "--ssl-reqd", "--cert", anna.cert, "--key", anna.key, "-u", "anna@box.test:", "--login-options", "AUTH=EXTERNAL", url+"/")
		if !strings.Contains(list, "INBOX") {
			t.Errorf("curl %s: %q", url, list)
		}
	}
	l := serverLogin(s)
	out := run(t, t.TempDir(), "python3", "-c", `
import imaplib, ssl, sys
host, port, cert, key = sys.argv[1:]
context = ssl._create_unverified_context()
context.load_cert_chain(cert, key)
c = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=30)
print(c.authenticate("EXTERNAL", lambda _: b"")[0], c.select()[0])`, l.host(), l.tlsPort(), anna.cert, anna.key)
	if strings.TrimSpace(out) != "OK OK" {
		t.Errorf("imaplib: %q", out)
	}
	command(t, s.Nestbox, "", "account", "disable", "anna")
	config = &tls.Config{Certificates: []tls.Certificate{anna.pair}}
	if announced, answer, err := external(t, s.TLSAddr, config, ""); announced || !strings.HasPrefix(answer, "NO") {
		t.Errorf("disabled: %v, %q, %v", announced, answer, err)
	}
}
