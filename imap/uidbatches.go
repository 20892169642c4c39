package imap

import (
	"nestbox/imap/view"
	"nestbox/imap/wire"
)

// extUIDBatches: ranges of UIDs that cut the selected mailbox into batches of the
// same number of messages, the newest first (RFC 10022).
var extUIDBatches = extension{
	name: "UIDBATCHES", rfc: "RFC 10022", caps: []capability{{name: "UIDBATCHES"}},
	commands: []*command{{name: "UIDBATCHES", state: selected, parse: parseUIDBatches}},
}

const (
	// minBatch is the smallest batch: no server may ask for more, and with less
	// a client could find out sequence numbers (RFC 10022 §3.1.3.2, §3.3).
	minBatch = 500
	// maxBatches bounds one answer.
	maxBatches = 10000
)

type uidBatchesCmd struct {
	size        uint32
	first, last uint32 // batches, from 1; last 0 for all
}

func parseUIDBatches(d *wire.Decoder, _ *request) runner {
	c := &uidBatchesCmd{first: 1}
	d.SP()
	c.size = d.NzNumber()
	if d.TrySP() {
		c.first = d.NzNumber()
		d.Byte(':')
		c.last = d.NzNumber()
		if d.Err() == nil && c.first > c.last {
			d.FailErr(badCode("CLIENTBUG", "the first batch is behind the last"))
		}
	}
	d.End()
	return c
}

// run costs no more than the view has blocks, so that a client may ask as often
// as it likes.
func (c *uidBatchesCmd) run(s *session, r *request) (reply, error) {
	if c.size < minBatch {
		return reply{}, no("TOOFEW", "the smallest batch is %d", minBatch)
	}
	v := s.sel.view
	size, all := int64(c.size), int64(v.Messages())
	batches := (all + size - 1) / size
	first, last := int64(c.first), batches
	if c.last != 0 {
		last = min(last, int64(c.last))
	}
	if last-first >= maxBatches {
		return reply{}, no("TOOMANY", "at most %d batches at once", maxBatches)
	}
	s.w.Raw("* UIDBATCHES (TAG ").String(r.tag).Raw(")")
	for n := first; n <= last; n++ {
		if n == first {
			s.w.SP()
		} else {
			s.w.Byte(',')
		}
		high, low := all-(n-1)*size, all-n*size+1
		s.w.Number(uint32(v.UID(view.Seq(high)))).Byte(':')
		if low <= 1 {
			s.w.Number(1) // the client sees that it is the last (§3.1.4)
			continue
		}
		s.w.Number(uint32(v.UID(view.Seq(low))))
	}
	s.w.CRLF()
	return reply{}, nil
}
