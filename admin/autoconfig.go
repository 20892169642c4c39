package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mail programs ask for these with an address, before anybody has logged in.
// All addresses get the same answer, so that it tells nothing of accounts.

// Paths of Thunderbird's configuration file (draft-ietf-mailmaint-autoconfig §4).
const (
	autoconfigPath          = "/mail/config-v1.1.xml"
	autoconfigWellKnownPath = "/.well-known/autoconfig/mail/config-v1.1.xml"
)

// Paths of Outlook's autodiscover (MS-OXDSCLI §3.1.5), in all spellings.
const (
	autodiscoverPath       = "/autodiscover/autodiscover.xml"
	autodiscoverJSONPath   = "/autodiscover/autodiscover.json"
	autodiscoverJSONV1Path = "/autodiscover/autodiscover.json/v1.0/"
)

// maxAddress is what an address can have at most (RFC 5321 §4.5.3.1).
const maxAddress = 64 + 1 + 255

func itoa(n int) string { return strconv.Itoa(n) }

// A setupHandler answers with what setup says at that moment.
type setupHandler struct {
	log   *slog.Logger
	setup func() (*Setup, error)
	serve func(w http.ResponseWriter, r *http.Request, s *Setup)
}

func (h setupHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := h.setup()
	if err != nil {
		h.log.Error("http_failed", "error", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
		return
	}
	h.serve(w, r, s)
}

// Autoconfig has w answer mail programs that look for their settings.
func Autoconfig(w *Web, setup func() (*Setup, error)) {
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request, *Setup){
		autoconfigPath: serveThunderbird, autoconfigWellKnownPath: serveThunderbird,
		autodiscoverPath: serveOutlook, autodiscoverJSONPath: serveOutlookJSON, autodiscoverJSONV1Path: serveOutlookJSON,
	} {
		w.Handle(path, setupHandler{w.log, setup, serve})
	}
}

// addressDomain is the domain of an address, "" if it is none that could be.
func addressDomain(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || len(address) > maxAddress || !utf8.ValidString(address) || strings.ContainsFunc(address, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r)
	}) {
		return ""
	}
	domain := strings.ToLower(strings.TrimSuffix(address[at+1:], "."))
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
		}) {
			return ""
		}
	}
	return domain
}

