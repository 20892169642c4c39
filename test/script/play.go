package script

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Target is a server to play at.
type Target struct {
	// Dial opens a connection.
	Dial func() (net.Conn, error)
	// Account makes an account, or hands out one that nobody used, with an
	// empty INBOX.
	Account func(name string) (Account, error)
	// Other is set for a server that is not nestbox.
	Other bool
	// Patience is how long a line may take, 10 s if zero.
	Patience time.Duration
}

// An Account is how to log in.
type Account struct{ Login, Password string }

// A player plays one Script at one Target.
type player struct {
	s        *Script
	t        *Target
	vars     variables
	accounts map[string]Account
	conns    map[int]*conn
	log      []string // the conversation so far
}

// Play plays the transcript. Its error tells the line and the conversation.
func (s *Script) Play(t *Target) error {
	p := &player{s: s, t: t, vars: variables{}, accounts: map[string]Account{}, conns: map[int]*conn{}}
	defer p.close()
	if err := p.scene(); err != nil {
		return fmt.Errorf("%s.txt: scene: %w\n%s", s.Name, err, p.conversation())
	}
	steps := slices.DeleteFunc(slices.Clone(s.steps), func(st step) bool { return st.own && t.Other })
	for len(steps) > 0 {
		n, err := p.step(steps)
		if err != nil {
			return fmt.Errorf("%s.txt:%d: %w\n%s", s.Name, steps[0].line, err, p.conversation())
		}
		steps = steps[n:]
	}
	if err := p.logout(); err != nil {
		return fmt.Errorf("%s.txt: at the end: %w\n%s", s.Name, err, p.conversation())
	}
	return nil
}

// conversation is its last lines.
func (p *player) conversation() string {
	return strings.Join(p.log[max(0, len(p.log)-20):], "\n")
}

func (p *player) note(who byte, conn int, text string) {
	if len(text) > 600 {
		text = text[:600] + "[...]"
	}
	p.log = append(p.log, fmt.Sprintf("\t%c%d: %s", who, conn, strings.ReplaceAll(text, "\r\n", "\n\t  | ")))
}

// step plays one step, or several that belong together, and says how many.
func (p *player) step(steps []step) (int, error) {
	c, err := p.conn(steps[0].conn)
	if err != nil {
		return 0, err
	}
	same := 1
	for same < len(steps) && steps[same].conn == steps[0].conn && sort(steps[same].kind) == sort(steps[0].kind) {
		same++
	}
	switch sort(steps[0].kind) {
	case send:
		return same, p.send(c, steps[:same])
	case anyOrder:
		return same, p.anyOrder(c, steps[:same])
	}
	if steps[0].text == skipLines && same > 1 {
		return 2, p.skipTo(c, steps[1])
	}
	return 1, p.expect(c, steps[0])
}

// sort is the kind as it matters for what belongs together.
func sort(k stepKind) stepKind {
	if k == sendBytes {
		return send
	}
	return k
}

// send writes lines in one piece, as a client that pipelines does.
func (p *player) send(c *conn, steps []step) error {
	var out strings.Builder
	for _, st := range steps {
		if st.kind == sendBytes {
			p.note('C', st.conn, strconv.Quote(st.text))
			out.WriteString(st.text)
			continue
		}
		p.note('C', st.conn, st.text)
		switch st.text {
		case "<close>", "<starttls>":
			if err := c.write(out.String(), p.patience()); err != nil {
				return err
			}
			out.Reset()
			if st.text == "<close>" {
				c.closed = true
				return c.Close()
			}
			if err := c.startTLS(p.patience()); err != nil {
				return err
			}
			continue
		}
		line, err := p.expand(st.text)
		if err != nil {
			return err
		}
		out.WriteString(line + "\r\n")
	}
	return c.write(out.String(), p.patience())
}

func (p *player) read(c *conn) (string, error) {
	text, err := c.response(p.patience())
	if err != nil {
		p.note('!', c.number, err.Error())
		return "", err
	}
	p.note('S', c.number, text)
	return text, nil
}

