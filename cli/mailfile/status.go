package mailfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Flags in an mbox are in header fields: Status (R: \Seen, O: not new),
// X-Status (A, F, D, T) and X-Keywords, as c-client, mutt and Dovecot have
// them, or X-Mozilla-Status and X-Mozilla-Keys of Thunderbird.
var xStatus = []struct {
	letter byte
	flag   imap.Flag
}{
	{'A', imap.FlagAnswered}, {'F', imap.FlagFlagged}, {'D', imap.FlagDeleted}, {'T', imap.FlagDraft},
}

// Bits of X-Mozilla-Status (nsMsgMessageFlags).
var mozillaStatus = []struct {
	bit  uint64
	flag imap.Flag
}{
	{0x0001, imap.FlagSeen}, {0x0002, imap.FlagAnswered}, {0x0004, imap.FlagFlagged},
	{0x0008, imap.FlagDeleted}, {0x1000, imap.FlagForwarded},
}

// headerFlags reads the flags in a header.
func headerFlags(header []byte) []imap.Flag {
	var flags []imap.Flag
	add := func(f imap.Flag) {
		if !slices.Contains(flags, f) {
			flags = append(flags, f)
		}
	}
	if v, _ := headerField(header, "Status"); strings.Contains(v, "R") {
		add(imap.FlagSeen)
	}
	v, _ := headerField(header, "X-Status")
	for _, x := range xStatus {
		if strings.IndexByte(v, x.letter) >= 0 {
			add(x.flag)
		}
	}
	if v, ok := headerField(header, "X-Mozilla-Status"); ok {
		bits, err := strconv.ParseUint(v, 16, 64)
		for _, m := range mozillaStatus {
			if err == nil && bits&m.bit != 0 {
				add(m.flag)
			}
		}
	}
	for _, name := range []string{"X-Keywords", "X-Mozilla-Keys"} {
		v, _ := headerField(header, name)
		for _, word := range strings.Fields(v) {
			if k := keyword(word); k != "" {
				add(k)
			}
		}
	}
	return flags
}

// keyword makes a word fit for IMAP's flag-keyword (RFC 9051 §9: an atom).
func keyword(word string) imap.Flag {
	k := strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7F || strings.ContainsRune(`(){%*"\]`, r) {
			return '_'
		}
		return r
	}, word)
	return imap.Flag(k)
}

// statusFields are the header lines that say flags.
func statusFields(flags []imap.Flag) []string {
	status := "O"
	x := ""
	var words []string
	for _, s := range xStatus {
		if slices.Contains(flags, s.flag) {
			x += string(s.letter)
		}
	}
	for _, f := range flags {
		switch {
		case f == imap.FlagSeen:
			status = "RO"
		case !strings.HasPrefix(string(f), `\`):
			words = append(words, string(f))
		}
	}
	lines := []string{"Status: " + status}
	if x != "" {
		lines = append(lines, "X-Status: "+x)
	}
	if len(words) > 0 {
		lines = append(lines, "X-Keywords: "+strings.Join(words, " "))
	}
	return lines
}

// sameFlags compares sets.
func sameFlags(a, b []imap.Flag) bool {
	if len(a) != len(b) {
		return false
	}
	for _, f := range a {
		if !slices.Contains(b, f) {
			return false
		}
	}
	return true
}
