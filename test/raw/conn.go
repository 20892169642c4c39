// Package raw is a bare IMAP client connection for tests and measurements.
// It understands only lines, literals and tags, so that it can send what no
// well-behaved client would, and costs so little that the server and not the
// client is what a benchmark measures.
package raw

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Options of Dial.
type Options struct {
	TLS     bool          // implicit TLS; any certificate is accepted
	Timeout time.Duration // longest silence of the server in one command; 0: 30 s
	Buffer  int           // bytes of each of the two buffers; 0: 64 KB
}

// A Conn is one connection. It is used by one goroutine at a time.
type Conn struct {
	net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	tag     int
	timeout time.Duration
	caps    map[string]bool
	bytesIn int64
	line    []byte // kept for the next Read, as is tail
	tail    []byte
	// Greeting is the server's first line.
	Greeting string
}

// A StatusError is a tagged NO or BAD, or a BYE.
type StatusError struct{ Command, Text string }

func (e *StatusError) Error() string { return fmt.Sprintf("%.60s: server said %q", e.Command, e.Text) }

// Dial connects and reads the greeting.
func Dial(addr string, o Options) (*Conn, error) {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Buffer == 0 {
		o.Buffer = 64 << 10
	}
	nc, err := net.DialTimeout("tcp", addr, o.Timeout)
	if err != nil {
		return nil, err
	}
	if o.TLS {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	c := &Conn{Conn: nc, r: bufio.NewReaderSize(nc, o.Buffer), w: bufio.NewWriterSize(nc, o.Buffer), timeout: o.Timeout}
	if err := c.greet(); err != nil {
		return nil, errors.Join(fmt.Errorf("greeting of %s: %w", addr, err), nc.Close())
	}
	return c, nil
}

func (c *Conn) greet() error {
	line, err := c.Read()
	if err != nil {
		return err
	}
	c.Greeting = string(line)
	if !strings.HasPrefix(c.Greeting, "* OK") && !strings.HasPrefix(c.Greeting, "* PREAUTH") {
		return &StatusError{"greeting", c.Greeting}
	}
	c.noteCaps(line)
	return nil
}

// Arm gives the server its full time again.
func (c *Conn) Arm() error { return c.SetDeadline(time.Now().Add(c.timeout)) }

// BytesIn is how much the server has sent.
func (c *Conn) BytesIn() int64 { return c.bytesIn }

// Has reports whether the server announced a capability.
func (c *Conn) Has(capability string) bool { return c.caps[capability] }

// noteCaps remembers a CAPABILITY response or response code.
func (c *Conn) noteCaps(line []byte) {
	_, list, ok := strings.Cut(strings.ToUpper(string(line)), "CAPABILITY ")
	if !ok {
		return
	}
	list, _, _ = strings.Cut(list, "]")
	c.caps = map[string]bool{}
	for _, word := range strings.Fields(list) {
		c.caps[word] = true
	}
}

// Send queues one command and returns its tag. Nothing is sent before Flush.
func (c *Conn) Send(command string) (tag string) {
	c.tag++
	tag = "a" + strconv.Itoa(c.tag)
	_, _ = c.w.WriteString(tag + " " + command + "\r\n") // the error sticks until Flush
	return tag
}

// SendRaw queues bytes as they are.
func (c *Conn) SendRaw(b []byte) { _, _ = c.w.Write(b) }

// Flush sends what is queued.
func (c *Conn) Flush() error {
	if err := c.Arm(); err != nil {
		return err
	}
	return c.w.Flush()
}

// Wait reads until the tagged response of tag and gives the other responses
// to untagged, which may be nil. The error of a NO or BAD is a *StatusError.
func (c *Conn) Wait(tag string, untagged func(line []byte)) error {
	for {
		line, err := c.Read()
		if err != nil {
			return err
		}
		if rest, ok := bytes.CutPrefix(line, []byte(tag+" ")); ok {
			if bytes.HasPrefix(rest, []byte("OK")) {
				c.noteCaps(rest)
				return nil
			}
			return &StatusError{tag, string(rest)}
		}
		if untagged != nil {
			untagged(line)
		}
	}
}

// Do sends one command and waits for it.
func (c *Conn) Do(command string, untagged func(line []byte)) error {
	tag := c.Send(command)
	if err := c.Flush(); err != nil {
		return err
	}
	err := c.Wait(tag, untagged)
	var status *StatusError
	if errors.As(err, &status) {
		status.Command = command
	}
	return err
}

// Login logs in and makes sure that the capabilities are known.
func (c *Conn) Login(user, password string) error {
	if err := c.Do("LOGIN "+Quote(user)+" "+Quote(password), nil); err != nil {
		return err
	}
	if c.caps["IDLE"] {
		return nil
	}
	return c.Do("CAPABILITY", c.noteCaps) // what was announced before login left it out
}

// Logout says goodbye and closes.
func (c *Conn) Logout() error {
	return errors.Join(c.Do("LOGOUT", nil), c.Close())
}

// Select selects a mailbox and returns how many messages it has.
func (c *Conn) Select(mailbox string) (messages int, err error) {
	err = c.Do("SELECT "+Quote(mailbox), func(line []byte) {
		if n, ok := bytes.CutSuffix(line, []byte(" EXISTS")); ok {
			messages, _ = strconv.Atoi(string(bytes.TrimPrefix(n, []byte("* "))))
		}
	})
	return messages, err
}

// Recreate deletes a mailbox, if there, and creates it.
func (c *Conn) Recreate(mailbox string) error {
	var status *StatusError
	if err := c.Do("DELETE "+Quote(mailbox), nil); err != nil && !errors.As(err, &status) {
		return err
	}
	return c.Do("CREATE "+Quote(mailbox), nil)
}

// SendAppend queues one APPEND; args stand between name and literal and end
// in a blank when there are any. Without LITERAL+ it waits for the server's
// continuation.
func (c *Conn) SendAppend(mailbox, args string, message []byte) (tag string, err error) {
	return c.SendLiteral("APPEND "+Quote(mailbox)+" "+args, message)
}

// SendLiteral sends a command that ends with a literal, without waiting for the
// answer.
func (c *Conn) SendLiteral(command string, message []byte) (tag string, err error) {
	sign := ""
	if c.caps["LITERAL+"] || c.caps["LITERAL-"] && len(message) <= 4096 {
		sign = "+"
	}
	tag = c.Send(fmt.Sprintf("%s{%d%s}", command, len(message), sign))
	if sign == "" {
		if err := c.awaitContinue(tag); err != nil {
			return "", err
		}
	}
	if err := c.Arm(); err != nil {
		return "", err
	}
	_, _ = c.w.Write(message)
	_, err = c.w.WriteString("\r\n")
	return tag, err
}

func (c *Conn) awaitContinue(tag string) error {
	if err := c.Flush(); err != nil {
		return err
	}
	for {
		line, err := c.Read()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("+")) {
			return nil
		}
		if bytes.HasPrefix(line, []byte(tag+" ")) {
			return &StatusError{"APPEND", string(line)}
		}
	}
}

// Append appends one message and waits for the server.
func (c *Conn) Append(mailbox, args string, message []byte) error {
	tag, err := c.SendAppend(mailbox, args, message)
	if err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	return c.Wait(tag, nil)
}

// Idle starts IDLE and returns once the server agreed.
func (c *Conn) Idle() (tag string, err error) {
	tag = c.Send("IDLE")
	return tag, c.awaitContinue(tag)
}

// Done ends IDLE.
func (c *Conn) Done(tag string) error {
	c.SendRaw([]byte("DONE\r\n"))
	if err := c.Flush(); err != nil {
		return err
	}
	return c.Wait(tag, nil)
}

// UIDs are those of the selected mailbox.
func (c *Conn) UIDs() (uids []uint32, err error) {
	err = c.Do("UID SEARCH ALL", func(line []byte) {
		if rest, ok := bytes.CutPrefix(line, []byte("* SEARCH")); ok {
			for _, word := range strings.Fields(string(rest)) {
				n, _ := strconv.ParseUint(word, 10, 32)
				uids = append(uids, uint32(n))
			}
		}
	})
	return uids, err
}

// Quote makes a quoted string.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
