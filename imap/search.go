package imap

import (
	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
)

// SEARCH and UID SEARCH, RFC 9051 §6.4.4 and RFC 3501 §6.4.4. They answer with
// ESEARCH when RETURN was given (RFC 4731) and always in IMAP4rev2.
var cmdSearch = command{name: "SEARCH", state: selected, flags: hasUID | usesSeq | takesSet, parse: parseSearch}

// maxSearchKeys bounds the keys of one SEARCH, and with it how deep they nest.
const maxSearchKeys = 1000

type searchCmd struct {
	program  criterion
	slots    int // of program
	extended bool
	returns  returnSet
	modSeq   bool
	partial  *partialRange // of the result, or nil
	update   *updateWanted // of the result later on, or nil
	charset  error         // NO [BADCHARSET]
	scored   bool          // some key gives a score
	score    uint8         // of the match that each gives
	cut      bool          // to the messages that a command may deal with
}

// A searchParser reads the keys of one SEARCH.
type searchParser struct {
	r     *request
	keys  int // read so far
	slots int // given out
	// modSeq: the highest MODSEQ of the result is part of it.
	modSeq  bool
	charset string // as the command named it, or ""
	// scored: some key gives a score. inString, if any, changes the criterion
	// of a string.
	scored   bool
	inString func(c *criterion)
	// filters are those that are being read, one within the other; checking:
	// they are not looked up.
	filters  []string
	checking bool
	// decode turns a string from the command's charset into UTF-8.
	decode func(s string) (string, bool)
}

func parseSearch(d *wire.Decoder, r *request) runner {
	c := new(searchCmd)
	d.SP()
	c.parseSearch(d, r)
	return c
}

// parseSearch reads [RETURN (...) SP] and the program.
func (c *searchCmd) parseSearch(d *wire.Decoder, r *request) {
	p := &searchParser{r: r, decode: fromUTF8}
	if d.TryWord("RETURN") {
		d.SP()
		c.parseReturns(d, r)
		d.SP()
	}
	c.program, c.charset = p.program(d)
	c.took(d, p)
	d.End()
}

// took takes what was found out while the program was read.
func (c *searchCmd) took(d *wire.Decoder, p *searchParser) {
	c.slots, c.modSeq, c.scored = p.slots, p.modSeq, p.scored
	if c.returns&returnRelevancy != 0 && !c.scored {
		d.FailErr(errNoFuzzy)
	}
}

// program reads [CHARSET charset] and the keys. A charset that is not known is
// no error of syntax: the keys are read all the same.
func (p *searchParser) program(d *wire.Decoder) (criterion, error) {
	var failed error
	if d.TryWord("CHARSET") {
		if p.r.s.utf8Header {
			d.FailErr(bad("no CHARSET after ENABLE: all is UTF-8"))
		}
		d.SP()
		p.charset = d.Astring()
		p.decode, failed = charsetDecoder(p.charset)
		d.SP()
	}
	return p.joined(d), failed
}

// joined reads keys up to the end of the command.
func (p *searchParser) joined(d *wire.Decoder) criterion {
	all := []criterion{p.key(d)}
	for d.Err() == nil && d.TrySP() {
		all = append(all, p.key(d))
	}
	return and(all...)
}

// key reads a search-key.
func (p *searchParser) key(d *wire.Decoder) criterion {
	if p.keys++; p.keys > maxSearchKeys {
		d.FailErr(badCode(imap.ResponseCodeLimit, "more than %d search keys", maxSearchKeys))
		return criterion{}
	}
	switch b := d.Peek(); {
	case b == '(':
		var all []criterion
		d.List(func() { all = append(all, p.key(d)) })
		if len(all) == 0 {
			d.Fail("a search key")
		}
		return and(all...)
	case b >= '0' && b <= '9', b == '*', b == '$':
		p.r.numbers = p.r.numbers || b != '$' // RFC 7162 §3.2.10.2
		return inSet(d.NumSet(false))
	}
	name := d.Word()
	if d.Err() != nil {
		return criterion{}
	}
	key, ok := look(p.r.s, p.r.s.srv.tables.searchKeys, name)
	if !ok {
		d.Fail("a search key")
		return criterion{}
	}
	return key.parse(d, p)
}

// text reads an astring in the charset of the command.
func (p *searchParser) text(d *wire.Decoder) string {
	s, ok := p.decode(d.Astring())
	if !ok {
		d.Fail("a string in the charset of the command")
	}
	return s
}

// slot gives a criterion a place for what is known of a message.
func (p *searchParser) slot() int {
	p.slots++
	return p.slots - 1
}

func (c *searchCmd) run(s *session, r *request) (reply, error) {
	returns := c.returns
	if !c.extended && s.rev2() {
		returns = returnAll
	}
	c.cut = true
	found, err := c.find(s, r, returns)
	if returns&returnSave != 0 {
		// Also when it failed: then "$" is empty (RFC 9051 §6.4.4.1).
		s.sel.saved = found.saved
	}
	if err != nil {
		return reply{}, err
	}
	if returns == 0 && c.update == nil {
		found.writeSearch(s.w)
	} else if returns != returnSave {
		found.writeESearch(s.w, r)
	}
	if c.update != nil {
		c.update.begin(s, r, found, nil)
	}
	return s.withLimit(found.limit, reply{}, nil)
}

func (c *searchCmd) find(s *session, r *request, returns returnSet) (*found, error) {
	res := &found{returns: returns, uid: r.uid, view: s.sel.view, modSeq: c.modSeq}
	if c.partial != nil {
		res.partial = &partialResult{partialRange: *c.partial}
	}
	if c.charset != nil {
		return res, c.charset
	}
	if c.update != nil {
		res.track = true
		if err := c.update.freeze(s, c); err != nil {
			return res, err
		}
	}
	e, err := newSearcher(s, c.program, c.slots)
	if err != nil {
		return res, err
	}
	defer e.free()
	if c.cut {
		e.scope, res.limit = s.limited(e.scope)
	}
	if err := res.collect(e); err != nil {
		return &found{}, err
	}
	return res, nil
}
