package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nestbox/test/rig"
)

// A webServer is a server with HTTP and HTTPS.
type webServer struct {
	*rig.Server
	HTTP, HTTPS string // URLs
	CA          string // a file
}

// startWeb starts a server of an installation with HTTP and HTTPS.
func startWeb(t *testing.T, n *rig.Nestbox) webServer {
	t.Helper()
	n.Env = append(n.Env, "NESTBOX_HTTP=127.0.0.1:0", "NESTBOX_HTTPS=127.0.0.1:0", "NESTBOX_HOST_NAMES=127.0.0.1 localhost")
	s := webServer{Server: start(t, n), CA: filepath.Join(t.TempDir(), "ca.pem")}
	for protocol, url := range map[string]*string{"http": &s.HTTP, "https": &s.HTTPS} {
		m := regexp.MustCompile(`event=listening .*protocol=` + protocol + ` addr=(\S+)`).FindStringSubmatch(s.Log())
		if m == nil {
			t.Fatalf("%s is not served\n%s", protocol, s.Log())
		}
		*url = protocol + "://" + m[1]
	}
	if err := os.WriteFile(s.CA, []byte(command(t, n, "", "cert", "ca")), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// curl runs curl and returns the answer's status, and its body.
func (s webServer) curl(t *testing.T, args ...string) (status, body string) {
	t.Helper()
	need(t, "curl")
	out, err := exec.Command("curl", append([]string{"-q", "-sS", "--max-time", "60", "--cacert", s.CA, "-w", "\n%{http_code}"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %v: %v\n%s", args, err, out)
	}
	text := string(out)
	at := strings.LastIndexByte(text, '\n')
	return text[at+1:], text[:at]
}

// xpath reads a value out of XML with xmllint.
func xpath(t *testing.T, document, expression string) string {
	t.Helper()
	need(t, "xmllint")
	cmd := exec.Command("xmllint", "--nonet", "--xpath", expression, "-")
	cmd.Stdin = strings.NewReader(document)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("xmllint %s: %v\n%s\n%s", expression, err, out, document)
	}
	return strings.TrimSpace(string(out))
}

// TestAutoconfig: Thunderbird's and Outlook's requests over HTTP and HTTPS get
// what is really served; addresses that are there and others the same.
func TestAutoconfig(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "anna", "--password-stdin")
	command(t, n, "", "domain", "add", "example.org")
	command(t, n, "", "set", "smtp_server", "smtp.example.org:465")
	s := startWeb(t, n)
	_, port, _ := strings.Cut(s.TLSAddr, ":")
	for _, url := range []string{s.HTTP + "/mail/config-v1.1.xml", s.HTTPS + "/.well-known/autoconfig/mail/config-v1.1.xml"} {
		status, body := s.curl(t, url+"?emailaddress=anna%40example.org")
		_, nobody := s.curl(t, url+"?emailaddress=nobody%40example.org")
		if status != "200" || body != nobody {
			t.Errorf("%s: %s\n%s\n%s", url, status, body, nobody)
		}
		for expression, want := range map[string]string{
			`string(//incomingServer[1]/hostname)`:   "127.0.0.1",
			`string(//incomingServer[1]/port)`:       port,
			`string(//incomingServer[1]/socketType)`: "SSL",
			`string(//incomingServer[1]/username)`:   "%EMAILADDRESS%",
			`count(//incomingServer)`:                "2",
			`string(//outgoingServer/hostname)`:      "smtp.example.org",
			`string(//outgoingServer/socketType)`:    "SSL",
			`string(//emailProvider/domain)`:         "example.org",
		} {
			if got := xpath(t, body, expression); got != want {
				t.Errorf("%s: %s is %q, want %q", url, expression, got, want)
			}
		}
	}
	const local = `string(//*[local-name()="Protocol"][1]/*[local-name()="%"])`
	status, body := s.curl(t, "-H", "Content-Type: text/xml", "--data-binary",
		`<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>a&amp;b@example.org</EMailAddress></Request></Autodiscover>`,
		s.HTTPS+"/Autodiscover/Autodiscover.xml")
	for name, want := range map[string]string{"Type": "IMAP", "Server": "127.0.0.1", "Port": port, "LoginName": "a&b@example.org", "SSL": "on"} {
		if got := xpath(t, body, strings.Replace(local, "%", name, 1)); status != "200" || got != want {
			t.Errorf("autodiscover %s: %s is %q, want %q", status, name, got, want)
		}
	}
	if status, body := s.curl(t, s.HTTPS+"/autodiscover/autodiscover.json?Protocol=AutodiscoverV1&Email=x@example.org"); status != "200" || !strings.Contains(body, s.HTTPS+"/autodiscover/autodiscover.xml") {
		t.Errorf("autodiscover v2: %s %s", status, body)
	}
	for _, path := range []string{"/", "/no-such", "/mail/", "/v1/status", "/.well-known/acme-challenge/x"} {
		if status, body := s.curl(t, s.HTTP+path); status != "404" || body != "not found\n" {
			t.Errorf("%s: %s %q", path, status, body)
		}
	}
	if _, head := s.curl(t, "-I", s.HTTPS+"/"); !strings.Contains(head, "HTTP/1.1 404") || !strings.Contains(head, "nosniff") || !strings.Contains(head, "no-referrer") {
		t.Errorf("the headers: %s", head)
	}
}
