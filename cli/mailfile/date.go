package mailfile

import (
	"net/mail"
	"strings"
	"time"
)

// maxHeader is how much of a message's header is looked at for flags and dates.
const maxHeader = 64 << 10

// oldestClock is before any real run of this program.
var oldestClock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// plausible dates are after 1970 and not far in the future: others come from
// broken clocks. Where the machine's own is one, it says nothing of the future.
func plausible(t time.Time) bool {
	now := time.Now()
	return t.Unix() > 0 && t.Year() < 2106 && (t.Before(now.Add(48*time.Hour)) || now.Before(oldestClock))
}

// headerDate is when a message arrived, as its header has it: the date of the
// first Received line, which the last server wrote, else Date.
func headerDate(header []byte) time.Time {
	for _, f := range []struct {
		name string
		date func(string) string
	}{
		{"Received", func(v string) string { return v[strings.LastIndexByte(v, ';')+1:] }},
		{"Date", func(v string) string { return v }},
	} {
		value, ok := headerField(header, f.name)
		if !ok {
			continue
		}
		if t, err := mail.ParseDate(strings.TrimSpace(f.date(value))); err == nil && plausible(t) {
			return t
		}
	}
	return time.Time{}
}

// headerField is the first field of a name, unfolded.
func headerField(header []byte, name string) (value string, ok bool) {
	found := false
	var b strings.Builder
	for line := range strings.Lines(string(header)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if found {
				b.WriteString(line)
			}
			continue
		}
		if found {
			break
		}
		if key, v, colon := strings.Cut(line, ":"); colon && strings.EqualFold(strings.TrimRight(key, " \t"), name) {
			found = true
			b.WriteString(v)
		}
	}
	return strings.TrimSpace(b.String()), found
}

// fromLine reads the line that begins a message in an mbox: "From ", the
// envelope's sender, a date as asctime(3) writes it. Some programs put a zone
// before or after the year, or write the date as in a header.
type fromLine struct {
	sender string
	date   time.Time
}

var fromLayouts = []string{
	"Mon Jan 2 15:04:05 2006", "Mon Jan 2 15:04 2006",
	"Mon Jan 2 15:04:05 2006 -0700", "Mon Jan 2 15:04:05 -0700 2006",
	"Mon Jan 2 15:04:05 MST 2006", "Mon Jan 2 15:04:05 2006 MST", "Mon Jan 2 15:04 MST 2006",
	"Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 MST",
}

var fromDays = []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// parseFromLine takes a line without its end. exact says that its date was
// understood; without it, the line has at least something like a time and a
// year in it.
func parseFromLine(line string) (f fromLine, exact, ok bool) {
	rest, ok := strings.CutPrefix(line, "From ")
	if !ok {
		return f, false, false
	}
	words := strings.Fields(rest)
	for i, w := range words {
		if !isDay(w) || i+4 >= len(words) {
			continue
		}
		// Up to six words: what follows the date ("remote from") is none of it.
		for n := min(6, len(words)-i); n >= 5; n-- {
			if t, ok := parseFromDate(strings.Join(words[i:i+n], " ")); ok {
				f.sender, f.date = strings.Join(words[:i], " "), t
				return f, true, true
			}
		}
	}
	return f, false, looksDated(words)
}

func isDay(w string) bool {
	w = strings.TrimSuffix(w, ",")
	for _, d := range fromDays {
		if w == d {
			return true
		}
	}
	return false
}

func parseFromDate(s string) (time.Time, bool) {
	for _, layout := range fromLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// looksDated finds a time of day and a year among the words.
func looksDated(words []string) bool {
	clock, year := false, false
	for _, w := range words {
		digits := strings.Trim(w, "0123456789:") == ""
		clock = clock || digits && len(w) >= 4 && strings.Contains(w, ":")
		year = year || digits && len(w) == 4 && (w[:2] == "19" || w[:2] == "20")
	}
	return clock && year
}
