package config

import (
	"fmt"
	"net"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A householdKey is a setting that belongs to the people of the box: kept in
// system.db as text, changed by `nestbox set`. Domains, addresses and
// accounts are no settings but rows of their own.
type householdKey struct {
	kind, def, doc string
	check          func(value string) (string, error) // to canonical form
}

var household = map[string]*householdKey{
	"box_name": {
		kind: "text", def: "nestbox", check: checkBoxName,
		doc: "What the box is called where people see it: in the greeting and on the web page.",
	},
	"host_names": {
		kind: "list", check: checkHostNames,
		doc: "Names and addresses under which clients reach the box. They go into certificates and into what clients are told. Default: the machine's host name, also with .local, .lan and .home.arpa, and its addresses in a home; in a container only localhost, 127.0.0.1 and ::1.",
	},
	"domain": {
		kind: "text", check: checkDomain,
		doc: "The domain that new addresses get when none is given. Default: none.",
	},
	"kept_days": {
		kind: "number", def: "14", check: checkNumber(36525),
		doc: "For how many days expunged messages and deleted accounts are kept and can be restored. They count in no quota, and go earlier, the oldest first, when the disk is full. An account or a mailbox can have its own number.",
	},
	"quota": {
		kind: "size", def: "0", check: checkQuota,
		doc: "The most bytes of mail that an account may hold, such as \"5 GB\"; 0 for no limit. An account can have its own.",
	},
	"quota_messages": {
		kind: "number", def: "0", check: checkNumber(1 << 40),
		doc: "The most messages that an account may hold; 0 for no limit. An account can have its own number.",
	},
	"quota_mailboxes": {
		kind: "number", def: "0", check: checkNumber(1 << 30),
		doc: "The most mailboxes that an account may have; 0 for no limit. An account can have its own number.",
	},
	"smtp_server": {
		kind: "text", check: checkServer,
		doc: "The server that mail programs are told to send mail through, as host:port, with an address as the login; with port 465 TLS is from the first byte, with others it begins with STARTTLS. Thunderbird takes no settings without one. Default: none.",
	},
	"url_submitters": {
		kind: "list", check: checkLogins,
		doc: "Logins of mail submission servers. They may fetch what people hand them as IMAP URLs for submit+ somebody (RFC 4467), as for BURL. Default: none.",
	},
	"admins": {
		kind: "list", check: checkAccounts,
		doc: "Accounts, by name, whose logins may run the box over IMAP: set quotas (SETQUOTA) and the comment of the server (SETMETADATA). Default: none.",
	},
	"admin_contact": {
		kind: "text", check: checkContact,
		doc: "How people reach who runs the box, as a URI such as \"mailto:ann@example.org\" or \"tel:+4930123456\". IMAP clients find it in /shared/admin. Default: none.",
	},
	"server_comment": {
		kind: "text", check: checkComment,
		doc: "A note for everybody who has an account. IMAP clients find it in /shared/comment. Default: none.",
	},
	"extensions_off": {
		kind: "list", check: checkExtensions,
		doc: "IMAP extensions that are switched off for everybody, by name; some clients mishandle some. docs/extensions.md lists them.",
	},
}

// HouseholdKeys lists the household's keys by name.
func HouseholdKeys() []Key {
	keys := make([]Key, 0, len(household))
	for name, h := range household {
		keys = append(keys, Key{Name: name, Kind: h.kind, Default: h.def, Doc: h.doc, List: h.kind == "list"})
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].Name < keys[j].Name })
	return keys
}

// CheckSetting checks a household setting and returns its canonical form, in
// which lists have one blank between their members.
func CheckSetting(key, value string) (string, error) {
	h := household[key]
	if h == nil {
		return "", unknownSetting(key)
	}
	if !utf8.ValidString(value) {
		return "", fmt.Errorf("is not UTF-8")
	}
	return h.check(value)
}

