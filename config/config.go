// Package config reads the machine's settings: a TOML file, the environment
// and flags. What the household sets is in system.db; the file may fix it
// (household.go). The server never writes the file.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// DefaultFile is read when it is there and no other file is named.
const DefaultFile = "/etc/nestbox/nestbox.toml"

// EnvPrefix starts the names of environment variables: max_message is
// NESTBOX_MAX_MESSAGE.
const EnvPrefix = "NESTBOX_"

// fileEnv names another file than DefaultFile.
const fileEnv = EnvPrefix + "CONFIG"

// Config has a field for each of the machine's keys. The tag key is its name
// in the file; def its default; one, min and max what is allowed; doc what
// docs/config.md says of it. The tag path marks files and folders that the
// server opens for reading, hook programs that it runs: under Landlock it can
// reach no others (cli/process_restrict.go, cli/process_hooks.go).
type Config struct {
	Data string `key:"data" doc:"Folder of all data: accounts, mail, system.db. Default: /var/lib/nestbox for root, else nestbox-data in the current folder."`

	IMAP     []string `key:"imap" def:":143" doc:"Addresses for IMAP, host:port each. TLS begins with STARTTLS. An empty list: none. If binding 143 isn't allowed and nothing is set here, 1143."`
	IMAPS    []string `key:"imaps" def:":993" doc:"Addresses for IMAP with TLS from the first byte, host:port each. An empty list: none. If binding 993 isn't allowed and nothing is set here, 1993."`
	HTTP     []string `key:"http" doc:"Addresses for HTTP, host:port each, usually :80: settings for mail programs that look for them, and invitations (nestbox account invite). Default: none."`
	HTTPS    []string `key:"https" doc:"Addresses for the same with TLS, host:port each, usually :443. Default: none."`
	Control  string   `key:"control" doc:"Socket for nestbox's own commands. Default: control.sock in $RUNTIME_DIRECTORY (systemd sets it), else in the data folder."`
	User     string   `key:"user" doc:"User to become when started as root, after the ports are bound: a name or a number. The data folder must belong to that user. What needs root waits for a restart then, such as a port below 1024. Default: none."`
	Group    string   `key:"group" doc:"Group to become with user; all others are given up. Default: the user's own."`
	Landlock string   `key:"landlock" def:"auto" one:"auto off" doc:"Where the kernel has Landlock (Linux 5.19 and later), the server opens no files but its data, its sockets, the files that the configuration names and what the system's libraries read. A data folder whose disk is mounted directly below / and comes back after it was pulled out needs a restart then. off: it may open what its user may."`
	Profile  string   `key:"profile" def:"auto" one:"auto small normal" doc:"How much memory to use for speed: small for routers, normal for the rest, auto decides by the machine's memory."`

	MinVersion       string `key:"min_version" def:"1.2" one:"1.2 1.3" doc:"The oldest version of TLS that is spoken. With 1.3 some mail programs from before 2020 can't connect."`
	CertificateFiles Paths  `key:"certificate_files" path:"read" doc:"Files with certificates that something else gets and renews, in PEM, each with the chain of its issuers. They come before ACME and the local CA, for the names that they have, and are read again when they change."`
	KeyFiles         Paths  `key:"key_files" path:"read" doc:"Files with the keys of certificate_files, in PEM and without passphrase, in any order. A key may also stand in its certificate's file."`
	CAUnlimited      bool   `key:"ca_unlimited" def:"false" doc:"Make local CAs whose certificates may hold for any name. By default they hold only for names and addresses of homes and for the box's own, so that who steals the CA's key can't pose as anybody else. It counts when a CA is made: at the first start, and for nestbox cert ca --renew."`

	ACME          string   `key:"acme" doc:"Where certificates for host_names come from by ACME: letsencrypt, letsencrypt-staging, or the address of the directory of another CA. Who sets it agrees to the CA's terms. Public CAs are asked only for names that the internet knows; for all others, and as long as the CA gives none, the box's own CA is there. Default: none."`
	ACMERoot      string   `key:"acme_root" path:"read" doc:"File of roots (PEM, absolute path) by which the CA's own address is verified: for your own CA such as step-ca. It is then asked for all host_names. Default: those of the system."`
	ACMEEmail     string   `key:"acme_email" doc:"Where the CA can write to about the account. Default: none."`
	ACMEEABKid    string   `key:"acme_eab_kid" doc:"Key identifier of an external account, which some CAs want (RFC 8555 section 7.3.4). Default: none."`
	ACMEEABFile   string   `key:"acme_eab_file" path:"read" doc:"File (absolute path) with the key of that external account, in base64url as the CA shows it."`
	ACMEChallenge string   `key:"acme_challenge" def:"auto" one:"auto http-01 tls-alpn-01 dns-01" doc:"How the CA sees that a name is this box's. It always comes to port 80 (http-01: http) or 443 (tls-alpn-01: acme_tls, https or imaps) of the name; a router may forward that to another port of the box. dns-01 needs no way in from the internet: a record in the DNS is set (acme_dns). auto: dns-01 if acme_dns is set, else what there are listeners for."`
	ACMEDNS       string   `key:"acme_dns" def:"none" one:"none rfc2136 cloudflare desec duckdns hetzner acme-dns exec" doc:"Who sets the record for dns-01: rfc2136, a DNS server that takes dynamic updates (BIND, Knot, PowerDNS); a provider, by its API; or exec, a program of yours."`
	ACMEDNSFile   string   `key:"acme_dns_file" path:"read" doc:"File (absolute path) with lines key = value for acme_dns. rfc2136: server (host:port), key and secret (TSIG, base64), algorithm (default hmac-sha256), zone (default: the server is asked). cloudflare, desec, duckdns, hetzner: token. acme-dns: username, password, subdomain, fulldomain, server (its address, default https://auth.acme-dns.io). For all: resolvers, addresses of DNS servers to ask whether the record is there (default: the zone's own), wait, for how long at most (default 2m; 0: don't look). Let nobody else read it."`
	ACMEDNSHook   string   `key:"acme_dns_hook" hook:"run" doc:"Program (absolute path) of acme_dns exec. It is run with present or cleanup, the record's name and its value, and has two minutes to set or remove that TXT record; code 0 means done."`
	ACMETLS       []string `key:"acme_tls" doc:"Addresses, host:port each, that are only for tls-alpn-01. The CA is answered on the addresses of https and imaps too. Default: none."`

	LogJSON  bool   `key:"log_json" def:"false" doc:"Log lines as JSON objects."`
	LogLevel string `key:"log_level" def:"info" one:"debug info warn error" doc:"The least level that is logged."`

	MaxMessage               Size `key:"max_message" def:"50 MB" min:"64 KB" max:"256 MB" doc:"Largest message that is taken. On 32-bit machines the storage has a lower limit of its own."`
	MessageLimit             int  `key:"message_limit" def:"0" min:"0" max:"1000000" doc:"How many messages one command deals with at most, announced as MESSAGELIMIT (RFC 9738, which wants 1000 at least). Programs that don't know of it see only so many of a large mailbox. 0: no limit."`
	MinFree                  Room `key:"min_free" def:"5%" doc:"How much of the data folder's file system stays free: a size, or percents of the file system's size, of which 2 GB are the most. Below it new mail, copies and new mailboxes are refused, while deleting, moving and flags go on; before that, expunged messages that are only kept go, oldest first. 0: until the disk is full."`
	MaxConnections           int  `key:"max_connections" def:"1000" min:"1" max:"1000000" doc:"Connections at a time, all together."`
	MaxConnectionsPerAddress int  `key:"max_connections_per_address" def:"100" min:"1" max:"1000000" doc:"Connections at a time from one address (for IPv6, one /64). The machine itself has no such limit."`

	BanAfter  int      `key:"ban_after" def:"20" min:"0" max:"10000" doc:"How many failed logins within an hour ban an address (for IPv6, its /64), for 15 minutes at first and up to a day. The same wrong password again doesn't count, and an address from which somebody has logged in within a week is only slowed down. 0: nobody is banned."`
	BanExempt Networks `key:"ban_exempt" doc:"Networks that are never banned, such as 192.168.0.0/16. If nothing is set, the machine itself."`

	ProxyFrom     Networks `key:"proxy_from" doc:"Networks of proxies that say for whom they connect, by the PROXY protocol, version 1 or 2 (HAProxy's send-proxy, nginx's proxy_protocol). Each of their connections must begin with its header. The client's address is then what bans, limits, logs and audit see. Who connects from another network can't say so."`
	IDFrom        Networks `key:"id_from" doc:"Networks of webmail and proxies that say for whom they log in, by the fields x-originating-ip and x-originating-port of IMAP's ID, before login. That address is then what bans, limits, logs and audit see."`
	PlaintextFrom Networks `key:"plaintext_from" doc:"Networks from which passwords are taken without TLS, beside the machine itself. Whoever can listen in there reads them."`

	OAuthIssuer           string `key:"oauth_issuer" doc:"OpenID provider whose access tokens log in (OAUTHBEARER, XOAUTH2): its issuer URL, as in its tokens, such as https://id.example.org/realms/home. docs/oauth.md says how. Empty: none."`
	OAuthAudience         Texts  `key:"oauth_audience" doc:"Whom tokens are for (aud): one of these must be in them. With oauth_introspection it may be empty when oauth_scope isn't."`
	OAuthScope            Texts  `key:"oauth_scope" doc:"Scopes that a token must all have."`
	OAuthReadOnlyScope    string `key:"oauth_read_only_scope" doc:"A token that lacks some of oauth_scope but has this scope logs in too, to sessions that can change nothing. Empty: it doesn't."`
	OAuthUserClaim        string `key:"oauth_user_claim" def:"email" doc:"Claim of a token that says whose it is, by the account's name or one of its addresses: email, preferred_username, sub, username or another one. Of email_verified false, email is refused."`
	OAuthIntrospection    bool   `key:"oauth_introspection" def:"false" doc:"Ask the provider about each token (RFC 7662), for tokens that aren't JSON web tokens, or that can be taken back: then they still log in for a minute at most."`
	OAuthClientID         string `key:"oauth_client_id" doc:"Name by which nestbox asks the provider, with oauth_introspection."`
	OAuthClientSecretFile string `key:"oauth_client_secret_file" path:"read" doc:"File with the secret that belongs to oauth_client_id, and nothing else."`
	OAuthRoots            string `key:"oauth_roots" path:"read" doc:"PEM file with the certificates that the provider's certificate hangs on, for a provider with a CA of its own. Empty: those of the machine."`

	ClientCAFile   string `key:"client_ca_file" path:"read" doc:"PEM file with the CA whose client certificates log in (EXTERNAL): to the account that has the email address in the certificate, or as client_accounts says. Clients without a certificate log in as ever. docs/client-certificates.md says how. Empty: none do."`
	ClientAccounts Texts  `key:"client_accounts" doc:"Which certificates log in to which accounts, whatever email address is in them: NAME=ACCOUNT each, where NAME is the certificate's common name or its SHA-256 in hex. With the ACCOUNT - a certificate logs in nowhere, as that of a lost device."`

	InsecureAuth bool `key:"insecure_auth" def:"false" doc:"Take passwords without TLS from other machines too. Whoever can listen in then reads them."`
	LiteralMinus bool `key:"literal_minus" def:"false" doc:"Announce LITERAL- instead of LITERAL+: clients ask before they send more than 4096 bytes."`

	// File is the file that was read, "" if none.
	File string
	// Fixed are the household's keys that stand in the file or the
	// environment, checked and in canonical form; they win over system.db.
	Fixed map[string]string

	sources map[string]Source
}

