package imap

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
)

// A messageURL is an IMAP URL of a message or a part of one (RFC 5092 §6, the
// last form): "/Drafts;UIDVALIDITY=3/;UID=20/;SECTION=1.2/;PARTIAL=0.1024".
type messageURL struct {
	// server is "user@host:port", or "" if the URL is relative.
	server      string
	mailbox     string // UTF-8
	uidValidity uint32 // 0: any
	uid         imap.UID
	section     section
	isPart      bool // there is a SECTION
	partial     partial
	hasPartial  bool
	// rest is what follows, undecoded, with its ";": who may have it.
	rest string
}

var errNotMessage = errors.New("it is not the URL of a message or a part of one")

// parseMessageURL reads an absolute URL, or one that begins with "/". A relative
// path is to be refused (RFC 5092 §7.2).
func parseMessageURL(text string) (u messageURL, err error) {
	if !isURL(text) {
		return u, errors.New("it has octets that a URL must write as %XX")
	}
	path := text
	if after, ok := cutPrefixFold(path, "imap://"); ok {
		slash := strings.IndexByte(after, '/')
		if slash <= 0 {
			return u, errNotMessage
		}
		u.server, path = after[:slash], after[slash:]
	}
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return u, errors.New("it does not begin with imap:// or a single /")
	}
	if u.server == "" { // RFC 3986 §5.2.2: of a reference, the path is resolved
		path = removeDotSegments(path)
	}
	return u, u.parsePath(path[1:])
}

// parsePath reads an imessagepart, and keeps what may follow it.
func (u *messageURL) parsePath(path string) error {
	box, rest, ok := cutFold(path, "/;UID=")
	if !ok {
		return errNotMessage
	}
	box, validity, ok := cutFold(box, ";UIDVALIDITY=")
	if ok {
		if u.uidValidity, ok = urlNumber(validity); !ok {
			return errors.New("its UIDVALIDITY is not a number")
		}
	}
	if u.mailbox, ok = unescape(box); !ok || box == "" || strings.Contains(box, ";") {
		return errors.New("its mailbox is not a name in UTF-8")
	}
	if strings.EqualFold(u.mailbox, "INBOX") {
		u.mailbox = "INBOX"
	}
	end := strings.IndexAny(rest+";", "/;")
	uid, ok := urlNumber(rest[:end])
	if !ok {
		return errors.New("its UID is not a number")
	}
	u.uid, rest = imap.UID(uid), rest[end:]
	u.partial = wholeSection
	var err error
	if part, ok := cutPrefixFold(rest, "/;SECTION="); ok {
		if rest, err = u.parseSection(part); err != nil {
			return err
		}
	}
	if part, ok := cutPrefixFold(rest, "/;PARTIAL="); ok {
		u.hasPartial = true
		if rest, err = u.parsePartial(part); err != nil {
			return err
		}
	}
	if u.rest = rest; rest != "" && rest[0] != ';' {
		return errNotMessage
	}
	return nil
}

// parseSection reads an enc-section, and returns what follows it.
func (u *messageURL) parseSection(part string) (rest string, err error) {
	end := strings.IndexByte(part+";", ';')
	part, rest = part[:end], part[end:]
	if rest != "" && strings.HasSuffix(part, "/") { // of "/;PARTIAL="
		part, rest = part[:len(part)-1], "/"+rest
	}
	u.isPart = true
	spec, ok := unescape(part)
	if ok && spec != "" && !strings.ContainsAny(spec, "\r\n") {
		u.section, ok = sectionOf(spec)
	}
	if !ok || spec == "" {
		return "", errors.New("its section is not one")
	}
	return rest, nil
}

// sectionOf is a section-spec by itself.
func sectionOf(spec string) (sec section, ok bool) {
	d := wire.NewDecoder(strings.NewReader(spec + "\r\n"))
	d.SetContinue(func() error { return io.ErrUnexpectedEOF }) // no literals
	if d.Next() != nil {
		return sec, false
	}
	sec, _ = parseSection(d)
	d.End()
	ok = d.Err() == nil
	if d.Discard() == nil {
		d.Release()
	}
	return sec, ok
}

// parsePartial reads a partial-range, and returns what follows it.
func (u *messageURL) parsePartial(part string) (rest string, err error) {
	end := strings.IndexByte(part+";", ';')
	from, length, limited := strings.Cut(part[:end], ".")
	n, err := strconv.ParseUint(from, 10, 32)
	u.partial = partial{from: int64(n), max: 1 << 62}
	ok := err == nil
	if limited {
		var n uint32
		n, ok = urlNumber(length)
		ok, u.partial.max = ok && err == nil, int64(n)
	}
	if !ok {
		return "", errors.New("its range of octets is not one")
	}
	return part[end:], nil
}

// urlNumber is an nz-number.
func urlNumber(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n > 0 && s[0] != '0'
}

// isURL reports whether all octets may stand in a URL (RFC 5092 §11).
func isURL(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z':
		case strings.IndexByte("-._~!$'()*+,&=:@/;", c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
		default:
			return false
		}
	}
	return s != ""
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// unescape takes the %XX off. What is left must be UTF-8 without NUL.
func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil || n == 0 {
				return "", false
			}
			c = byte(n)
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), utf8.ValidString(b.String())
}

// escapeURL makes anything printable, as a response code may hold it: "]" is
// not, and neither is a space or an octet beyond ASCII.
func escapeURL(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c > ' ' && c < 0x7f && c != ']' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

// cutPrefixFold is strings.CutPrefix in any case.
func cutPrefixFold(s, prefix string) (after string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// cutFold is strings.Cut in any case. sep is ASCII.
func cutFold(s, sep string) (before, after string, ok bool) {
	for i := 0; i+len(sep) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sep)], sep) {
			return s[:i], s[i+len(sep):], true
		}
	}
	return s, "", false
}

// removeDotSegments takes "." and ".." out of a path (RFC 3986 §5.2.4).
func removeDotSegments(path string) string {
	var out []string
	segments := strings.Split(path[1:], "/")
	for i, seg := range segments {
		last := i == len(segments)-1
		switch seg {
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			fallthrough
		case ".":
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, seg)
		}
	}
	return "/" + strings.Join(out, "/")
}
