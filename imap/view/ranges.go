package view

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// A Range is the UIDs from Lo to Hi. Not each of them need exist.
type Range struct{ Lo, Hi imap.UID }

// Ranges are ascending and don't touch.
type Ranges []Range

// Has reports whether uid is in rs.
func (rs Ranges) Has(uid imap.UID) bool {
	i, ok := slices.BinarySearchFunc(rs, uid, func(r Range, uid imap.UID) int {
		switch {
		case r.Hi < uid:
			return -1
		case r.Lo > uid:
			return 1
		}
		return 0
	})
	return ok && i < len(rs)
}

// RangesOf makes Ranges of ascending UIDs; runs of neighbours become one.
func RangesOf(uids []imap.UID) Ranges {
	var rs Ranges
	for _, uid := range uids {
		if n := len(rs); n > 0 && rs[n-1].Hi+1 == uid {
			rs[n-1].Hi = uid
		} else {
			rs = append(rs, Range{uid, uid})
		}
	}
	return rs
}

// Append appends rs to dst, for printing.
func (rs Ranges) Append(dst imap.UIDSet) imap.UIDSet {
	for _, r := range rs {
		dst = append(dst, imap.UIDRange{Start: r.Lo, Stop: r.Hi})
	}
	return dst
}

// Union is what is in rs, in o, or in both.
func (rs Ranges) Union(o Ranges) Ranges {
	return normal(append(slices.Clone(rs), o...))
}

// Intersect is what is in both.
func (rs Ranges) Intersect(o Ranges) Ranges {
	var both Ranges
	for len(rs) > 0 && len(o) > 0 {
		if lo, hi := max(rs[0].Lo, o[0].Lo), min(rs[0].Hi, o[0].Hi); lo <= hi {
			both = append(both, Range{lo, hi})
		}
		if rs[0].Hi < o[0].Hi {
			rs = rs[1:]
		} else {
			o = o[1:]
		}
	}
	return both
}

// Without is rs without the given UIDs, which are ascending.
func (rs Ranges) Without(uids []imap.UID) Ranges {
	if len(rs) == 0 {
		return nil
	}
	var out Ranges
	for _, r := range rs {
		i, _ := slices.BinarySearch(uids, r.Lo)
		for ; i < len(uids) && uids[i] <= r.Hi; i++ {
			if uids[i] > r.Lo {
				out = append(out, Range{r.Lo, uids[i] - 1})
			}
			r.Lo = uids[i] + 1
		}
		if r.Lo <= r.Hi {
			out = append(out, r)
		}
	}
	return out
}

