package script

import (
	"bufio"
	"fmt"
	"strings"
)

// scene makes accounts, mailboxes and messages, over IMAP as any client would.
func (p *player) scene() error {
	for _, name := range p.s.Accounts {
		a, err := p.t.Account(name)
		if err != nil {
			return err
		}
		p.accounts[name] = a
	}
	for _, name := range p.s.Accounts {
		if err := p.furnish(name); err != nil {
			return err
		}
	}
	p.log = nil
	return nil
}

// furnish puts mailboxes and messages into one account.
func (p *player) furnish(account string) error {
	var c *conn
	do := func(command string) error {
		if c == nil {
			var err error
			if c, err = p.dial(0); err != nil {
				return err
			}
			if err := p.login(c, account); err != nil {
				return err
			}
		}
		return p.do(c, command)
	}
	for _, m := range p.s.mailboxes {
		if m.account == account {
			if err := do("CREATE " + m.name); err != nil {
				return err
			}
		}
	}
	for _, m := range p.s.messages {
		if m.account != account {
			continue
		}
		file := p.s.files[m.file]
		head := fmt.Sprintf("APPEND %s%s%s {%d}", m.mailbox, m.flags, m.date, len(file))
		if err := do(head + "\r\n" + file); err != nil {
			return err
		}
	}
	if c != nil {
		return c.Close()
	}
	return nil
}

// dial opens a connection and reads the greeting, unless the transcript does.
func (p *player) dial(number int) (*conn, error) {
	nc, err := p.t.Dial()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, number: number, r: bufio.NewReader(nc)}
	if number == 0 || !p.s.raw {
		greeting, err := p.read(c)
		if err != nil || !strings.HasPrefix(greeting, "* OK ") {
			_ = nc.Close()
			return nil, fmt.Errorf("greeting %q: %v", greeting, err)
		}
	}
	return c, nil
}

// conn is a connection of the transcript, opened at its first use.
func (p *player) conn(number int) (*conn, error) {
	if c := p.conns[number]; c != nil {
		return c, nil
	}
	c, err := p.dial(number)
	if err != nil {
		return nil, err
	}
	p.conns[number] = c
	if p.s.raw {
		return c, nil
	}
	account := p.s.users[number]
	if account == "" {
		account = p.s.Accounts[0]
	}
	if err := p.login(c, account); err != nil {
		return nil, err
	}
	for _, command := range p.s.after {
		if err := p.do(c, command); err != nil {
			return nil, err
		}
	}
	p.log = append(p.log, fmt.Sprintf("\t(connection %d is ready)", number))
	return c, nil
}

func (p *player) login(c *conn, account string) error {
	a, ok := p.accounts[account]
	if !ok {
		return fmt.Errorf("no account %s", account)
	}
	return p.do(c, fmt.Sprintf("LOGIN %q %q", a.Login, a.Password))
}

// do sends a command, with a literal perhaps, and wants it to succeed.
func (p *player) do(c *conn, command string) error {
	head, literal, has := strings.Cut(command, "}\r\n")
	if has {
		head += "}"
	}
	p.note('C', c.number, "scene "+head)
	if err := c.write("scene "+head+"\r\n", p.patience()); err != nil {
		return err
	}
	for {
		text, err := p.read(c)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(text, "+") && has:
			if err := c.write(literal+"\r\n", p.patience()); err != nil {
				return err
			}
		case strings.HasPrefix(text, "scene OK"):
			return nil
		case strings.HasPrefix(text, "scene ") || strings.HasPrefix(text, "* BYE"):
			return fmt.Errorf("%s: %s", head, text)
		}
	}
}
