package mail

import (
	"strings"
	"time"
)

// ParseDate reads a Date field in the forms of RFC 5322 §3.3 and §4.3, that
// of asctime, ISO 8601, and what programs make of them. It takes the words as
// they come. A time that is missing is midnight, a zone that is missing or not
// known is UTC (RFC 5256 §2.2).
func ParseDate(s string) (time.Time, bool) {
	if len(s) > 1000 {
		return time.Time{}, false
	}
	d := dateReader{day: -1, year: -1}
	l := lexer{s: s}
	for l.skip(); l.i < len(l.s); l.skip() {
		start := l.i
		for l.i < len(l.s) && strings.IndexByte(" \t\r\n,(", l.s[l.i]) < 0 {
			l.i++
		}
		if l.i == start {
			l.i++
			continue
		}
		d.word(l.s[start:l.i])
	}
	return d.time()
}

type dateReader struct {
	day, year         int
	month             time.Month
	hour, minute, sec int
	zone              int // seconds east
	hasTime, hasZone  bool
	pm, am            bool
}

func (d *dateReader) word(w string) {
	switch c := w[0]; {
	case d.hasTime && (c == '+' || c == '-'):
		d.offset(w)
	case '0' <= c && c <= '9':
		d.number(w)
	case d.month == 0 && d.setMonth(w):
	case d.hasTime:
		d.name(w)
	}
}

// number reads a word that begins with a digit.
func (d *dateReader) number(w string) {
	if i := strings.IndexAny(w, "-/T."); i > 0 && !strings.Contains(w[:i], ":") {
		d.joined(w, i)
		return
	}
	n, rest := digits(w)
	switch {
	case strings.HasPrefix(rest, ":") && !d.hasTime:
		d.clock(n, rest[1:])
	case rest != "":
	case d.day < 0 && len(w) <= 2:
		d.day = n
	case d.year < 0 && (len(w) <= 4):
		d.setYear(n, len(w))
	case d.hasTime:
		d.offset(w)
	}
}

// joined reads 2-Jan-2006, 2006-01-02, 2006/01/02 and 2006-01-02T15:04:05Z.
func (d *dateReader) joined(w string, i int) {
	first, rest, _ := strings.Cut(strings.NewReplacer("/", "-", "T", "-").Replace(w[:i])+"-"+w[i+1:], "-")
	n, junk := digits(first)
	next := strings.FieldsFunc(rest, func(r rune) bool { return r == '-' || r == '/' || r == '.' })
	if junk != "" || d.day >= 0 || len(next) < 2 {
		return
	}
	if len(first) == 4 { // ISO 8601
		day, after := digits(next[1])
		if !strings.HasPrefix(after, "T") && after != "" {
			return
		}
		month, junk := digits(next[0])
		if junk != "" || month > 12 {
			return
		}
		d.year, d.month, d.day = n, time.Month(month), day
		if k := strings.IndexByte(w, 'T'); k > 0 && k+1 < len(w) {
			d.word(w[k+1:])
		}
		return
	}
	if year, junk := digits(next[1]); junk == "" && d.setMonth(next[0]) {
		d.day = n
		d.setYear(year, len(next[1]))
	}
}

// clock reads what is behind the hour: minutes, seconds, a fraction, a zone.
func (d *dateReader) clock(hour int, w string) {
	d.hour, d.hasTime = hour, true
	d.minute, w = digits(w)
	if strings.HasPrefix(w, ":") {
		d.sec, w = digits(w[1:])
	}
	if strings.HasPrefix(w, ".") {
		_, w = digits(w[1:])
	}
	if w != "" {
		d.word(w)
	}
}

// setYear takes years of two and three digits as RFC 5322 §4.3 does.
func (d *dateReader) setYear(n, digits int) {
	switch {
	case digits <= 2 && n < 50:
		n += 2000
	case digits <= 3:
		n += 1900
	}
	d.year = n
}

func (d *dateReader) setMonth(w string) bool {
	if len(w) < 3 {
		return false
	}
	i := strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(w[:3]))
	if i < 0 || i%3 != 0 {
		return false
	}
	d.month = time.Month(i/3 + 1)
	return true
}

// offset reads +hhmm. Some write "+-0500", "+05:30" or no sign.
func (d *dateReader) offset(w string) {
	if d.hasZone {
		return
	}
	sign := 1
	for w != "" && (w[0] == '+' || w[0] == '-') {
		sign = 1 - 2*b2i(w[0] == '-')
		w = w[1:]
	}
	w = strings.Replace(w, ":", "", 1)
	n, rest := digits(w)
	if len(w) == 2 {
		n *= 100
	}
	if rest != "" || len(w) != 4 && len(w) != 2 || n%100 > 59 || n >= 2400 {
		return
	}
	d.zone, d.hasZone = sign*(n/100*3600+n%100*60), true
}

// zones are those of RFC 5322 §4.3 and of central Europe. The military ones
// are of no meaning there.
var zones = map[string]int{"UT": 0, "GMT": 0, "UTC": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
	"PST": -8, "PDT": -7, "CET": 1, "MET": 1, "CEST": 2, "MEST": 2, "EET": 2, "EEST": 3, "BST": 1, "WET": 0, "WEST": 1}

func (d *dateReader) name(w string) {
	w = strings.ToUpper(w)
	if hours, ok := zones[w]; ok && !d.hasZone {
		d.zone, d.hasZone = hours*3600, true
	}
	d.pm, d.am = d.pm || w == "PM", d.am || w == "AM"
	if i := strings.IndexAny(w, "+-"); i > 0 { // GMT+0100
		d.offset(w[i:])
	}
}

// time puts it together, if it is a date at all.
func (d *dateReader) time() (time.Time, bool) {
	if d.pm && d.hour < 12 {
		d.hour += 12
	} else if d.am && d.hour == 12 {
		d.hour = 0
	}
	if d.month == 0 || d.year < 0 || d.day < 1 || d.hour > 23 || d.minute > 59 || d.sec > 60 {
		return time.Time{}, false
	}
	if d.day > time.Date(d.year, d.month+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return time.Time{}, false
	}
	return time.Date(d.year, d.month, d.day, d.hour, d.minute, d.sec, 0, time.FixedZone("", d.zone)), true
}

// digits reads the digits at the beginning of s, and gives the rest.
func digits(s string) (n int, rest string) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		n = min(n*10+int(s[i]-'0'), 1_000_000)
		i++
	}
	return n, s[i:]
}
