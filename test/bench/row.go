package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A row is one line of the table: a figure that each server has.
type row struct {
	key  string
	what string // with its unit
	more bool   // more is better; otherwise less is
	// goal is by which factor nestbox must be ahead of the best Dovecot; 0 for
	// none. limit is what nestbox's own figure must stay below; 0 for none.
	goal, limit float64
	// against names the one server that goal is against, if not the best.
	against string
}

// rows are those of "ahead of Dovecot on every row, in a tenth of its memory".
var rows = []row{
	{key: "append1", what: "APPEND 50 KB, 1 connection, msgs/s", more: true, goal: 1.3},
	{key: "append8", what: "APPEND 50 KB, 8 connections, msgs/s", more: true, goal: 1.5},
	{key: "fill", what: "APPEND of the corpus, pipelined, msgs/s", more: true},
	{key: "select_fresh", what: "SELECT, new connection, ms", goal: 1},
	{key: "select_again", what: "SELECT again, ms", goal: 1},
	{key: "flags", what: "FETCH FLAGS of all, ms", goal: 1.5},
	{key: "envelope_first", what: "FETCH ENVELOPE etc. of all, first, ms", goal: 8},
	{key: "envelope_warm", what: "FETCH ENVELOPE etc. of all, warm, ms", goal: 2.5},
	{key: "structure_first", what: "FETCH BODYSTRUCTURE of all, first, ms", goal: 10},
	{key: "structure_warm", what: "FETCH BODYSTRUCTURE of all, warm, ms", goal: 1.2},
	{key: "fields_first", what: "Thunderbird's header fields, first, ms", goal: 3},
	{key: "fields_warm", what: "Thunderbird's header fields, warm, ms", goal: 1},
	{key: "bodies", what: "full bodies, 1000 messages, MB/s", more: true, goal: 1},
	{key: "store1", what: "STORE one flag, 1 connection, ops/s", more: true, goal: 0.6},
	{key: "store8", what: "STORE one flag, 8 connections, ops/s", more: true, goal: 2},
	{key: "store1", what: "STORE one flag, 1 connection, against maildir", more: true, goal: 3, against: "maildir"},
	{key: "copy", what: "COPY of 1000, ms", goal: 1},
	{key: "move", what: "MOVE of 1000, ms", goal: 1},
	{key: "expunge", what: "EXPUNGE of 1000, ms", goal: 1},
	{key: "search_subject", what: "SEARCH SUBJECT rare word, ms", goal: 2},
	{key: "search_body", what: "SEARCH BODY rare word, ms", goal: 30},
	{key: "search_text", what: "SEARCH TEXT rare word, ms", goal: 30},
	{key: "idle", what: "IDLE: APPEND's OK to the untagged EXISTS, ms", limit: 1},
	{key: "login1", what: "LOGIN, known clients, 1 connection, per s", more: true, goal: 3},
	{key: "login8", what: "LOGIN, known clients, 8 connections, per s", more: true, goal: 3},
	{key: "rest_pss", what: "memory at rest, PSS MB", limit: 12},
	{key: "rest_anon", what: "memory at rest, anonymous MB", limit: 4},
	{key: "idle_tls", what: "an idle TLS connection, KB", limit: 8},
	{key: "idle_tls_used", what: "the same after 64 KB appended each, KB", limit: 8},
	{key: "big_append", what: "extra memory, 50 MB message appended, MB", limit: 3},
	{key: "big_append_anon", what: "of that, anonymous, MB"},
	{key: "big_fetch", what: "extra memory, 50 MB message fetched, MB", limit: 1},
	{key: "big_fetch_anon", what: "of that, anonymous, MB"},
	{key: "disk", what: "disk for the corpus, MB", goal: 1 / 0.62},
	{key: "day", what: "written in 24 h by 10 clients that log in every 5 min, MB", limit: 1},
	{key: "binary", what: "binary, stripped, MB", limit: 15},
}

// samples are one server's figures, by row, one of each round.
type samples map[string][]float64

