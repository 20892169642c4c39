package imap

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"

	"nestbox/imap/wire"
	"nestbox/storage"
)

type urlFetch struct{ urls []string }

func parseURLFetch(d *wire.Decoder, _ *request) runner {
	c := new(urlFetch)
	for d.SP(); d.Err() == nil; {
		c.urls = append(c.urls, d.Astring())
		if len(c.urls) > maxURLs {
			d.FailErr(bad("more than %d URLs", maxURLs))
		}
		if !d.TrySP() {
			break
		}
	}
	d.End()
	return c
}

// run gives what each URL names, or NIL for one that is not good, for whatever
// reason. Trouble of the machine is told in the end.
func (c *urlFetch) run(s *session, _ *request) (reply, error) {
	var trouble error
	s.w.Raw("* URLFETCH")
	for _, url := range c.urls {
		s.w.SP().String(url).SP()
		content, first, err := s.urlContent(url)
		if err != nil {
			s.w.Raw("NIL")
			var bad *urlError
			if !errors.As(err, &bad) && trouble == nil {
				trouble = err
			}
			continue
		}
		err = s.writeURLContent(content, first)
		content.close()
		if err != nil {
			return reply{}, err
		}
	}
	s.w.CRLF()
	return reply{}, trouble
}

// urlContent opens what a signed URL names, and reads the first of it: what
// can't be read is not announced.
func (s *session) urlContent(url string) (c *urlContent, first []byte, err error) {
	box, u, err := s.checkURL(url)
	if err != nil {
		return nil, nil, err
	}
	if c, err = u.open(box); err != nil {
		return nil, nil, err
	}
	if first, err = c.head(firstPiece); err != nil {
		c.close()
		return nil, nil, err
	}
	return c, first, nil
}

// writeURLContent writes the octets, of which the first are read.
func (s *session) writeURLContent(c *urlContent, first []byte) error {
	if c.size == 0 {
		s.w.Raw(`""`)
		return nil
	}
	s.w.Literal(c.size, false).Bytes(first)
	c.cut(partial{from: int64(len(first)), max: c.size})
	if err := c.copyTo(s.w); err != nil && s.w.Err() == nil {
		return &fatalError{fmt.Errorf("a URL's message in the middle of a literal: %w", err)}
	}
	return s.w.Err()
}

// head is the first octets, n at most.
func (c *urlContent) head(n int64) ([]byte, error) {
	n = min(n, c.size)
	if c.fields != nil {
		return c.fields[c.off : c.off+n], nil
	}
	first := make([]byte, n)
	if k, err := c.blob.ReadAt(first, c.off); k < len(first) {
		if err == nil || err == io.EOF {
			err = storage.ErrCorrupt
		}
		return nil, err
	}
	return first, nil
}

// checkURL looks whether a URL is signed, and good for this session now (RFC
// 4467 §6). It returns the mailbox, as its owner sees it. A token is computed in
// any case, so that time does not tell which mailboxes exist.
func (s *session) checkURL(url string) (*place, *messageURL, error) {
	u, err := parseMessageURL(url)
	if err != nil {
		return nil, nil, noURL("%s", err.Error())
	}
	g, err := u.parseGrant(url)
	if err != nil {
		return nil, nil, noURL("%s", err.Error())
	}
	if !strings.EqualFold(g.mechanism, mechanismURL) || u.hasPartial && !s.has(&extURLPartial) {
		return nil, nil, noURL("it is not signed in a way known here")
	}
	box, key, err := s.ownersMailbox(&u)
	if err != nil {
		return nil, nil, err
	}
	good := key != nil
	if !good {
		key = decoyURLKey()
	}
	token := sign(key, g.rump)
	if subtle.ConstantTimeCompare([]byte(token), []byte(strings.ToLower(g.token))) != 1 || !good {
		return nil, nil, noURL("it is not signed by its owner")
	}
	if !g.expire.IsZero() && s.now().After(g.expire) {
		return nil, nil, noURL("it has expired")
	}
	ok, err := s.mayUse(&g)
	if err == nil && !ok {
		err = noURL("it is not for this login")
	}
	return box, &u, err
}

// ownersMailbox is the mailbox of a URL as the user in it sees it now, and the
// user's key for it (RFC 4467 §7, URLFETCH). The key is nil if there is none.
func (s *session) ownersMailbox(u *messageURL) (*place, []byte, error) {
	info, err := s.srv.o.Store.FindAccount(urlUser(u.server))
	if errors.Is(err, storage.ErrNoAccount) || err == nil && info.Disabled {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	a, err := s.srv.o.Store.Account(info.ID)
	if err != nil {
		return nil, nil, err
	}
	off, _ := s.srv.tables.switchedOff(info.Extensions)
	owner := &session{srv: s.srv, account: a, off: extSet(s.srv.tables.off.Load()) | off}
	box, err := owner.urlMailbox(u)
	if err != nil {
		var none *urlError
		if errors.As(err, &none) {
			err = nil
		}
		return nil, nil, err
	}
	key, err := a.URLKey(box.ID)
	return &box, key, err
}

// mayUse reports whether the URL is meant for this session. Nobody is logged in
// as anonymous here, so that everybody is an authorized user.
func (s *session) mayUse(g *urlGrant) (bool, error) {
	switch g.access {
	case "submit+":
		return s.srv.o.Store.IsURLSubmitter(s.account.ID())
	case "user+":
		info, err := s.srv.o.Store.FindAccount(g.user)
		if errors.Is(err, storage.ErrNoAccount) {
			return false, nil
		}
		return err == nil && info.ID == s.account.ID(), err
	}
	return true, nil
}
