package imap

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extFilters: SEARCH by named criteria, which are entries of the login, or of the
// server (RFC 5466).
var extFilters = extension{
	name: "FILTERS", rfc: "RFC 5466", needs: []*extension{&extMetadata}, caps: []capability{{name: "FILTERS"}},
	searchKeys: []searchKey{{"FILTER", parseFilter}},
	onSetEntry: checkFilter,
}

const (
	privateFilters = "/private/filters/values/"
	sharedFilters  = "/shared/filters/values/"

	// maxFilters is how deep filters may refer to others; RFC 5466 §3.1 wants 3.
	maxFilters = 10
)

// parseFilter reads the name of a filter, and in its place the criteria that it
// stands for. They are one key, as if in parentheses.
func parseFilter(d *wire.Decoder, p *searchParser) criterion {
	d.SP()
	name := d.Atom()
	if strings.ContainsRune(name, '/') {
		d.Fail("the name of a filter")
	}
	if d.Err() != nil || p.checking {
		return criterion{op: opAnd}
	}
	if c := p.charset; c != "" && !strings.EqualFold(c, "UTF-8") && !strings.EqualFold(c, "US-ASCII") {
		d.FailErr(badCode("BADCHARSET (UTF-8 US-ASCII)", "the values of filters are in UTF-8"))
		return criterion{}
	}
	lower := strings.ToLower(name)
	text, ok, err := p.r.s.filter(lower)
	if err != nil {
		d.FailErr(err)
		return criterion{}
	}
	// One that refers to itself doesn't exist (RFC 5466 §3.1).
	if !ok || slices.Contains(p.filters, lower) || len(p.filters) == maxFilters {
		d.FailErr(noFilter(name))
		return criterion{}
	}
	decode := p.decode
	p.filters, p.decode = append(p.filters, lower), fromUTF8
	c, err := p.criteria(text)
	p.filters, p.decode = p.filters[:len(p.filters)-1], decode
	if err != nil {
		var known *replyError
		if !errors.As(err, &known) {
			err = no("", "the filter %s is not a full and correct search criterion", name)
		}
		d.FailErr(err)
	}
	return c
}

func noFilter(name string) error {
	return no(imap.ResponseCode("UNDEFINED-FILTER "+name), "no such filter")
}

// criteria reads search keys from a text.
func (p *searchParser) criteria(text string) (criterion, error) {
	d := wire.NewDecoder(strings.NewReader(text + "\r\n"))
	d.SetContinue(func() error { return nil })
	d.SetLoggedIn(true)
	d.SetUTF8(true)
	if err := d.Next(); err != nil {
		return criterion{}, err
	}
	c := p.joined(d)
	d.End()
	if d.Err() == nil && d.Buffered() > 0 {
		d.Fail("the end of the filter")
	}
	return c, d.Err()
}

// filter is the value of a filter: the login's own, or else the server's.
func (s *session) filter(name string) (text string, ok bool, err error) {
	own, err := s.account.Annotations(storage.MailboxID{}, s.login.Account, func(entry string, _ int) bool { return entry == privateFilters+name })
	if err != nil {
		return "", false, err
	}
	for _, an := range own {
		return string(an.Value), true, nil
	}
	text, ok = s.serverEntries()[sharedFilters+name]
	return text, ok, nil
}

// checkFilter refuses a filter that is no search program (RFC 5466 §3.2). What
// it refers to need not be there yet.
func checkFilter(s *session, mailbox string, an *storage.Annotation) error {
	lower := strings.ToLower(an.Entry)
	name, private := strings.CutPrefix(lower, privateFilters)
	if !private {
		shared := false
		if name, shared = strings.CutPrefix(lower, sharedFilters); !shared {
			return nil
		}
	}
	if mailbox != "" || an.Value == nil {
		return nil
	}
	if strings.ContainsAny(name, `/(){ "\]`) {
		return no(imap.ResponseCodeCannot, "a filter can't have that name")
	}
	p := &searchParser{r: &request{s: s}, decode: fromUTF8, checking: true}
	if _, err := p.criteria(string(an.Value)); err != nil {
		return no(imap.ResponseCodeCannot, "the filter is not a full and correct search criterion: %s", err)
	}
	return nil
}
