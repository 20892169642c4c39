package admin

import (
	"encoding/xml"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func testSetup() *Setup {
	return &Setup{
		Box: `Ann & Bob's <box> "1"`, Host: "nas.lan", Web: "nas.lan", Domains: []string{"example.org"}, HTTP: 80, HTTPS: 8443,
		Mail: []Service{{Protocol: "imap", Host: "nas.lan", Port: 143}, {Protocol: "imap", Host: "nas.lan", Port: 993, TLS: true}},
		Send: &Service{Protocol: "smtp", Host: "smtp.example.org", Port: 587},
	}
}

type clientConfig struct {
	Version  string `xml:"version,attr"`
	Provider struct {
		ID       string     `xml:"id,attr"`
		Domain   []string   `xml:"domain"`
		Name     string     `xml:"displayName"`
		Incoming []tbServer `xml:"incomingServer"`
		Outgoing []tbServer `xml:"outgoingServer"`
	} `xml:"emailProvider"`
}

type tbServer struct {
	Type           string `xml:"type,attr"`
	Hostname       string `xml:"hostname"`
	Port           int    `xml:"port"`
	SocketType     string `xml:"socketType"`
	Username       string `xml:"username"`
	Authentication string `xml:"authentication"`
}

// ask sends a request to a web server with the answers to mail programs.
func ask(t *testing.T, s *Setup, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := NewWeb(slog.New(slog.DiscardHandler), nil)
	Autoconfig(w, func() (*Setup, error) {
		if s == nil {
			return nil, errors.New("broken")
		}
		return s, nil
	})
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequest(method, target, strings.NewReader(body)))
	return rec
}

func TestThunderbird(t *testing.T) {
	t.Parallel()
	for _, path := range []string{autoconfigPath, autoconfigWellKnownPath} {
		for query, want := range map[string]struct{ domain, user string }{
			"?emailaddress=anna@example.org":            {"example.org", "%EMAILADDRESS%"},
			"?emailaddress=no-such@example.org":         {"example.org", "%EMAILADDRESS%"},
			"?emailaddress=anna@Other.Example.":         {"other.example", "%EMAILLOCALPART%"},
			"?emailaddress=anna@nas.lan":                {"nas.lan", "%EMAILLOCALPART%"},
			"":                                          {"example.org", "%EMAILADDRESS%"},
			"?emailaddress=%22%3C%26@%3Cx%3E":           {"example.org", "%EMAILADDRESS%"},
			"?emailaddress=a@b%0d%0aX:":                 {"example.org", "%EMAILADDRESS%"},
			"?emailaddress=anna@%c3%bc.example":         {"ü.example", "%EMAILLOCALPART%"},
			"?emailaddress=" + strings.Repeat("a", 600): {"example.org", "%EMAILADDRESS%"},
		} {
			rec := ask(t, testSetup(), http.MethodGet, path+query, "")
			var c clientConfig
			if err := xml.Unmarshal(rec.Body.Bytes(), &c); err != nil || rec.Code != http.StatusOK || c.Version != "1.1" {
				t.Fatalf("%s%s: %d, %v\n%s", path, query, rec.Code, err, rec.Body)
			}
			p := c.Provider
			if p.ID != want.domain || len(p.Domain) != 1 || p.Domain[0] != want.domain || p.Name != testSetup().Box || len(p.Incoming) != 2 || len(p.Outgoing) != 1 {
				t.Fatalf("%s: %+v", query, p)
			}
			if p.Incoming[0] != (tbServer{"imap", "nas.lan", 993, "SSL", want.user, "password-cleartext"}) ||
				p.Incoming[1] != (tbServer{"imap", "nas.lan", 143, "STARTTLS", want.user, "password-cleartext"}) ||
				p.Outgoing[0] != (tbServer{"smtp", "smtp.example.org", 587, "STARTTLS", "%EMAILADDRESS%", "password-cleartext"}) {
				t.Errorf("%s: %+v", query, p)
			}
		}
	}
}

// TestSetupHidesAccounts: nothing but the domain of the address changes the answer.
func TestSetupHidesAccounts(t *testing.T) {
	t.Parallel()
	a := ask(t, testSetup(), http.MethodGet, autoconfigPath+"?emailaddress=anna@example.org", "").Body.String()
	b := ask(t, testSetup(), http.MethodGet, autoconfigPath+"?emailaddress=nobody@example.org", "").Body.String()
	if a != b {
		t.Errorf("%s\n%s", a, b)
	}
	c := ask(t, testSetup(), http.MethodPost, autodiscoverPath, "<EMailAddress>anna@example.org</EMailAddress>").Body.String()
	d := ask(t, testSetup(), http.MethodPost, autodiscoverPath, "<EMailAddress>nobody@example.org</EMailAddress>").Body.String()
	if strings.ReplaceAll(c, "anna@", "nobody@") != d || c == d {
		t.Errorf("%s\n%s", c, d)
	}
}

type autodiscover struct {
	XMLName  xml.Name `xml:"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006 Autodiscover"`
	Response struct {
		XMLName xml.Name
		Error   *struct{ ErrorCode int }
		Account struct {
			AccountType, Action string
			Protocol            []struct {
				Type, Server, LoginName, SSL, Encryption, AuthRequired, SPA, DomainRequired string
				Port                                                                        int
			}
		}
	}
}