func unknownSetting(key string) error {
	if slices.ContainsFunc(Keys(), func(k Key) bool { return k.Name == key }) {
		return fmt.Errorf("%s is the machine's: it stands in the file or the environment", key)
	}
	return unknownKey(key)
}

// A Setting is a household setting as it holds.
type Setting struct {
	Key    Key
	Value  string
	Source Source
	// Fixed settings stand in the file or the environment.
	Fixed bool
}

// Settings puts together what the household stored and what is fixed.
func (c *Config) Settings(stored map[string]string) []Setting {
	keys := HouseholdKeys()
	all := make([]Setting, 0, len(keys))
	for _, k := range keys {
		s := Setting{Key: k, Value: k.Default}
		if v, ok := stored[k.Name]; ok {
			s.Value, s.Source = v, FromHousehold
		}
		if v, ok := c.Fixed[k.Name]; ok {
			s.Value, s.Source, s.Fixed = v, c.sources[k.Name], true
		}
		all = append(all, s)
	}
	return all
}

// Setting is the value of one household setting as it holds.
func (c *Config) Setting(stored map[string]string, key string) string {
	for _, s := range c.Settings(stored) {
		if s.Key.Name == key {
			return s.Value
		}
	}
	return ""
}

// settingText makes a setting's text of what stands in the file.
func settingText(value any) (string, error) {
	if s, ok := value.(string); ok {
		return s, nil
	}
	if n, ok := value.(int64); ok {
		return strconv.FormatInt(n, 10), nil
	}
	list, err := texts(value)
	if err != nil {
		return "", fmt.Errorf(`wants text in "quotes" or a list of it, not %v`, value)
	}
	return strings.Join(list, " "), nil
}

func checkBoxName(value string) (string, error) {
	value = strings.TrimSpace(value)
	if n := utf8.RuneCountInString(value); n < 1 || n > 64 {
		return "", fmt.Errorf("wants 1 to 64 characters")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("has a character in it that can't be seen")
	}
	return value, nil
}

func checkHostNames(value string) (string, error) {
	list, _ := texts(value)
	for i, name := range list {
		name = strings.TrimSuffix(strings.ToLower(name), ".")
		if !hostName(name) {
			return "", fmt.Errorf("has %q in it, which is neither a host name nor an address", list[i])
		}
		list[i] = name
	}
	return strings.Join(compact(list), " "), nil
}

func checkDomain(value string) (string, error) {
	value = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(value)), ".")
	if value != "" && (!hostName(value) || strings.Contains(value, ":")) {
		return "", fmt.Errorf("is %q, which is no domain", value)
	}
	return value, nil
}

// checkServer takes a host and a port.
func checkServer(value string) (string, error) {
	value = strings.ToLower(strings.TrimSpace(value))
	if value == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(value)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || !hostName(host) {
		return "", fmt.Errorf("wants host:port, such as smtp.example.org:465, not %q", value)
	}
	return value, nil
}

// hostName takes host names in UTF-8 or ASCII, and addresses.
func hostName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	if strings.Contains(name, ":") { // IPv6
		return strings.Trim(name, "0123456789abcdef:.") == ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
				return false
			}
		}
	}
	return true
}

// checkExtensions holds the form only: the names are imap's.
func checkExtensions(value string) (string, error) {
	list, _ := texts(value)
	for i, name := range list {
		list[i] = strings.ToUpper(name)
		if strings.Trim(list[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=+-") != "" {
			return "", fmt.Errorf("has %q in it, which is no extension's name", name)
		}
	}
	return strings.Join(compact(list), " "), nil
}

// checkLogins holds the form only: the accounts may come later.
func checkLogins(value string) (string, error) {
	list, err := texts(value)
	if err != nil {
		return "", err
	}
	for i, login := range list {
		list[i] = strings.ToLower(login)
		if strings.ContainsFunc(login, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return "", fmt.Errorf("has %q in it, which is no login", login)
		}
	}
	return strings.Join(compact(list), " "), nil
}

// compact drops what a list says twice.
func compact(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