func (p *player) expect(c *conn, st step) error {
	text, err := p.read(c)
	if st.text == "<eof>" {
		if err == nil {
			return fmt.Errorf("want the end of the connection, got %q", text)
		}
		c.closed = true
		if errors.Is(err, io.EOF) || isReset(err) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if !p.vars.match(st.text, text) {
		return fmt.Errorf("want %q\n\t   got %q", st.text, text)
	}
	return nil
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// skipTo reads until a response matches.
func (p *player) skipTo(c *conn, st step) error {
	if st.text == "<eof>" {
		for {
			if _, err := p.read(c); err != nil {
				c.closed = true
				return nil
			}
		}
	}
	for {
		text, err := p.read(c)
		if err != nil {
			return fmt.Errorf("looking for %q: %w", st.text, err)
		}
		if p.vars.match(st.text, text) {
			return nil
		}
		if completes(text) {
			return fmt.Errorf("want %q before the end of the command, got %q", st.text, text)
		}
	}
}

// completes reports whether a response is a tagged one.
func completes(text string) bool {
	return !strings.HasPrefix(text, "* ") && !strings.HasPrefix(text, "+")
}

// anyOrder reads as many responses as there are steps, in any order.
func (p *player) anyOrder(c *conn, steps []step) error {
	left := slices.Clone(steps)
	for len(left) > 0 {
		text, err := p.read(c)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(left, func(st step) bool { return p.vars.match(st.text, text) })
		if i < 0 {
			return fmt.Errorf("none of %d lines wanted here is %q; the first of them: %q", len(left), text, left[0].text)
		}
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

// logout ends the connections that the transcript left open.
func (p *player) logout() error {
	numbers := make([]int, 0, len(p.conns))
	for n := range p.conns {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		c := p.conns[n]
		if c.closed {
			continue
		}
		if err := p.send(c, []step{{conn: n, kind: send, text: "end-of-script LOGOUT"}}); err != nil {
			return err
		}
		for _, want := range []string{"* BYE ...", "end-of-script OK ..."} {
			if err := p.expect(c, step{text: want}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *player) close() {
	for _, c := range p.conns {
		_ = c.Close() // the transcript is over
	}
}

func (p *player) patience() time.Duration {
	if p.t.Patience > 0 {
		return p.t.Patience
	}
	return 10 * time.Second
}

// A conn is a connection of the client.
type conn struct {
	net.Conn
	number int
	r      *bufio.Reader
	closed bool
}

func (c *conn) write(text string, patience time.Duration) error {
	if text == "" {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(patience)) // fails only on a closed connection
	_, err := io.WriteString(c, text)
	return err
}

var literalMark = regexp.MustCompile(`\{(\d+)\}\r\n\z`)

// response reads a response with its literals, without the last CRLF.
func (c *conn) response(patience time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience)) // fails only on a closed connection
	var text strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		text.WriteString(line)
		if err != nil {
			if err == io.EOF && text.Len() > 0 {
				return "", fmt.Errorf("%q is cut off", text.String())
			}
			return "", err
		}
		if !strings.HasSuffix(line, "\r\n") {
			return "", fmt.Errorf("%q ends without CR", line)
		}
		m := literalMark.FindStringSubmatch(line)
		if m == nil {
			return strings.TrimSuffix(text.String(), "\r\n"), nil
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return "", err
		}
		if _, err := io.CopyN(&text, c.r, n); err != nil {
			return "", err
		}
	}
}

// startTLS begins TLS. Whose certificate it is does not matter here.
func (c *conn) startTLS(patience time.Duration) error {
	t := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	_ = c.SetDeadline(time.Now().Add(patience)) // fails only on a closed connection
	if err := t.Handshake(); err != nil {
		return err
	}
	c.Conn, c.r = t, bufio.NewReader(t)
	return nil
}