func TestOutlook(t *testing.T) {
	t.Parallel()
	request := func(address string) string {
		return `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>` +
			address + `</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>`
	}
	for address, want := range map[string]struct{ login, send string }{
		"anna@example.org":             {"anna@example.org", "anna@example.org"},
		"anna@other.example":           {"anna", "anna@other.example"},
		"&lt;&amp;&quot;&#39;@nas.lan": {`<&"'`, `<&"'@nas.lan`},
		" anna@example.org\r\n":        {"anna@example.org", "anna@example.org"},
	} {
		for _, path := range []string{"/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml", "/AUTODISCOVER/AUTODISCOVER.XML"} {
			rec := ask(t, testSetup(), http.MethodPost, path, request(address))
			var a autodiscover
			if err := xml.Unmarshal(rec.Body.Bytes(), &a); err != nil || rec.Code != http.StatusOK || a.Response.Error != nil || len(a.Response.Account.Protocol) != 2 ||
				a.Response.XMLName.Space != "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a" {
				t.Fatalf("%s %s: %d %v\n%s", path, address, rec.Code, err, rec.Body)
			}
			in, out := a.Response.Account.Protocol[0], a.Response.Account.Protocol[1]
			if in.Type != "IMAP" || in.Server != "nas.lan" || in.Port != 993 || in.LoginName != want.login || in.SSL != "on" || in.Encryption != "SSL" || in.SPA != "off" || in.AuthRequired != "on" ||
				out.Type != "SMTP" || out.Server != "smtp.example.org" || out.Port != 587 || out.LoginName != want.send || out.SSL != "off" || out.Encryption != "TLS" {
				t.Errorf("%s: %+v", address, a.Response.Account)
			}
		}
	}
	for _, bad := range []string{"", "<a/>", request(""), request("anna"), request("a@b c"), "</EMailAddress>", request("&evil;@example.org"), request("a<!-- -->@example.org"), request("<EMailAddress>")} {
		rec := ask(t, testSetup(), http.MethodPost, autodiscoverPath, bad)
		var a autodiscover
		if err := xml.Unmarshal(rec.Body.Bytes(), &a); err != nil || a.Response.Error == nil || a.Response.Error.ErrorCode != 600 {
			t.Errorf("%q: %d %v\n%s", bad, rec.Code, err, rec.Body)
		}
	}
}

func TestOutlookJSON(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/autodiscover/autodiscover.json?Email=anna@example.org&Protocol=AutodiscoverV1": `{"Protocol":"AutodiscoverV1","Url":"https://nas.lan:8443/autodiscover/autodiscover.xml"}`,
		"/autodiscover/autodiscover.json/v1.0/anna@example.org?Protocol=Autodiscoverv1":  `{"Protocol":"AutodiscoverV1","Url":"https://nas.lan:8443/autodiscover/autodiscover.xml"}`,
		"/autodiscover/autodiscover.json/v1.0/anna@example.org?Protocol=ActiveSync":      `{"ErrorCode":"InvalidProtocol","ErrorMessage":"The given protocol is not served. Supported: AutodiscoverV1"}`,
	} {
		rec := ask(t, testSetup(), http.MethodGet, target, "")
		if got := strings.TrimSpace(rec.Body.String()); got != want || (rec.Code == http.StatusOK) != strings.Contains(want, "Url") {
			t.Errorf("%s: %d %s", target, rec.Code, got)
		}
	}
}

func TestSetupRefuses(t *testing.T) {
	t.Parallel()
	none := testSetup()
	none.Mail = nil
	for _, c := range []struct {
		setup          *Setup
		method, target string
		want           int
	}{
		{testSetup(), http.MethodPost, autoconfigPath, http.StatusMethodNotAllowed},
		{testSetup(), http.MethodGet, autodiscoverPath, http.StatusMethodNotAllowed},
		{testSetup(), http.MethodDelete, autodiscoverJSONPath, http.StatusMethodNotAllowed},
		{none, http.MethodGet, autoconfigPath, http.StatusNotFound},
		{none, http.MethodPost, autodiscoverPath, http.StatusNotFound},
		{nil, http.MethodGet, autoconfigPath, http.StatusServiceUnavailable},
		{testSetup(), http.MethodHead, autoconfigPath, http.StatusOK},
	} {
		if rec := ask(t, c.setup, c.method, c.target, ""); rec.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.target, rec.Code, c.want)
		}
	}
	if rec := ask(t, testSetup(), http.MethodPost, autodiscoverPath, strings.Repeat("x", webMaxBody+1)); rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a long request: %d", rec.Code)
	}
}

// FuzzAutodiscover: any request gets XML that can be parsed, in which the
// login is the address that was found.
func FuzzAutodiscover(f *testing.F) {
	f.Add("<EMailAddress>anna@example.org</EMailAddress>")
	f.Add("<a:EMailAddress>&lt;&amp;&#x41;@example.org</a:EMailAddress>")
	f.Add("<EMailAddress>\xff@example.org<")
	f.Fuzz(func(t *testing.T, request string) {
		address := emailAddress(request)
		if address == "" {
			return
		}
		if len(address) > maxAddress || addressDomain(address) == "" {
			t.Fatalf("%q", address)
		}
		var a autodiscover
		s := testSetup()
		s.Domains = nil
		if err := xml.Unmarshal([]byte(outlook(s, address)), &a); err != nil {
			t.Fatal(err)
		}
		if got := a.Response.Account.Protocol[0].LoginName; got != strings.Map(xmlRune, address) {
			t.Errorf("%q, want %q", got, address)
		}
	})
}

func xmlRune(r rune) rune {
	if r == 0xFFFE || r == 0xFFFF {
		return '\uFFFD'
	}
	return r
}
