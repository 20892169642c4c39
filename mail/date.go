package mail

import (
	"bytes"
	"time"
)

// ParseDate reads a Date field: the forms of RFC 5322 §3.3 and §4.3, and what
// programs write besides: asctime, ISO 8601, names of months in full, AM and
// PM. A time or zone that is missing or none counts as 00:00:00 and UTC (RFC
// 5256 §2.2).
func ParseDate(s string) (time.Time, bool) {
	unix, zone, ok := parseDate([]byte(s))
	if !ok {
		return time.Time{}, false
	}
	return inZone(unix, zone), true
}

// inZone is a time in a zone so many minutes east of UTC.
func inZone(unix int64, zone int) time.Time {
	return time.Unix(unix, 0).In(time.FixedZone("", zone*60))
}

// A dateReader collects what the words of a date say.
type dateReader struct {
	day, year, hour, min, sec int
	month                     time.Month
	zone                      int // minutes east of UTC
	hasTime, hasZone          bool
	am, pm                    bool
}

const maxDate = 200 // octets of a date that are looked at

func parseDate(s []byte) (unix int64, zone int, ok bool) {
	d := dateReader{day: -1, year: -1}
	var unescaped []byte
	l := lexer{s: s[:min(len(s), maxDate)], buf: &unescaped}
	for {
		for l.skip(); l.i < len(l.s) && l.s[l.i] == ','; l.skip() {
			l.i++
		}
		start := l.i
		for l.i < len(l.s) && class[l.s[l.i]]&isSpace == 0 && l.s[l.i] != ',' && l.s[l.i] != '(' {
			l.i++
		}
		if l.i == start {
			return d.time()
		}
		d.word(l.s[start:l.i])
	}
}

// time puts it together, if it is a date at all.
func (d *dateReader) time() (unix int64, zone int, ok bool) {
	if d.pm && d.hour < 12 {
		d.hour += 12
	} else if d.am && d.hour == 12 {
		d.hour = 0
	}
	if d.day < 1 || d.month < 1 || d.month > 12 || d.year < 1900 { // RFC 5322 §3.3: programs write 0102 for 2002
		return 0, 0, false
	}
	t := time.Date(d.year, d.month, d.day, d.hour, d.min, d.sec, 0, time.UTC)
	if t.Add(-time.Minute).Day() != d.day && t.Day() != d.day { // 31 February; a leap second may be in the next day
		return 0, 0, false
	}
	return t.Unix() - int64(d.zone)*60, d.zone, true
}

// word takes one word, by its form.
func (d *dateReader) word(w []byte) {
	n, digits := number(w)
	switch {
	case (w[0] == '+' || w[0] == '-') && d.hasTime:
		d.offset(w)
	case digits == 0:
		d.name(w)
	case digits == len(w):
		d.number(n, w)
	case w[digits] == ':':
		d.clock(w)
	case w[digits] == '-' || w[digits] == '/':
		d.joined(n, w)
	}
}

// number reads the digits that w begins with, a few at most.
func number(w []byte) (n, digits int) {
	for digits < len(w) && digits < 5 && '0' <= w[digits] && w[digits] <= '9' {
		n = n*10 + int(w[digits]-'0')
		digits++
	}
	return n, digits
}

// number takes a word that is one: the day, the year, or a zone without sign.
func (d *dateReader) number(n int, w []byte) {
	switch {
	case d.day < 0 && len(w) <= 2:
		d.day = n
	case d.year < 0:
		d.setYear(n, len(w))
	case d.hasTime && len(w) == 4:
		d.offset(w)
	}
}

// setYear takes years of two and three digits as RFC 5322 §4.3 does.
func (d *dateReader) setYear(n, digits int) {
	switch {
	case digits <= 2 && n < 50:
		n += 2000
	case digits <= 3:
		n += 1900
	case digits > 4:
		return
	}
	d.year = n
}

