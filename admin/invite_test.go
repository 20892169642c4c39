package admin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nestbox/storage"
)

const inviteBox = `Ann's <b>"box" & co</b>`

// testInvites is a web server with invitations, and the API that makes them.
type testInvites struct {
	*Web
	api API
	st  *storage.Store
	log bytes.Buffer
}

func newTestInvites(t *testing.T, change func(*Setup)) *testInvites {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open(dir, storage.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := st.CreateAccount("anna", nil); err != nil {
		t.Fatal(err)
	}
	s := testSetup()
	s.Box, s.Root = inviteBox, testRoot(t)
	if change != nil {
		change(s)
	}
	x := &testInvites{st: st}
	x.Web = NewWeb(slog.New(slog.NewTextHandler(&x.log, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
	setup := func() (*Setup, error) { return s, nil }
	Invitations(x.Web, st, setup)
	local := NewLocal(st)
	local.Setup = setup
	x.api = Audited(local)
	return x
}

func testRoot(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: `CA <of> & "nas"`},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// get asks for a path from an address.
func (x *testInvites) get(method, from, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = from + ":1234"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	x.ServeHTTP(rec, r)
	return rec
}

// invite makes an invitation and returns the path of its link.
func (x *testInvites) invite(t *testing.T) string {
	t.Helper()
	i, err := x.api.Invite(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	path, ok := strings.CutPrefix(i.Link, "http://nas.lan/")
	if !ok || !strings.HasPrefix(path, "invite/") || len(path) != len("invite/")+26+1 || i.Uses != 5 || i.Until.Sub(i.Made) != 24*time.Hour || len(i.Fingerprint) < 64 {
		t.Fatalf("%+v", i)
	}
	return "/" + path
}

func TestInviteFilesServed(t *testing.T) {
	t.Parallel()
	x := newTestInvites(t, nil)
	link := x.invite(t)
	for name, kind := range map[string]string{
		"": "text/html; charset=utf-8", "index.html": "text/html; charset=utf-8", "ca.crt": "application/x-x509-ca-cert", "ca.pem": "application/x-pem-file",
		"mail.mobileconfig": "application/x-apple-aspen-config", "config-v1.1.xml": "text/xml; charset=utf-8",
	} {
		rec := x.get(http.MethodGet, "192.0.2.1", link+name)
		if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != kind || rec.Body.Len() == 0 || rec.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%q: %d %v", name, rec.Code, rec.Header())
		}
	}
	page := x.get(http.MethodGet, "192.0.2.1", link).Body.String()
	if strings.Contains(page, "<b>\"box\"") || !strings.Contains(page, "Ann&#39;s &lt;b&gt;&#34;box&#34; &amp; co&lt;/b&gt;") || strings.Contains(page, "<of>") {
		t.Errorf("not escaped:\n%s", page)
	}
	if rec := x.get(http.MethodGet, "192.0.2.1", strings.TrimSuffix(link, "/")); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != link {
		t.Errorf("without a slash: %d %v", rec.Code, rec.Header())
	}
	if rec := x.get(http.MethodGet, "192.0.2.1", strings.ToUpper(link)); rec.Code != http.StatusOK {
		t.Errorf("in capitals: %d", rec.Code)
	}
	if rec := x.get(http.MethodPost, "192.0.2.1", link); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", rec.Code)
	}
}

// TestInviteUsesUp: devices count when they fetch a file, once; looking,
// HEAD and what comes ahead of people don't; and no answer differs between
// tokens that are unknown, used up or revoked.
func TestInviteUsesUp(t *testing.T) {
	t.Parallel()
	x := newTestInvites(t, nil)
	link := x.invite(t)
	usedNow := func() int {
		all, err := x.api.Invites(t.Context(), "anna")
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0].Used
	}
	for range 10 {
		x.get(http.MethodGet, "192.0.2.9", link)
		x.get(http.MethodHead, "192.0.2.9", link+"ca.crt")
		x.get(http.MethodGet, "192.0.2.9", link+"no-such")
		if rec := x.get(http.MethodGet, "192.0.2.9", link+"ca.crt", "Sec-Purpose", "prefetch;prerender"); rec.Code != http.StatusServiceUnavailable {
			t.Fatalf("ahead of time: %d", rec.Code)
		}
		x.get(http.MethodGet, "192.0.2.9", link+"ca.crt", "User-Agent", "TelegramBot (like TwitterBot)")
	}
	if n := usedNow(); n != 0 {
		t.Errorf("used %d times by nobody", n)
	}
	for n, from := range []string{"192.0.2.1", "192.0.2.2", "[2001:db8::1]", "[2001:db8::2]"} {
		for _, name := range []string{"ca.crt", "mail.mobileconfig", "ca.crt"} {
			if rec := x.get(http.MethodGet, from, link+name); rec.Code != http.StatusOK {
				t.Fatalf("%s: %d", from, rec.Code)
			}
		}
		if got := usedNow(); got != n+1 {
			t.Errorf("used %d times by %d devices", got, n+1)
		}
	}
	x.get(http.MethodGet, "192.0.2.5", link+"ca.pem")
	unknown := x.get(http.MethodGet, "192.0.2.6", "/invite/"+strings.Repeat("a", 26)+"/")
	same := func(why string, rec *httptest.ResponseRecorder) {
		t.Helper()
		a, _ := json.Marshal(rec.Header())
		b, _ := json.Marshal(unknown.Header())
		if rec.Code != http.StatusNotFound || rec.Body.String() != unknown.Body.String() || string(a) != string(b) {
			t.Errorf("%s: %d %s %s", why, rec.Code, rec.Body, a)
		}
	}
	same("used up", x.get(http.MethodGet, "192.0.2.6", link))
	same("used up", x.get(http.MethodGet, "192.0.2.6", link+"ca.crt"))
	same("no path", x.get(http.MethodGet, "192.0.2.6", "/other"))
	for _, bad := range []string{"/invite/", "/invite/x/", "/invite/" + strings.Repeat("a", 2000) + "/", "/invite/%00/", "/invite//" + link[8:], link + "../ca.crt"} {
		same(bad, x.get(http.MethodGet, "192.0.2.6", bad))
	}
	if rec := x.get(http.MethodGet, "192.0.2.1", link+"ca.pem"); rec.Code != http.StatusOK {
		t.Errorf("a device that was counted: %d", rec.Code)
	}
	if n, err := x.api.RevokeInvites(t.Context(), "anna"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	same("revoked", x.get(http.MethodGet, "192.0.2.1", link+"ca.pem"))
	if token := strings.Split(link, "/")[2]; strings.Contains(x.log.String(), token) || strings.Count(x.log.String(), "invite_used") != 5 {
		t.Errorf("the log:\n%s", &x.log)
	}
}

func TestInviteWithout(t *testing.T) {
	t.Parallel()
	x := newTestInvites(t, func(s *Setup) { s.HTTP, s.HTTPS, s.Root, s.Send = 0, 0, nil, nil })
	if _, err := x.api.Invite(t.Context(), "anna"); !errors.Is(err, ErrNoWeb) {
		t.Errorf("without a web server: %v", err)
	}
	if _, err := x.api.Invite(t.Context(), "nobody"); !errors.Is(err, storage.ErrNoAccount) {
		t.Error(err)
	}
	if _, err := x.st.CreateSharedAccount("team"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.api.InviteFiles(t.Context(), "team"); err == nil {
		t.Error("files for an account that nobody logs in to")
	}
	files, err := x.api.InviteFiles(t.Context(), "anna")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if strings.Contains(string(f.Data), "com.apple.security.root") || strings.Contains(string(f.Data), "ca.crt\"") {
			t.Errorf("%s has a CA:\n%s", f.Name, f.Data)
		}
	}
	https := newTestInvites(t, func(s *Setup) { s.HTTP, s.Web = 0, "2001:db8::1" })
	if i, err := https.api.Invite(t.Context(), "anna"); err != nil || !strings.HasPrefix(i.Link, "https://[2001:db8::1]:8443/invite/") {
		t.Errorf("%+v, %v", i, err)
	}
}

// TestProfile: Python's parser of property lists reads the profile, with any
// name, and finds what Apple requires (mdm/profiles of github.com/apple/device-management).
func TestProfile(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	root := testRoot(t)
	for name, address := range map[string]string{"anna": "anna@example.org", "<&\"'>\x01\u2028ü": ""} {
		s := testSetup()
		s.Box, s.Root = inviteBox, root
		v := invited{s, storage.AccountInfo{ID: "7v5tndnhuq4q6wby", Name: name}, address, nil}
		cmd := exec.Command(python, "-c", "import sys,plistlib,json,base64\njson.dump(plistlib.loads(sys.stdin.buffer.read(),fmt=plistlib.FMT_XML),sys.stdout,default=lambda b:base64.b64encode(b).decode())")
		cmd.Stdin = strings.NewReader(v.profile())
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, v.profile())
		}
		var p struct {
			PayloadType, PayloadUUID, PayloadIdentifier, PayloadDisplayName string
			PayloadVersion                                                  int
			PayloadContent                                                  []map[string]any
		}
		if err := json.Unmarshal(out, &p); err != nil || p.PayloadType != "Configuration" || p.PayloadVersion != 1 || len(p.PayloadContent) != 2 || len(p.PayloadUUID) != 36 {
			t.Fatalf("%v\n%s", err, out)
		}
		ca, mail := p.PayloadContent[0], p.PayloadContent[1]
		wantName := strings.ReplaceAll(name, "\x01", "\uFFFD")
		for key, want := range map[string]any{
			"PayloadType": "com.apple.mail.managed", "EmailAccountType": "EmailTypeIMAP", "IncomingMailServerAuthentication": "EmailAuthPassword",
			"IncomingMailServerHostName": "nas.lan", "IncomingMailServerPortNumber": 993.0, "IncomingMailServerUseSSL": true, "IncomingMailServerUsername": wantName,
			"OutgoingMailServerHostName": "smtp.example.org", "OutgoingMailServerPortNumber": 587.0, "OutgoingMailServerUseSSL": true, "PayloadVersion": 1.0, "EmailAccountName": wantName,
		} {
			if mail[key] != want {
				t.Errorf("%s: %s is %v, want %v", name, key, mail[key], want)
			}
		}
		if got, _ := mail["EmailAddress"].(string); got != address {
			t.Errorf("the address: %q", got)
		}
		if der, err := json.Marshal(root.Raw); err != nil || ca["PayloadType"] != "com.apple.security.root" || `"`+ca["PayloadContent"].(string)+`"` != string(der) {
			t.Errorf("the CA: %v", ca)
		}
		uuids := map[any]bool{p.PayloadUUID: true, ca["PayloadUUID"]: true, mail["PayloadUUID"]: true}
		if len(uuids) != 3 || strings.Contains(v.profile(), "<key>IncomingPassword<") {
			t.Errorf("%v\n%s", uuids, v.profile())
		}
		if first, again := v.profile(), v.profile(); first != again {
			t.Error("another profile the second time")
		}
	}
}

// FuzzEscaped: any text comes back out of XML, but for what XML can't hold.
func FuzzEscaped(f *testing.F) {
	f.Add(inviteBox)
	f.Add("\x00\t\r\n]]>&#0;\xff\ufffe")
	f.Fuzz(func(t *testing.T, text string) {
		var b strings.Builder
		b.WriteString(`<x a="` + escaped(text) + `">`)
		element(&b, "y", text)
		b.WriteString("</x>")
		var x struct {
			A string `xml:"a,attr"`
			Y string `xml:"y"`
		}
		if err := xml.NewDecoder(strings.NewReader(b.String())).Decode(&x); err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%v: %q", err, b.String())
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' {
				return '\uFFFD'
			}
			return xmlRune(r)
		}, text)
		if x.A != want || x.Y != want {
			t.Errorf("%q, %q, want %q", x.A, x.Y, want)
		}
	})
}

