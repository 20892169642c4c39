package script

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A Script is a transcript that has been read.
type Script struct {
	Name     string // of the file, without .txt
	Portable bool
	// Elsewhere says why it isn't: what another server lacks or does otherwise.
	Elsewhere string

	Options  map[string]string
	Accounts []string

	raw       bool
	mailboxes []mailbox
	messages  []message
	users     map[int]string // account by connection
	after     []string       // commands of each connection after login
	steps     []step
	files     map[string]string
}

type mailbox struct{ account, name string }

type message struct{ account, mailbox, file, flags, date string }

// A step is one line, with its continuations, of the script.
type step struct {
	line int
	conn int
	kind stepKind
	own  bool // for our server alone
	text string
}

type stepKind byte

const (
	send      stepKind = 'C'
	sendBytes stepKind = 'q'
	receive   stepKind = 'S'
	anyOrder  stepKind = 'U'
)

// skipLines as the text of a receive step is any number of lines.
const skipLines = "..."

// Load reads the transcripts of a folder.
func Load(folder string) ([]*Script, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []*Script
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s, err := Parse(strings.TrimSuffix(filepath.Base(name), ".txt"), data)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Clients returns what the client sends in the transcript, line by line.
func (s *Script) Clients() []string {
	var lines []string
	for _, st := range s.steps {
		if st.kind == send {
			lines = append(lines, st.text)
		}
	}
	return lines
}

var sectionMark = regexp.MustCompile(`^-- (\S+) --$`)

// Parse reads a transcript.
func Parse(name string, data []byte) (*Script, error) {
	s := &Script{Name: name, Options: map[string]string{}, users: map[int]string{}, files: map[string]string{}}
	section, rfc := "", false
	for i, line := range strings.Split(string(bytes.TrimSuffix(data, []byte("\n"))), "\n") {
		if m := sectionMark.FindStringSubmatch(line); m != nil {
			section = m[1]
			if section != "script" {
				s.files[section] = ""
			}
			continue
		}
		var err error
		switch section {
		case "":
			rfc = rfc || strings.HasPrefix(line, "#") && strings.Contains(line, "RFC ")
			err = s.scene(line)
		case "script":
			err = s.step(i+1, line)
		default:
			s.files[section] += strings.TrimSuffix(line, "\r") + "\r\n"
		}
		if err != nil {
			return nil, fmt.Errorf("%s.txt:%d: %w", name, i+1, err)
		}
	}
	if len(s.Accounts) == 0 {
		s.Accounts = []string{"ann"}
	}
	if !rfc {
		return nil, fmt.Errorf("%s.txt: no comment names an RFC", name)
	}
	return s, s.check()
}

// check finds what the scene names and does not have.
func (s *Script) check() error {
	for i := range s.mailboxes {
		if s.mailboxes[i].account == "" {
			s.mailboxes[i].account = s.Accounts[0]
		}
	}
	for i := range s.messages {
		m := &s.messages[i]
		if m.account == "" {
			m.account = s.Accounts[0]
		}
		if _, ok := s.files[m.file]; !ok {
			return fmt.Errorf("%s.txt: no file %s", s.Name, m.file)
		}
	}
	return nil
}

// scene reads a line of the first section.
func (s *Script) scene(line string) error {
	words := fields(line)
	if len(words) == 0 || words[0] == "#" || strings.HasPrefix(words[0], "#") {
		return nil
	}
	account := ""
	args := words[1:]
	if len(args) > 0 && strings.HasPrefix(args[0], "@") {
		account, args = args[0][1:], args[1:]
	}
	args = append(args, "", "", "", "")
	switch words[0] {
	case "portable":
		s.Portable = true
	case "elsewhere":
		_, s.Elsewhere, _ = strings.Cut(line, " ")
	case "raw":
		s.raw = true
	case "option":
		s.Options[args[0]] = args[1]
	case "account":
		s.Accounts = append(s.Accounts, args[0])
	case "mailbox":
		s.mailboxes = append(s.mailboxes, mailbox{account, args[0]})
	case "message":
		m := message{account: account, mailbox: args[0], file: args[1]}
		for _, a := range args[2:] {
			if strings.HasPrefix(a, "(") {
				m.flags = " " + a
			} else if a != "" {
				m.date = " " + a
			}
		}
		s.messages = append(s.messages, m)
	case "user":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		s.users[n] = args[1]
	case "enable":
		s.after = append(s.after, "ENABLE "+strings.Join(words[1:], " "))
	case "selected":
		s.after = append(s.after, "SELECT "+args[0])
	case "examined":
		s.after = append(s.after, "EXAMINE "+args[0])
	default:
		return fmt.Errorf("unknown word %q", words[0])
	}
	return nil
}

// fields splits at spaces outside of quotes and parentheses, and keeps both.
func fields(line string) []string {
	var out []string
	var word strings.Builder
	quoted, depth := false, 0
	for _, r := range line + " " {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ' ' && depth <= 0:
			if word.Len() > 0 {
				out = append(out, word.String())
				word.Reset()
			}
			continue
		}
		word.WriteRune(r)
	}
	return out
}

var stepMark = regexp.MustCompile(`^([CSU])(\d*)(!?)(q?):(?: (.*))?$`)

// step reads a line of the script.
func (s *Script) step(number int, line string) error {
	trimmed := strings.TrimLeft(line, " \t")
	if trimmed == "" || strings.HasPrefix(trimmed, "#") {
		return nil
	}
	if text, ok := strings.CutPrefix(trimmed, "|"); ok {
		if len(s.steps) == 0 {
			return fmt.Errorf("nothing to continue")
		}
		s.steps[len(s.steps)-1].text += "\r\n" + strings.TrimPrefix(text, " ")
		return nil
	}
	m := stepMark.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("not a step: %q", line)
	}
	st := step{line: number, conn: 1, kind: stepKind(m[1][0]), own: m[3] != "", text: m[5]}
	if m[2] != "" {
		st.conn, _ = strconv.Atoi(m[2])
	}
	if m[4] == "q" {
		text, err := strconv.Unquote(m[5])
		if err != nil || st.kind != send {
			return fmt.Errorf("not a Go string: %s", m[5])
		}
		st.kind, st.text = sendBytes, text
	}
	s.steps = append(s.steps, st)
	return nil
}
