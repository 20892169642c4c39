package script

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// variables are the names that a transcript has bound.
type variables map[string]string

var holeMark = regexp.MustCompile(`\.\.\.|\$\{[^}]*\}`)

// token is what an unbound name takes: an atom, a number, a tag, a name.
const token = `([^\s()\[\]"<>]+)`

// match compares a response with a pattern, and binds names.
func (v variables) match(pattern, response string) bool {
	var re strings.Builder
	var names []string
	re.WriteString(`(?s)\A`)
	last := 0
	for _, at := range holeMark.FindAllStringIndex(pattern, -1) {
		re.WriteString(regexp.QuoteMeta(pattern[last:at[0]]))
		last = at[1]
		hole := pattern[at[0]:at[1]]
		if hole == skipLines {
			re.WriteString(`.*?`)
			continue
		}
		name := hole[2 : len(hole)-1]
		if value, ok := v[name]; ok {
			re.WriteString(regexp.QuoteMeta(value))
			continue
		}
		names = append(names, name)
		re.WriteString(token)
	}
	re.WriteString(regexp.QuoteMeta(pattern[last:]))
	re.WriteString(`\z`)
	m := regexp.MustCompile(re.String()).FindStringSubmatch(response)
	if m == nil {
		return false
	}
	bound := variables{}
	for i, name := range names {
		if value, ok := bound[name]; ok && value != m[i+1] {
			return false // twice in one line, and not the same
		}
		bound[name] = m[i+1]
	}
	for name, value := range bound {
		v[name] = value
	}
	return true
}

// expand fills in a line of the client.
func (p *player) expand(text string) (string, error) {
	var failed error
	out := holeMark.ReplaceAllStringFunc(text, func(hole string) string {
		if hole == skipLines {
			return hole
		}
		value, err := p.value(hole[2 : len(hole)-1])
		if err != nil {
			failed = err
		}
		return value
	})
	return out, failed
}

func (p *player) value(name string) (string, error) {
	if value, ok := p.vars[name]; ok {
		return value, nil
	}
	if rest, ok := strings.CutPrefix(name, "*"); ok {
		count, text, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		return strings.Repeat(text, max(n, 0)), err
	}
	if file, ok := strings.CutPrefix(name, "len "); ok {
		return strconv.Itoa(len(p.s.files[file])), nil
	}
	if file, ok := strings.CutPrefix(name, "file "); ok {
		return p.s.files[file], nil
	}
	if account, what, ok := strings.Cut(name, "."); ok {
		a, ok := p.accounts[account]
		switch {
		case !ok:
		case what == "login":
			return a.Login, nil
		case what == "password":
			return a.Password, nil
		case what == "plain": // RFC 4616 §2
			return base64.StdEncoding.EncodeToString([]byte("\x00" + a.Login + "\x00" + a.Password)), nil
		}
	}
	return "", fmt.Errorf("${%s} is not bound", name)
}