func (s samples) add(key string, v float64) { s[key] = append(s[key], v) }

// median of a row; ok is false when it was not measured.
func (s samples) median(key string) (v float64, ok bool) {
	if len(s[key]) == 0 {
		return 0, false
	}
	return quantile(s[key], 0.5), true
}

// quantile interpolates between the sorted values.
func quantile(values []float64, q float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return 0
	}
	p := q * float64(len(v)-1)
	i := int(p)
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (v[i+1]-v[i])*(p-float64(i))
}

// cpuSuffix marks the samples of the server's processor time in a row.
const cpuSuffix = "/cpu"

// cpuRows are the rows again by the milliseconds that the server worked for
// one operation. On a machine with other work they are steadier than the time
// that passed. Processes that ended meanwhile, as Dovecot's after a LOGIN, are
// not in it.
func cpuRows() (all []row) {
	for _, r := range rows {
		if r.against == "" {
			what := r.what[:max(strings.LastIndex(r.what, ", "), 0)]
			all = append(all, row{key: r.key + cpuSuffix, what: what + ": ms of the processor"})
		}
	}
	return all
}

// A verdict is how nestbox stands in one row.
type verdict struct {
	ratio    float64 // ahead of the other by this factor; NaN without another
	goal     string  // "1.3x", "< 12", or nothing
	reached  bool
	measured bool
}

func (r row) judge(all map[string]samples) (v verdict) {
	v.ratio = math.NaN()
	own, ok := all["nestbox"].median(r.key)
	if !ok {
		return v
	}
	v.measured, v.reached = true, true
	if other, ok := r.rival(all); ok {
		v.ratio = ahead(own, other, r.more)
	}
	if r.goal > 0 {
		v.goal = strconv.FormatFloat(r.goal, 'g', 3, 64) + "x"
		v.reached = !math.IsNaN(v.ratio) && v.ratio >= r.goal
	}
	if r.limit > 0 {
		v.goal = "< " + strconv.FormatFloat(r.limit, 'g', 3, 64)
		v.reached = own < r.limit
	}
	return v
}

// rival is the figure that nestbox is compared with.
func (r row) rival(all map[string]samples) (best float64, ok bool) {
	for name, s := range all {
		v, measured := s.median(r.key)
		if name == "nestbox" || !measured || r.against != "" && name != r.against {
			continue
		}
		if !ok || r.more == (v > best) {
			best, ok = v, true
		}
	}
	return best, ok
}

// ahead is by which factor own is better than other. Figures next to nothing
// count as a hundredth.
func ahead(own, other float64, more bool) float64 {
	own, other = max(own, 0.01), max(other, 0.01)
	if more {
		return own / other
	}
	return other / own
}

// printTable writes the table in Markdown.
func printTable(w io.Writer, rows []row, names []string, all map[string]samples) error {
	line := func(cells ...string) error {
		_, err := fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		return err
	}
	head := append(append([]string{""}, names...), "ahead", "goal", "")
	if err := line(head...); err != nil {
		return err
	}
	if err := line(slices.Repeat([]string{"---"}, len(head))...); err != nil {
		return err
	}
	for _, r := range rows {
		cells, any := []string{r.what}, false
		for _, name := range names {
			v, ok := all[name].median(r.key)
			any = any || ok
			cells = append(cells, figure(v, ok && (r.against == "" || name == r.against || name == "nestbox")))
		}
		if !any {
			continue
		}
		v := r.judge(all)
		if err := line(append(cells, v.cells()...)...); err != nil {
			return err
		}
	}
	return nil
}

func (v verdict) cells() []string {
	ratio, word := "", ""
	if !math.IsNaN(v.ratio) {
		ratio = strconv.FormatFloat(v.ratio, 'f', 2, 64) + "x"
	}
	if v.measured && v.goal != "" {
		word = "lost"
		if v.reached {
			word = "won"
		}
	}
	return []string{ratio, v.goal, word}
}

func figure(v float64, ok bool) string {
	switch {
	case !ok:
		return ""
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case math.Abs(v) >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