// A Room is a number of bytes, or percents of something.
type Room struct {
	Bytes   Size
	Percent int
}

// Size is a number of bytes.
type Size int64

// Source says where a value comes from; a later one wins.
type Source uint8

// The sources of values. Household stands for system.db.
const (
	FromDefault Source = iota
	FromHousehold
	FromFile
	FromEnv
	FromFlag
)

func (s Source) String() string {
	return [...]string{"default", "nestbox set", "file", "environment", "flag"}[s]
}

// Source tells where the value of a key comes from.
func (c *Config) Source(key string) Source { return c.sources[key] }

// A Problem is one thing wrong with the settings.
type Problem struct {
	Where string // "/etc/nestbox/nestbox.toml:7", "NESTBOX_USER" or "--user"
	Why   string
}

func (p Problem) String() string { return p.Where + ": " + p.Why }

// Problems is the error of Load: all that is wrong, in order.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// IsError tells problems with the settings from other errors.
func IsError(err error) bool {
	var p Problems
	return errors.As(err, &p)
}

// Input is what Load reads.
type Input struct {
	File  string              // named by the user: it must be there. "": NESTBOX_CONFIG, else DefaultFile if there
	Env   []string            // os.Environ()
	Flags map[string][]string // flags given, by key: FlagValues
}

