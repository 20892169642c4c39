package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// readQR has zbarimg read the code of a terminal's text: each character is two
// pixels, one above the other.
func readQR(t *testing.T, text string) string {
	t.Helper()
	need(t, "zbarimg")
	const scale = 4
	var rows [][]byte
	for line := range strings.Lines(text) {
		if !strings.ContainsAny(line, "█▀▄") {
			break
		}
		var upper, lower []byte
		for _, r := range strings.TrimRight(line, "\n") {
			a, b := byte(0), byte(0)
			switch r {
			case '█':
				a, b = 255, 255
			case '▀':
				a = 255
			case '▄':
				b = 255
			case ' ':
			default:
				t.Fatalf("%q in the code", r)
			}
			upper = append(upper, bytes.Repeat([]byte{a}, scale)...)
			lower = append(lower, bytes.Repeat([]byte{b}, scale)...)
		}
		for _, row := range [][]byte{upper, lower} {
			for range scale {
				rows = append(rows, row)
			}
		}
	}
	if len(rows) == 0 {
		t.Fatalf("no code in\n%s", text)
	}
	image := fmt.Appendf(nil, "P5\n%d %d\n255\n", len(rows[0]), len(rows))
	path := filepath.Join(t.TempDir(), "code.pgm")
	if err := os.WriteFile(path, append(image, bytes.Join(rows, nil)...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("zbarimg", "-q", "--raw", path).Output()
	if err != nil {
		t.Fatalf("zbarimg: %v\n%s", err, text)
	}
	return strings.TrimSpace(string(out))
}

// plist has Python read a property list, and returns it as JSON has it.
func plist(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	need(t, "python3")
	cmd := exec.Command("python3", "-c", "import sys,plistlib,json,base64\njson.dump(plistlib.loads(sys.stdin.buffer.read()),sys.stdout,default=lambda b:base64.b64encode(b).decode())")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestInvite: the code in the terminal leads to a page and files that set a
// device up; its uses are counted across a restart, and nobody logs its token.
func TestInvite(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "anna", "--password-stdin")
	command(t, n, "", "set", "box_name", `<b>&"nas"</b>`)
	s := startWeb(t, n)
	out := command(t, n, "", "account", "invite", "anna")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	link := lines[len(lines)-1]
	if got := readQR(t, out); got != link || !strings.HasPrefix(link, s.HTTP+"/invite/") {
		t.Fatalf("the code says %q, the link is %q", got, link)
	}
	status, page := s.curl(t, link)
	if status != "200" || strings.Contains(page, "<b>&") || !strings.Contains(page, "&lt;b&gt;&amp;&#34;nas&#34;") || strings.Contains(page, "secret-enough") {
		t.Errorf("the page: %s\n%s", status, page)
	}
	der := filepath.Join(t.TempDir(), "ca.der")
	if status, _ := s.curl(t, "-o", der, link+"ca.crt"); status != "200" {
		t.Errorf("ca.crt: %s", status)
	}
	raw, err := os.ReadFile(der)
	if err != nil {
		t.Fatal(err)
	}
	if kind := http.DetectContentType(raw); kind != "application/octet-stream" || !strings.Contains(page, colons(sha256.Sum256(raw))) {
		t.Errorf("the page lacks the fingerprint of its CA, %s", colons(sha256.Sum256(raw)))
	}
	if _, ca := s.curl(t, link+"ca.pem"); ca != command(t, n, "", "cert", "ca") {
		t.Errorf("ca.pem: %q", ca)
	}
	_, profile := s.curl(t, link+"mail.mobileconfig")
	payloads := plist(t, profile)["PayloadContent"].([]any)
	root, mail := payloads[0].(map[string]any), payloads[1].(map[string]any)
	if root["PayloadType"] != "com.apple.security.root" || mail["PayloadType"] != "com.apple.mail.managed" || mail["IncomingMailServerHostName"] != "127.0.0.1" ||
		fmt.Sprint(mail["IncomingMailServerPortNumber"]) != s.TLSAddr[strings.LastIndexByte(s.TLSAddr, ':')+1:] || mail["IncomingMailServerUsername"] != "anna" || mail["EmailAccountDescription"] != `<b>&"nas"</b>` {
		t.Errorf("%v\n%v", root, mail)
	}
	if _, err := exec.LookPath("plistutil"); err == nil {
		cmd := exec.Command("plistutil", "-i", "-")
		cmd.Stdin = strings.NewReader(profile)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
			t.Errorf("plistutil: %v\n%s", err, out)
		}
	}
	_, head := s.curl(t, "-I", link+"mail.mobileconfig")
	if !strings.Contains(head, "application/x-apple-aspen-config") {
		t.Errorf("%s", head)
	}
	token := strings.Split(link, "/")[4]
	if strings.Contains(s.Log(), token) || !regexp.MustCompile(`event=invite_used .*used=1 uses=5`).MatchString(s.Log()) {
		t.Errorf("the log:\n%s", s.Log())
	}
	inviteRestarts(t, s, link)
}

// colons is a fingerprint as people compare it.
func colons(sum [sha256.Size]byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// inviteRestarts uses an invitation up, from addresses of this machine.
func inviteRestarts(t *testing.T, s webServer, link string) {
	t.Helper()
	n := s.Nestbox
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	again := startWeb(t, n)
	link = again.HTTP + link[strings.Index(link, "/invite/"):]
	var list []struct {
		Account    string
		Uses, Used int
	}
	if err := json.Unmarshal([]byte(command(t, n, "", "account", "invite", "--list", "--json")), &list); err != nil || len(list) != 1 || list[0].Used != 1 || list[0].Account != "anna" {
		t.Errorf("after a restart: %+v, %v", list, err)
	}
	_, unknown := again.curl(t, again.HTTP+"/invite/"+strings.Repeat("a", 26)+"/")
	if status, _ := again.curl(t, link+"ca.crt"); status != "200" {
		t.Errorf("a device that was counted: %s", status)
	}
	if runtime.GOOS == "linux" { // others have 127.0.0.1 alone
		for i := 2; i <= 7; i++ { // the first is 127.0.0.1
			want := "200"
			if i > 5 {
				want = "404"
			}
			status, body := again.curl(t, "--interface", fmt.Sprintf("127.0.7.%d", i), link+"mail.mobileconfig")
			if status != want || want == "404" && body != unknown {
				t.Errorf("device %d: %s", i, status)
			}
		}
	}
	command(t, n, "", "account", "invite", "anna", "--revoke")
	if status, body := again.curl(t, link+"ca.crt"); status != "404" || body != unknown {
		t.Errorf("revoked: %s %q, unknown %q", status, body, unknown)
	}
}

// TestInviteOut: without a server, and without HTTP, the files come into a folder.
func TestInviteOut(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "anna", "--password-stdin")
	dir := filepath.Join(t.TempDir(), "anna")
	out := command(t, n, "", "account", "invite", "anna", "--out", dir)
	for _, name := range []string{"index.html", "mail.mobileconfig", "ca.crt", "ca.pem", "config-v1.1.xml"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 || !strings.Contains(out, filepath.Join(dir, name)) {
			t.Errorf("%s: %v, %v\n%s", name, info, err, out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "config-v1.1.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := xpath(t, string(text), `string(//incomingServer[1]/port)`); got != "993" {
		t.Errorf("the port: %s", got)
	}
	if ca, err := os.ReadFile(filepath.Join(dir, "ca.pem")); err != nil || string(ca) != command(t, n, "", "cert", "ca") {
		t.Errorf("the CA: %v\n%s", err, ca)
	}
	if _, err := n.Run(t.Context(), "", "account", "invite", "anna"); err == nil || !strings.Contains(err.Error(), "--out") {
		t.Errorf("without HTTP: %v", err)
	}
}
