package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// STORE and UID STORE, RFC 9051 §6.4.6.
var cmdStore = command{name: "STORE", state: selected, flags: hasUID | usesSeq | takesSet, parse: parseStore}

// storeSlice is how many messages one request to the storage changes: as many
// as it changes under one MODSEQ. STORE may go in visible slices.
const storeSlice = 2500

type storeCmd struct {
	set    imap.NumSet
	mode   storage.StoreMode
	silent bool
	flags  []imap.Flag
	// unchangedSince: messages changed later are left alone (RFC 7162 §3.1.3).
	unchangedSince storage.ModSeq
	conditional    bool
}

// A storeModifier is one line of the table of STORE modifiers (RFC 4466 §2.5).
// The base protocol has none.
type storeModifier struct {
	name  string // upper case
	parse func(d *wire.Decoder, r *request, c *storeCmd)
}

var storeModes = map[string]storage.StoreMode{
	"FLAGS": storage.StoreReplace, "+FLAGS": storage.StoreAdd, "-FLAGS": storage.StoreRemove,
}

func parseStore(d *wire.Decoder, r *request) runner {
	c := new(storeCmd)
	d.SP()
	c.set = d.NumSet(r.uid)
	d.SP()
	if d.Peek() == '(' {
		d.List(func() {
			modifier, ok := look(r.s, r.s.srv.tables.storeModifiers, d.Word())
			if !ok {
				d.Fail("a STORE modifier")
				return
			}
			modifier.parse(d, r, c)
		})
		d.SP()
	}
	name, silent := strings.CutSuffix(d.Word(), ".SILENT")
	mode, ok := storeModes[name]
	if !ok {
		d.Fail("FLAGS, +FLAGS or -FLAGS")
	}
	c.mode, c.silent = mode, silent
	d.SP()
	if d.Peek() == '(' {
		c.flags = d.FlagList()
	} else {
		c.flags = append(c.flags, d.Flag())
		for d.TrySP() {
			c.flags = append(c.flags, d.Flag())
		}
	}
	d.End()
	return c
}

func (c *storeCmd) run(s *session, r *request) (reply, error) {
	if s.sel.readOnly {
		return reply{}, no(codeReadOnly, "the mailbox was opened with EXAMINE")
	}
	flags, err := permanentFlags(c.flags)
	if err != nil {
		return reply{}, err
	}
	if flags, err = s.mayStore(c.mode, flags); err != nil {
		return reply{}, err
	}
	ranges, err := s.resolve(c.set)
	if err != nil {
		return reply{}, err
	}
	ranges, limit := s.limited(ranges)
	rep, err := c.store(s, r, flags, ranges)
	return s.withLimit(limit, rep, err)
}

// store changes the flags of the messages, a slice at a time.
func (c *storeCmd) store(s *session, r *request, flags []imap.Flag, ranges view.Ranges) (reply, error) {
	req := storage.StoreRequest{Mode: c.mode, Flags: flags, Fixed: s.sel.rights.FixedFlags(), UnchangedSince: c.unchangedSince, HasUnchangedSince: c.conditional}
	missing := 0
	var modified []imap.UID
	cursor := s.sel.view.Cursor(ranges)
	room := make([]imap.UID, 0, min(storeSlice, s.sel.view.Count(ranges)))
	for req.UIDs = cursor.Next(room); len(req.UIDs) > 0; req.UIDs = cursor.Next(room) {
		if err := s.progress(); err != nil {
			return reply{}, err
		}
		res, err := s.sel.account.StoreFlags(s.sel.box.ID, req)
		if err != nil {
			return reply{}, err
		}
		s.told(res.ModSeq)
		c.answer(s, r, &res)
		missing += len(req.UIDs) - len(res.Changed) - len(res.Modified)
		modified = append(modified, res.Modified...)
		if err := s.w.Err(); err != nil {
			return reply{}, err
		}
	}
	code := s.modifiedCode(r, modified)
	if missing > 0 && !r.uid && !c.silent { // RFC 2180 §4.2
		if code == "" {
			code = codeExpungeIssued
		}
		return reply{}, no(imap.ResponseCode(code), "%d of the messages are no longer there", missing)
	}
	return reply{code: code}, nil
}

// mayStore is flags without those that the session has no right to. It is an
// error when none is left of some, or it has no right to any (RFC 4314 §4).
func (s *session) mayStore(mode storage.StoreMode, flags []imap.Flag) ([]imap.Flag, error) {
	may := s.sel.rights.Flags(flags)
	if s.sel.rights&flagRights == 0 || len(may) == 0 && len(flags) > 0 && mode != storage.StoreReplace {
		return nil, no(imap.ResponseCodeNoPerm, "the right to change these flags is missing")
	}
	return may, nil
}

// modifiedCode is the response code MODIFIED, or "" (RFC 7162 §3.1.3). What
// became of these messages, sync tells.
func (s *session) modifiedCode(r *request, modified []imap.UID) string {
	if len(modified) == 0 {
		return ""
	}
	if !r.uid {
		for i, uid := range modified {
			modified[i] = imap.UID(s.sel.view.Seq(uid))
		}
	}
	return string(wire.AppendUIDSet([]byte(codeModified+" "), modified))
}

// permanentFlags is flags without those that no mailbox keeps: a flag outside
// of PERMANENTFLAGS is ignored (RFC 9051 §7.1).
func permanentFlags(flags []imap.Flag) ([]imap.Flag, error) {
	var none storage.Mailbox
	kept := make([]imap.Flag, 0, len(flags))
	for _, flag := range flags {
		switch {
		case flag == "" || len(flag) > maxKeyword:
			return nil, no(imap.ResponseCodeLimit, "a keyword has at most %d characters", maxKeyword)
		case flag[0] != '\\' || none.Bit(flag) != 0:
			kept = append(kept, flag)
		}
	}
	return kept, nil
}

// maxKeyword bounds the length of a keyword.
const maxKeyword = 100

// answer writes the flags as they are now. A silent STORE is answered with them
// only for messages of which another session changed the flags since this client
// was told: it could not know the outcome (RFC 9051 §6.4.6). A client that keeps
// MODSEQs gets the new one always.
func (c *storeCmd) answer(s *session, r *request, res *storage.StoreResult) {
	s.announceKeywords(&res.Mailbox)
	for _, ch := range res.Changed {
		seq := s.sel.view.Seq(ch.UID)
		switch {
		case seq == 0:
		case !c.silent || ch.Was > s.sel.view.Head():
			s.writeFlags(&res.Mailbox, seq, ch, r.uid)
		case s.modSeqs && (c.conditional || ch.Was != ch.ModSeq):
			s.beginFetch(seq, ch.UID)
			if !s.uidOnly {
				s.w.Raw("UID ").Number(uint32(ch.UID)).SP()
			}
			s.writeModSeq(ch.ModSeq)
			s.w.Raw(")").CRLF()
		}
	}
}
