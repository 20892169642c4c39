package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/config.md")

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nestbox.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// problems loads a file that is wrong and returns what is said of it, without
// the path.
func problems(t *testing.T, text string) string {
	t.Helper()
	path := writeFile(t, text)
	_, err := Load(Input{File: path})
	var p Problems
	if !errors.As(err, &p) {
		t.Errorf("Load of %q: %v, want Problems", text, err)
		return ""
	}
	return strings.ReplaceAll(p.Error(), path+":", "")
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{File: writeFile(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.IMAP, []string{":143"}) || !reflect.DeepEqual(c.IMAPS, []string{":993"}) || c.MaxMessage != 50<<20 ||
		c.MaxConnections != 1000 || c.MaxConnectionsPerAddress != 100 || c.LogLevel != "info" || c.Profile != "auto" || c.Data == "" || c.LogJSON || c.InsecureAuth {
		t.Errorf("defaults: %+v", c)
	}
	for _, k := range Keys() {
		if c.Source(k.Name) != FromDefault {
			t.Errorf("%s comes from %v", k.Name, c.Source(k.Name))
		}
		f := fieldsOf(c)[k.Name]
		if err := f.assign(k.Default); k.Default != "" && err != nil {
			t.Errorf("default of %s: %v", k.Name, err)
		}
		if k.Doc == "" || k.Kind == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s lacks a kind or a sentence of doc", k.Name)
		}
		if _, err := ParseSize(k.Min); k.Min != "" && err != nil {
			t.Error(err)
		}
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := writeFile(t, `
# the machine's
data = "/srv/mail"
imap = []
imaps = [
	"192.0.2.1:993",   # two of them
	"[2001:db8::1]:993",
]
max_message = "20 MB"
max_connections = 50
log_json = true
user = "nestbox"
literal_minus = true

# the household's, fixed here
box_name = "Küche"
host_names = ["Mail.Example.org", "192.0.2.1"]
extensions_off = ["move"]
`)
	c, err := Load(Input{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if c.File != path || c.Data != "/srv/mail" || len(c.IMAP) != 0 || !reflect.DeepEqual(c.IMAPS, []string{"192.0.2.1:993", "[2001:db8::1]:993"}) ||
		c.MaxMessage != 20<<20 || c.MaxConnections != 50 || !c.LogJSON || c.User != "nestbox" || !c.LiteralMinus {
		t.Errorf("got %+v", c)
	}
	if c.Source("imap") != FromFile || c.Source("control") != FromDefault {
		t.Errorf("sources: %v", c.sources)
	}
	want := map[string]string{"box_name": "Küche", "host_names": "mail.example.org 192.0.2.1", "extensions_off": "MOVE"}
	if !reflect.DeepEqual(c.Fixed, want) {
		t.Errorf("Fixed = %v, want %v", c.Fixed, want)
	}
	got := map[string]Setting{}
	for _, s := range c.Settings(map[string]string{"box_name": "Stube", "domain": "example.org"}) {
		got[s.Key.Name] = s
	}
	if s := got["box_name"]; s.Value != "Küche" || !s.Fixed || s.Source != FromFile {
		t.Errorf("box_name: %+v", s)
	}
	if s := got["domain"]; s.Value != "example.org" || s.Fixed || s.Source != FromHousehold {
		t.Errorf("domain: %+v", s)
	}
	if v := c.Setting(map[string]string{"domain": "x.y"}, "domain"); v != "x.y" {
		t.Errorf("Setting = %q", v)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "log_level = \"warn\"\nuser = \"file\"\ndata = \"file\"\nbox_name = \"file\"")
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	AddFlags(fs)
	if err := fs.Parse([]string{"--data=flag", "--imap=127.0.0.1:1", "--imap", ":2", "--insecure-auth", "--max-message=1MB"}); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Input{
		Env: []string{
			"PATH=/bin", "NESTBOX_CONFIG=" + path, "NESTBOX_USER=env", "NESTBOX_DATA=env", "NESTBOX_IMAPS=:3, :4", "NESTBOX_LITERAL_MINUS=yes",
			"NESTBOX_BOX_NAME=env", "NESTBOX_PORT=tcp://10.0.0.1:993", "NESTBOX_SERVICE_HOST=10.0.0.1",
		},
		Flags: FlagValues(fs),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "flag" || c.User != "env" || c.LogLevel != "warn" || !reflect.DeepEqual(c.IMAP, []string{"127.0.0.1:1", ":2"}) ||
		!reflect.DeepEqual(c.IMAPS, []string{":3", ":4"}) || !c.InsecureAuth || !c.LiteralMinus || c.MaxMessage != 1<<20 || c.Fixed["box_name"] != "env" {
		t.Errorf("got %+v", c)
	}
	for key, want := range map[string]Source{"data": FromFlag, "user": FromEnv, "log_level": FromFile, "profile": FromDefault, "box_name": FromEnv} {
		if got := c.Source(key); got != want {
			t.Errorf("%s from %v, want %v", key, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\n\ndta = \"x\"":                         `3: unknown key "dta"; did you mean "data"?`,
		"max_mesage = 5":                          `1: unknown key "max_mesage"; did you mean "max_message"?`,
		"\nmax_conections_per_adress = 5":         `2: unknown key "max_conections_per_adress"; did you mean "max_connections_per_address"?`,
		"LOG_LEVEL = \"info\"":                    `1: unknown key "LOG_LEVEL"; did you mean "log_level"?`,
		"colour = 'green'":                        `1: unknown key "colour"`,
		"[log]\nlevel = 1":                        `1: unknown table [log]; all keys stand at the top level`,
		"data = 5":                                `1: data wants text in "quotes", not 5`,
		"log_level = \"loud\"":                    `1: log_level must be one of debug, info, warn, error, not "loud"`,
		"\nlog_json = \"maybe\"":                  `2: log_json wants true or false, not maybe`,
		"max_connections = 0":                     `1: max_connections must be from 1 to 1000000`,
		"max_connections = true":                  `1: max_connections wants a number, not true`,
		"max_connections = \"many\"":              `1: max_connections wants a whole number, not "many"`,
		"max_message = \"5 parsecs\"":             `1: max_message wants a size such as "50 MB", not "5 parsecs"`,
		"max_message = \"1 GB\"":                  `1: max_message must be from 64 KB to 256 MB`,
		"ban_exempt = \"192.0.2.0/33\"":           `1: ban_exempt wants networks such as 192.0.2.0/24, or addresses, not "192.0.2.0/33"`,
		"ban_exempt = [\"::ffff:192.0.2.0/120\"]": `1: ban_exempt wants ::ffff:192.0.2.0/120 as IPv4`,
		"imap = \"143\"":                          `1: imap wants host:port or :port, not "143"`,
		"imap = [\":imap\"]":                      `1: imap has port "imap" in ":imap"; a port is a number up to 65535`,
		"imap = [\n143,\n]":                       `1: imap wants texts in "quotes", not 143`,
		"imaps = 993":                             `1: imaps wants a list such as ["one", "two"], not 993`,
		"box_name = \"\"":                         `1: box_name wants 1 to 64 characters`,
		"host_names = [\"a b\", \"c_d/e\"]":       `1: host_names has "c_d/e" in it, which is neither a host name nor an address`,
		"extensions_off = [\"MO VE\", \"ID!\"]":   `1: extensions_off has "ID!" in it, which is no extension's name`,
		"domain = \"a@b\"":                        `1: domain is "a@b", which is no domain`,
		"data = \"x\"\ndata = \"y\"":              `2: Key 'data' has already been defined.`,
		"dta = 1\nimapz = 2\ndata = \"x\"\n\nx=1": "1: unknown key \"dta\"; did you mean \"data\"?\n2: unknown key \"imapz\"; did you mean \"imap\"?\n5: unknown key \"x\"",
	} {
		if got := problems(t, text); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
	if got := problems(t, "\n\ndata = \"x"); !strings.HasPrefix(got, "3: ") {
		t.Errorf("bad TOML: %s", got)
	}
	if _, err := Load(Input{File: filepath.Join(t.TempDir(), "none")}); !IsError(err) {
		t.Errorf("a named file that isn't there: %v", err)
	}
	_, err := Load(Input{File: writeFile(t, ""), Env: []string{"NESTBOX_USR=x"}, Flags: map[string][]string{"profile": {"huge"}}})
	want := "NESTBOX_USR: unknown key \"usr\"; did you mean \"user\"?\n--profile: profile must be one of auto, small, normal, not \"huge\""
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestCheckSetting(t *testing.T) {
	t.Parallel()
	for in, want := range map[[2]string]string{
		{"box_name", " Stube "}: "Stube", {"host_names", "A.b,a.B  [x"}: "", {"host_names", "A.b.,a.B fe80::1"}: "a.b fe80::1", {"host_names", ""}: "",
		{"extensions_off", "idle Move IDLE"}: "IDLE MOVE", {"domain", "Müller.DE."}: "müller.de", {"domain", ""}: "", {"domain", "::1"}: "",
	} {
		got, err := CheckSetting(in[0], in[1])
		if got != want || (err != nil) != (strings.ContainsAny(in[1], "[") || in[1] == "::1") {
			t.Errorf("CheckSetting(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for key, want := range map[string]string{"data": "machine's", "box_nam": "box_name", "x\xff": "unknown"} {
		if _, err := CheckSetting(key, "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckSetting(%q): %v, want %q in it", key, err, want)
		}
	}
	if _, err := CheckSetting("box_name", "\xff"); err == nil {
		t.Error("not UTF-8, but taken")
	}
	for _, k := range HouseholdKeys() {
		if got, err := CheckSetting(k.Name, k.Default); err != nil || got != k.Default {
			t.Errorf("default of %s: %q, %v", k.Name, got, err)
		}
		if _, ok := fieldsOf(&Config{})[k.Name]; ok {
			t.Errorf("%s is the machine's and the household's", k.Name)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Size{"0": 0, "5": 5, "5 B": 5, "2k": 2048, "50 MB": 50 << 20, "50MiB": 50 << 20, "1GB": 1 << 30, "100 TB": 100 << 40, "5000000000": 5_000_000_000, "3\tkb": 3072} {
		got, err := ParseSize(in)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", in, got, err)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%d is %q is %d, %v", got, got, again, err)
		}
	}
	for _, in := range []string{"", "MB", "-1", "1.5 MB", "5 BM", "99999999999999999999", "9999999999 GB", "2000 TB"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d", in, got)
		}
	}
}

// docs/config.md is Reference: `go test ./config -update` writes it.
func TestReference(t *testing.T) {
	t.Parallel()
	const path = "../docs/config.md"
	text := Reference()
	for _, k := range append(Keys(), HouseholdKeys()...) {
		if !strings.Contains(text, "### `"+k.Name+"`") {
			t.Errorf("%s is missing", k.Name)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("%s is not what Reference prints (%v); run go test ./config -update", path, err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"", "data = \"x\"", "imap = [\":143\"]\nmax_message = \"5 MB\"", "dta = 1", "[log]\nx=1", "a.b.c = {x=1}", "[[imap]]\nx=1", "data = 1979-05-27", "box_name = \"x\"",
		"host_names = [\"a\", 1]", "\"\" = 1", "max_connections = 1e9", "max_message = inf",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := &Config{Fixed: map[string]string{}, sources: map[string]Source{}}
		l := loader{config: c, fields: fieldsOf(c)}
		l.defaults()
		l.toml("f", text)
		for _, p := range l.problems {
			if p.Where == "" || p.Why == "" {
				t.Errorf("%q: problem %+v", text, p)
			}
		}
		if len(l.problems) == 0 {
			for key, value := range c.Fixed {
				if again, err := CheckSetting(key, value); err != nil || again != value {
					t.Errorf("%s = %q is not canonical: %q, %v", key, value, again, err)
				}
			}
			if c.MaxMessage < 64<<10 || c.MaxConnections < 1 {
				t.Errorf("%q: out of range: %+v", text, c)
			}
		}
	})
}

func TestPaths(t *testing.T) {
	c, err := Load(Input{File: writeFile(t, "certificate_files = [\"/a b.pem\", \"/c.pem\"]\n")})
	if err != nil || !reflect.DeepEqual(c.CertificateFiles, Paths{"/a b.pem", "/c.pem"}) || !reflect.DeepEqual(ReadPaths(c), []string{"/a b.pem", "/c.pem"}) {
		t.Errorf("%q: %v", c.CertificateFiles, err)
	}
	if _, err := Load(Input{File: writeFile(t, "key_files = [\"a.key\"]\n")}); err == nil || !strings.Contains(err.Error(), "absolute paths") {
		t.Error(err)
	}
}