func serveThunderbird(w http.ResponseWriter, r *http.Request, s *Setup) {
	if !onlyMethods(w, r, http.MethodGet) {
		return
	}
	if _, ok := s.imap(); !ok {
		notFound(w)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = io.WriteString(w, thunderbird(s, addressDomain(r.URL.Query().Get("emailaddress")), ""))
}

// thunderbird is config-v1.1.xml for addresses of a domain. Programs put the
// address that they were given in for the words in percent signs. With login
// it is for one account.
func thunderbird(s *Setup, domain, login string) string {
	if domain == "" {
		domain = s.Host
		if len(s.Domains) > 0 {
			domain = s.Domains[0]
		}
	}
	user := login
	switch {
	case login != "":
	case len(s.Domains) == 0 || s.knows(domain):
		user = "%EMAILADDRESS%"
	default: // addresses are other providers', or those of the box's host name
		user = "%EMAILLOCALPART%"
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<clientConfig version="1.1">` + "\n")
	b.WriteString(`<emailProvider id="` + escaped(domain) + `">` + "\n")
	element(&b, "domain", domain)
	element(&b, "displayName", s.Box)
	element(&b, "displayShortName", s.Box)
	services := append([]Service{}, s.Mail...)
	for i := range services { // what programs are to prefer comes first
		if services[i].TLS {
			services[0], services[i] = services[i], services[0]
			break
		}
	}
	for _, m := range services {
		b.WriteString(`<incomingServer type="` + escaped(m.Protocol) + `">` + "\n")
		writeServer(&b, m, user)
		b.WriteString("</incomingServer>\n")
	}
	if s.Send != nil {
		b.WriteString(`<outgoingServer type="smtp">` + "\n")
		writeServer(&b, *s.Send, "%EMAILADDRESS%")
		b.WriteString("</outgoingServer>\n")
	}
	b.WriteString("</emailProvider>\n</clientConfig>\n")
	return b.String()
}

func writeServer(b *strings.Builder, m Service, user string) {
	element(b, "hostname", m.Host)
	element(b, "port", itoa(m.Port))
	element(b, "socketType", m.security())
	element(b, "authentication", "password-cleartext") // under TLS: PLAIN
	element(b, "username", user)
}

// serveOutlook answers Outlook's POST.
func serveOutlook(w http.ResponseWriter, r *http.Request, s *Setup) {
	if !onlyMethods(w, r, http.MethodPost) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "request too long", http.StatusRequestEntityTooLarge)
		return
	}
	if _, ok := s.imap(); !ok {
		notFound(w)
		return
	}
	address := emailAddress(string(body))
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	if addressDomain(address) == "" {
		_, _ = io.WriteString(w, outlookError)
		return
	}
	_, _ = io.WriteString(w, outlook(s, address))
}

const (
	outlookHead  = `<?xml version="1.0" encoding="utf-8"?>` + "\n" + `<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">` + "\n"
	outlookError = outlookHead + "<Response>\n<Error Time=\"00:00:00\" Id=\"0\">\n<ErrorCode>600</ErrorCode>\n<Message>Invalid Request</Message>\n<DebugData/>\n</Error>\n</Response>\n</Autodiscover>\n"
)

// outlook is the answer for an address (MS-OXDSCLI §2.2.4).
func outlook(s *Setup, address string) string {
	login := address
	if domain := addressDomain(address); len(s.Domains) > 0 && !s.knows(domain) {
		login = address[:strings.LastIndexByte(address, '@')]
	}
	var b strings.Builder
	b.WriteString(outlookHead)
	b.WriteString(`<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">` + "\n<Account>\n")
	element(&b, "AccountType", "email")
	element(&b, "Action", "settings")
	if m, ok := s.imap(); ok {
		writeOutlookService(&b, "IMAP", m, login)
	}
	if s.Send != nil {
		writeOutlookService(&b, "SMTP", *s.Send, address)
	}
	b.WriteString("</Account>\n</Response>\n</Autodiscover>\n")
	return b.String()
}

func writeOutlookService(b *strings.Builder, kind string, m Service, login string) {
	b.WriteString("<Protocol>\n")
	element(b, "Type", kind)
	element(b, "Server", m.Host)
	element(b, "Port", itoa(m.Port))
	element(b, "LoginName", login)
	element(b, "DomainRequired", "off")
	element(b, "SPA", "off")
	// Encryption goes before SSL: "SSL" is from the first byte, "TLS" STARTTLS.
	if m.TLS {
		element(b, "SSL", "on")
		element(b, "Encryption", "SSL")
	} else {
		element(b, "SSL", "off")
		element(b, "Encryption", "TLS")
	}
	element(b, "AuthRequired", "on")
	b.WriteString("</Protocol>\n")
}

// serveOutlookJSON answers autodiscover v2 with where v1 is.
func serveOutlookJSON(w http.ResponseWriter, r *http.Request, s *Setup) {
	if !onlyMethods(w, r, http.MethodGet) {
		return
	}
	protocol := r.URL.Query().Get("Protocol")
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if !strings.EqualFold(protocol, "AutodiscoverV1") || s.HTTPS == 0 {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"ErrorCode":"InvalidProtocol","ErrorMessage":"The given protocol is not served. Supported: AutodiscoverV1"}`+"\n")
		return
	}
	_ = json.NewEncoder(w).Encode(struct{ Protocol, Url string }{"AutodiscoverV1", s.secureURL() + autodiscoverPath}) //nolint:staticcheck // the format's name
}

// emailAddress is the text of the element EMailAddress in a request, whatever
// its prefix, "" if there is none that can be read. It is no parser of XML:
// what it reads is an address or nothing.
func emailAddress(request string) string {
	const name = "EMailAddress"
	for {
		at := strings.Index(request, name+">")
		if at < 0 {
			return ""
		}
		before, rest := request[:at], request[at+len(name)+1:]
		open := strings.LastIndexByte(before, '<')
		if open < 0 || strings.ContainsAny(before[open+1:], "/>!? \t\r\n\"'") || before[open+1:] != "" && !strings.HasSuffix(before, ":") {
			request = rest
			continue
		}
		text, _, ok := strings.Cut(rest, "<")
		if !ok || len(text) > 8*maxAddress {
			return ""
		}
		text = unescaped(strings.TrimSpace(text))
		if addressDomain(text) == "" {
			return ""
		}
		return text
	}
}

// unescaped puts the five names of XML and U+0020 to U+FFFF by number in.
func unescaped(s string) string {
	var b strings.Builder
	for {
		text, rest, ok := strings.Cut(s, "&")
		b.WriteString(text)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, ";")
		if !ok || len(name) > 8 {
			return "" // not XML
		}
		r, ok := map[string]rune{"lt": '<', "gt": '>', "amp": '&', "quot": '"', "apos": '\''}[name]
		if digits, numbered := strings.CutPrefix(name, "#"); numbered {
			base := 10
			if hex, is := strings.CutPrefix(digits, "x"); is {
				digits, base = hex, 16
			}
			n, err := strconv.ParseUint(digits, base, 16)
			r, ok = rune(n), err == nil && n >= ' '
		}
		if !ok {
			return ""
		}
		b.WriteRune(r)
		s = after
	}
}