// Load puts the settings together: flag over environment over file over
// default. What is wrong comes as Problems; an unreadable file as the error
// of reading it.
func Load(in Input) (*Config, error) {
	c := &Config{Fixed: map[string]string{}, sources: map[string]Source{}}
	l := loader{config: c, fields: fieldsOf(c)}
	l.defaults()
	env, named := environment(in.Env)
	file := in.File
	if file == "" {
		file = named
	}
	if err := l.file(file); err != nil {
		return nil, err
	}
	for _, v := range env {
		l.set(FromEnv, v.name, v.key, v.value)
	}
	for _, k := range Keys() {
		if values, ok := in.Flags[k.Name]; ok {
			l.setFlag(k, values)
		}
	}
	if len(l.problems) == 0 {
		l.checkOAuth()
		l.checkClients()
	}
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return c, nil
}

// loader collects values and problems of one Load.
type loader struct {
	config   *Config
	fields   map[string]field
	problems Problems
}

func (l *loader) problem(where, format string, args ...any) {
	l.problems = append(l.problems, Problem{Where: where, Why: fmt.Sprintf(format, args...)})
}

func (l *loader) defaults() {
	for _, f := range l.fields {
		if f.key.Name != "data" {
			_ = f.assign(f.key.Default) // a test holds that all defaults are good
		}
	}
	l.config.Data = "nestbox-data"
	if os.Geteuid() == 0 {
		l.config.Data = "/var/lib/nestbox"
	}
}

