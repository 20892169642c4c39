package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
)

// tomlValue takes a value as it stands in the file, whatever it is.
type tomlValue struct{ raw any }

var errLine = errors.New("only to learn the line")

// UnmarshalTOML keeps the value and fails: the library tells the line of a
// key only in an error.
func (v *tomlValue) UnmarshalTOML(raw any) error {
	v.raw = raw
	return errLine
}

func (l *loader) toml(path, text string) {
	var top map[string]toml.Primitive
	meta, err := toml.Decode(text, &top)
	if err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			l.problem(fmt.Sprintf("%s:%d", path, at.Position.Line), "%s", at.Message)
			return
		}
		l.problem(path, "%v", err)
		return
	}
	type entry struct {
		key  string
		raw  any
		line int
	}
	entries := make([]entry, 0, len(top))
	for key, p := range top {
		var v tomlValue
		e := entry{key: key}
		var at toml.ParseError
		if errors.As(meta.PrimitiveDecode(p, &v), &at) {
			e.line = at.Position.Line
		}
		e.raw = v.raw
		entries = append(entries, e)
	}
	sort.Slice(entries, func(i, j int) bool {
		if entries[i].line != entries[j].line {
			return entries[i].line < entries[j].line
		}
		return entries[i].key < entries[j].key
	})
	for _, e := range entries {
		where := path
		if e.line > 0 {
			where = fmt.Sprintf("%s:%d", path, e.line)
		}
		if _, ok := e.raw.(map[string]any); ok && l.fields[e.key].key.Name == "" && household[e.key] == nil {
			l.problem(where, "unknown table [%s]; all keys stand at the top level", e.key)
			continue
		}
		l.set(FromFile, where, e.key, e.raw)
	}
}

// unknownKey says so, and which key may have been meant.
func unknownKey(key string) error {
	best, distance := "", 1+max(2, len(key)/3)
	for _, k := range append(Keys(), HouseholdKeys()...) {
		if d := editDistance(strings.ToLower(key), k.Name); d < distance {
			best, distance = k.Name, d
		}
	}
	if best == "" {
		return fmt.Errorf("unknown key %.60q", key)
	}
	return fmt.Errorf("unknown key %.60q; did you mean %q?", key, best)
}

// editDistance counts the letters to insert, delete, replace, or swap with a
// neighbour, to make b of a. Very long names are no typing error.
func editDistance(a, b string) int {
	if len(a) > 100 {
		return len(a)
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		older, last, row := rows[(i-1)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