// normal sorts and merges rs in place.
func normal(rs Ranges) Ranges {
	slices.SortFunc(rs, func(a, b Range) int {
		if a.Lo != b.Lo {
			if a.Lo < b.Lo {
				return -1
			}
			return 1
		}
		return 0
	})
	out := rs[:0]
	for _, r := range rs {
		if n := len(out); n > 0 && r.Lo-1 <= out[n-1].Hi {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// Resolve turns a set of sequence numbers or UIDs into ranges of UIDs of the
// view. "*" is the last message. A sequence number beyond the view, or any in
// an empty one, is ErrRange; a UID that the view doesn't hold is nothing
// (RFC 9051 §6.4.9). "$" is the session's to replace before it comes here.
func (v *View) Resolve(set imap.NumSet) (Ranges, error) {
	switch set := set.(type) {
	case imap.SeqSet:
		return v.resolveSeq(set)
	case imap.UIDSet:
		return v.resolveUID(set), nil
	}
	return nil, nil
}

func (v *View) resolveSeq(set imap.SeqSet) (Ranges, error) {
	last := uint32(v.Messages())
	rs := make(Ranges, 0, len(set))
	for _, r := range set {
		lo, hi := r.Start, r.Stop
		if lo == 0 { // "*"
			lo = last
		}
		if hi == 0 {
			hi = last
		}
		if lo > hi {
			lo, hi = hi, lo
		}
		if lo == 0 || hi > last {
			return nil, ErrRange
		}
		rs = append(rs, Range{v.UID(Seq(lo)), v.UID(Seq(hi))})
	}
	return normal(rs), nil
}

func (v *View) resolveUID(set imap.UIDSet) Ranges {
	last := v.Last()
	if last == 0 {
		return nil
	}
	rs := make(Ranges, 0, len(set))
	for _, r := range set {
		lo, hi := r.Start, r.Stop
		if lo == 0 {
			lo = last
		}
		if hi == 0 {
			hi = last
		}
		if lo > hi { // "500:*" in a mailbox whose last UID is 400 holds 400
			lo, hi = hi, lo
		}
		if lo > last {
			continue
		}
		rs = append(rs, Range{lo, min(hi, last)})
	}
	return normal(rs)
}

// All is the range of the whole view.
func (v *View) All() Ranges {
	if v.Messages() == 0 {
		return nil
	}
	return Ranges{{v.UID(1), v.Last()}}
}

// Count is how many messages of the view lie in rs.
func (v *View) Count(rs Ranges) int {
	n := 0
	for _, r := range rs {
		n += int(v.rank(r.Hi)) - int(v.rank(r.Lo-1))
	}
	return n
}

// Slice are the messages from the lo-th to the hi-th, from 1, of those in rs.
func (v *View) Slice(rs Ranges, lo, hi int64) Ranges {
	var out Ranges
	for _, r := range rs {
		before := int64(v.rank(r.Lo - 1))
		n := int64(v.rank(r.Hi)) - before
		if a, b := max(lo, 1), min(hi, n); a <= b {
			out = append(out, Range{v.UID(Seq(before + a)), v.UID(Seq(before + b))})
		}
		lo, hi = lo-n, hi-n
	}
	return out
}

// UIDs are the messages of the view that lie in rs.
func (v *View) UIDs(rs Ranges) []imap.UID {
	n := v.Count(rs)
	if n == 0 {
		return nil
	}
	c := Cursor{v: *v, ranges: rs}
	return c.Next(make([]imap.UID, 0, n))
}

// Gaps are the UIDs of rs that the view doesn't hold.
func (v *View) Gaps(rs Ranges) Ranges {
	var out Ranges
	for _, r := range rs {
		lo := r.Lo
		for i, _ := v.find(lo); i < len(v.blocks) && v.blocks[i].First() <= r.Hi; i++ {
			var held [storage.BlockUIDs]imap.UID
			for _, uid := range v.blocks[i].Append(held[:0], r.Lo, r.Hi) {
				if uid > lo {
					out = append(out, Range{lo, uid - 1})
				}
				lo = uid + 1
			}
		}
		if lo != 0 && lo <= r.Hi {
			out = append(out, Range{lo, r.Hi})
		}
	}
	return out
}

// rank counts the messages up to uid.
func (v *View) rank(uid imap.UID) Seq {
	i, ok := v.find(uid)
	n := v.before[i]
	if ok {
		n += Seq(v.blocks[i].Rank(uid))
		if v.blocks[i].Has(uid) {
			n++
		}
	}
	return n
}

// A Cursor walks the messages of the view in some ranges. It isn't disturbed by
// changes of the view.
type Cursor struct {
	v      View
	ranges Ranges
	at     imap.UID // where to go on in ranges[0]; 0: at its Lo
}

// Cursor starts a walk.
func (v *View) Cursor(rs Ranges) Cursor {
	c := Cursor{v: *v, ranges: rs}
	v.shared = true // the cursor reads these blocks: change a copy
	return c
}

// Next appends the next UIDs in ascending order while dst has room. No more
// than it was given means the end.
func (c *Cursor) Next(dst []imap.UID) []imap.UID {
	for len(c.ranges) > 0 && len(dst) < cap(dst) {
		r := c.ranges[0]
		if c.at > r.Lo {
			r.Lo = c.at
		}
		i, _ := c.v.find(r.Lo)
		for ; i < len(c.v.blocks) && len(dst) < cap(dst); i++ {
			if c.v.blocks[i].First() > r.Hi {
				break
			}
			dst = c.v.blocks[i].Append(dst, r.Lo, r.Hi)
		}
		if len(dst) == cap(dst) && dst[len(dst)-1] < r.Hi {
			c.at = dst[len(dst)-1] + 1
			return dst
		}
		c.ranges, c.at = c.ranges[1:], 0
	}
	return dst
}