func (l *loader) file(path string) error {
	named := path != ""
	if !named {
		path = DefaultFile
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if named {
			l.problem(path, "no such file")
		}
		return nil
	}
	if err != nil {
		return err
	}
	if l.config.File, err = filepath.Abs(path); err != nil {
		return err
	}
	l.toml(path, string(text))
	return nil
}

// set takes a value from anywhere; it replaces what a weaker source gave.
func (l *loader) set(from Source, where, key string, value any) {
	if f, ok := l.fields[key]; ok {
		if err := f.assign(value); err != nil {
			l.problem(where, "%s %v", key, err)
		}
		l.config.sources[key] = from
		return
	}
	if _, ok := household[key]; ok {
		text, err := settingText(value)
		if err == nil {
			text, err = CheckSetting(key, text)
		}
		if err != nil {
			l.problem(where, "%s %v", key, err)
		}
		l.config.Fixed[key] = text
		l.config.sources[key] = from
		return
	}
	l.problem(where, "%v", unknownKey(key))
}

func (l *loader) setFlag(k Key, values []string) {
	var value any = values
	if !k.List && len(values) > 0 {
		value = values[len(values)-1]
	}
	l.set(FromFlag, "--"+k.Flag(), k.Name, value)
}

type envValue struct{ name, key, value string }

// environment picks nestbox's variables, sorted by their order in env.
func environment(env []string) (values []envValue, file string) {
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		rest, ok := strings.CutPrefix(name, EnvPrefix)
		switch {
		case !ok:
		case name == fileEnv:
			file = value
		case rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_"):
			// Kubernetes and Docker links make these for a service of our name.
		default:
			values = append(values, envValue{name, strings.ToLower(rest), value})
		}
	}
	return values, file
}

// field is where a key's value goes.
type field struct {
	key   Key
	value reflect.Value
}

func fieldsOf(c *Config) map[string]field {
	fields := map[string]field{}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if k, ok := keyOf(v.Type().Field(i)); ok {
			fields[k.Name] = field{key: k, value: v.Field(i)}
		}
	}
	return fields
}

// assign takes a value as TOML, the environment or a flag gives it.
func (f field) assign(value any) error {
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		s, ok := value.(string)
		if !ok {
			return fmt.Errorf(`wants text in "quotes", not %v`, value)
		}
		if len(f.key.One) > 0 && !slices.Contains(f.key.One, s) {
			return fmt.Errorf("must be one of %s, not %q", strings.Join(f.key.One, ", "), s)
		}
		*p = s
		return nil
	case *bool:
		return assignBool(p, value)
	case *int:
		n, err := integer(value, strconv.Atoi)
		*p = int(n)
		return errors.Join(err, f.inRange(n, err))
	case *Size:
		n, err := integer(value, ParseSize)
		*p = Size(n)
		return errors.Join(err, f.inRange(n, err))
	case *Room:
		r, err := room(value)
		*p = r
		return err
	case *Networks:
		list, err := networks(value)
		*p = list
		return err
	case *Paths:
		list, err := paths(value)
		*p = list
		return err
	case *Texts:
		list, err := texts(value)
		*p = list
		return err
	case *[]string:
		list, err := addresses(value)
		*p = list
		return err
	}
	return fmt.Errorf("has no kind")
}
