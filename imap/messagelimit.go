package imap

import (
	"errors"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
)

// extMessageLimit: how many messages one command deals with (RFC 9738). nestbox
// needs no such limit, and it leaves clients that don't know of it with a part
// of a large mailbox (§4.1): there is one only where the configuration says so.
// The keys of SEARCH are there in any case. SORT and THREAD have no limit: their
// keys are stored.
var extMessageLimit = extension{
	name: "MESSAGELIMIT", rfc: "RFC 9738",
	caps: []capability{{
		name: "MESSAGELIMIT",
		when: func(s *session) bool { return s.srv.o.MessageLimit > 0 },
		text: func(s *session) string { return "MESSAGELIMIT=" + strconv.Itoa(s.srv.o.MessageLimit) },
	}},
	searchKeys: []searchKey{
		{"UIDAFTER", uidKey(maxUID, func(uid imap.UID) view.Range { return view.Range{Lo: uid + 1, Hi: maxUID} })},
		{"UIDBEFORE", uidKey(1, func(uid imap.UID) view.Range { return view.Range{Lo: 1, Hi: uid - 1} })},
	},
	most: func(s *session) int { return s.srv.o.MessageLimit },
}

// maxUID is the largest that there can be.
const maxUID imap.UID = 1<<32 - 1

// uidKey reads a uniqueid. The last one in its direction matches nothing.
func uidKey(last imap.UID, matches func(uid imap.UID) view.Range) parseKey {
	return func(d *wire.Decoder, _ *searchParser) criterion {
		d.SP()
		uid := imap.UID(d.NzNumber())
		if d.Err() != nil || uid == last {
			return criterion{op: opOr} // of nothing: no
		}
		return inSet(view.Ranges{matches(uid)}.Append(nil))
	}
}

// most is how many messages a command may deal with; 0: any number.
func (s *session) most() int {
	for _, x := range s.srv.tables.extensions {
		if x.most != nil && s.has(x) {
			return x.most(s)
		}
	}
	return 0
}

// limited are the highest of the messages if they are too many, and the response
// code that says so (RFC 9738 §3.1).
func (s *session) limited(ranges view.Ranges) (view.Ranges, string) {
	most := s.most()
	if most == 0 {
		return ranges, ""
	}
	n := s.sel.view.Count(ranges)
	if n <= most {
		return ranges, ""
	}
	ranges = s.sel.view.Slice(ranges, int64(n-most+1), int64(n))
	lowest := uint64(ranges[0].Lo)
	if first := s.sel.view.UIDs(ranges[:1]); len(first) > 0 {
		lowest = uint64(first[0])
	}
	return ranges, codeMessageLimit + " " + strconv.Itoa(most) + " " + strconv.FormatUint(lowest, 10)
}

// withLimit is the reply of a command that dealt with a part: its own code stays
// the tagged one, and EXPUNGEISSUED is that of an OK (RFC 9738 §3.1).
func (s *session) withLimit(code string, rep reply, err error) (reply, error) {
	const text = "only the last messages: there are more than one command deals with"
	if code == "" {
		return rep, err
	}
	if err == nil && rep.code == "" {
		return reply{code: code, text: text}, nil
	}
	s.status("", imap.StatusResponseTypeNo, code, text)
	var e *replyError
	if errors.As(err, &e) && e.code == codeExpungeIssued {
		return reply{code: codeExpungeIssued, text: e.text}, nil
	}
	return rep, err
}