// TestInviteRemote: the calls go over the control socket.
func TestInviteRemote(t *testing.T) {
	t.Parallel()
	x := newTestInvites(t, nil)
	var log bytes.Buffer
	server := NewServer(x.api, Status{}, slog.New(slog.NewTextHandler(&log, nil)))
	web := httptest.NewServer(server.routes())
	defer web.Close()
	r := &Remote{client: web.Client()}
	r.client.Transport = rewrite(web.URL)
	i, err := r.Invite(context.Background(), "anna")
	if err != nil || i.Link == "" {
		t.Fatal(i, err)
	}
	if strings.Contains(log.String(), strings.Split(i.Link, "/")[4]) || !strings.Contains(log.String(), "invite_made") {
		t.Errorf("the log: %s", &log)
	}
	if all, err := r.Invites(context.Background(), ""); err != nil || len(all) != 1 || all[0].Account != "anna" {
		t.Errorf("%+v, %v", all, err)
	}
	if files, err := r.InviteFiles(context.Background(), "anna"); err != nil || len(files) != 5 {
		t.Errorf("%d files, %v", len(files), err)
	}
	if n, err := r.RevokeInvites(context.Background(), "anna"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// rewrite sends requests to a server of the test.
type rewrite string

func (to rewrite) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = strings.TrimPrefix(string(to), "http://")
	return http.DefaultTransport.RoundTrip(r)
}