// clock takes hh:mm or hh:mm:ss, with a fraction and a zone that may follow.
// A time that is none is 00:00:00.
func (d *dateReader) clock(w []byte) {
	if d.hasTime {
		return
	}
	d.hasTime = true
	var part [3]int
	for i := range part {
		n, digits := number(w)
		if digits == 0 || digits > 2 {
			return
		}
		part[i], w = n, w[digits:]
		if len(w) == 0 || w[0] != ':' {
			break
		}
		w = w[1:]
	}
	if part[0] <= 23 && part[1] <= 59 && part[2] <= 60 {
		d.hour, d.min, d.sec = part[0], part[1], part[2]
	}
	if len(w) > 0 && w[0] == '.' {
		for w = w[1:]; len(w) > 0 && '0' <= w[0] && w[0] <= '9'; {
			w = w[1:]
		}
	}
	if len(w) > 0 {
		d.word(w)
	}
}

// joined takes 2-Jan-2006, 2006-01-02, 2006/01/02 and 2006-01-02T15:04:05Z;
// n is the number that it begins with.
func (d *dateReader) joined(n int, w []byte) {
	i := bytes.IndexAny(w, "-/")
	k := i + 1 + bytes.IndexByte(w[i+1:], w[i])
	if d.day >= 0 || k <= i+1 || k+1 >= len(w) {
		return
	}
	last, digits := number(w[k+1:])
	middle, rest := w[i+1:k], w[k+1+digits:]
	switch month, md := number(middle); {
	case digits == 0:
	case i == 4 && md == len(middle) && (len(rest) == 0 || rest[0] == 'T'):
		d.year, d.month, d.day = n, time.Month(month), last
		if len(rest) > 1 {
			d.word(rest[1:])
		}
	case i <= 2 && len(rest) == 0 && d.setMonth(middle):
		d.day = n
		d.setYear(last, digits)
	}
}

const monthNames = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"

func (d *dateReader) setMonth(w []byte) bool {
	if len(w) < 3 || d.month != 0 {
		return false
	}
	up := [3]byte{upperByte(w[0]), upperByte(w[1]), upperByte(w[2])}
	for m := 0; m < len(monthNames); m += 3 {
		if monthNames[m:m+3] == string(up[:]) {
			d.month = time.Month(m/3 + 1)
			return true
		}
	}
	return false
}

// offset takes +hhmm, +hh:mm, +hh, and forms with no sign or two.
func (d *dateReader) offset(w []byte) {
	sign := 1
	for len(w) > 0 && (w[0] == '+' || w[0] == '-') {
		if sign = 1; w[0] == '-' {
			sign = -1
		}
		w = w[1:]
	}
	n, digits := number(w)
	if rest := w[digits:]; digits == 2 && len(rest) == 3 && rest[0] == ':' {
		m, md := number(rest[1:])
		n, digits, w = n*100+m, 2+md, rest[:0]
	} else if digits == 2 {
		n, digits = n*100, 4
		w = rest
	} else {
		w = rest
	}
	if len(w) > 0 || digits != 4 || d.hasZone || n >= 2400 || n%100 > 59 {
		return
	}
	d.zone, d.hasZone = sign*(n/100*60+n%100), true
}

// zones are those of RFC 5322 §4.3 and of Europe, in hours. The military ones
// mean nothing there.
var zones = map[string]int{
	"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
	"BST": 1, "WEST": 1, "CET": 1, "MET": 1, "CEST": 2, "MEST": 2, "EET": 2, "EEST": 3,
}

// name takes a month, a zone, AM or PM. Days of the week say nothing.
func (d *dateReader) name(w []byte) {
	if d.setMonth(w) || !d.hasTime {
		return
	}
	up := string(upperName(w))
	if hours, ok := zones[up]; ok && !d.hasZone {
		d.zone, d.hasZone = hours*60, true
	}
	d.am, d.pm = d.am || up == "AM", d.pm || up == "PM"
	if i := bytes.IndexAny(w, "+-"); i > 0 { // GMT+0100
		d.offset(w[i:])
	}
}
