package wire

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"
)

// NumSet reads a sequence-set, of UIDs if uid is set. The ranges are in order
// and disjoint, as imap.NumSet wants them: RFC 9051 §9 lets a server coalesce.
//
// "$" (RFC 5182) is imap.SearchRes() in both kinds, and stands alone: a set has
// no way to say "$ and 5", which no client is known to send.
func (d *Decoder) NumSet(uid bool) imap.NumSet {
	if d.TryByte('$') {
		if c := d.Peek(); c == ',' || c == ':' {
			d.Fail(`"$" alone`)
		}
		return imap.SearchRes()
	}
	if uid {
		return imap.UIDSet(ranges(d, func(r *imap.UIDRange, start, stop uint32) {
			r.Start, r.Stop = imap.UID(start), imap.UID(stop)
		}, func(r *imap.UIDRange) (start, stop uint32) { return uint32(r.Start), uint32(r.Stop) }))
	}
	return imap.SeqSet(ranges(d, func(r *imap.SeqRange, start, stop uint32) {
		r.Start, r.Stop = start, stop
	}, func(r *imap.SeqRange) (start, stop uint32) { return r.Start, r.Stop }))
}

// ranges reads what sequence-set is made of, into ranges of either kind.
func ranges[R any](d *Decoder, set func(*R, uint32, uint32), get func(*R) (uint32, uint32)) []R {
	if !d.ready() {
		return nil
	}
	var list []R
	sorted := true
	var last uint32 // the highest number so far; 0 after "*"
	for {
		start := d.seqNumber()
		stop := start
		if d.TryByte(':') {
			stop = d.seqNumber()
		}
		if d.err != nil {
			return nil
		}
		if start == 0 || stop != 0 && stop < start { // "*:4" is 4:*, and 4:2 is 2:4
			start, stop = stop, start
		}
		sorted = sorted && (list == nil || last != 0 && start > last && start-last > 1)
		last = stop
		if list == nil {
			list = make([]R, 0, min(1+d.commas(), maxFirstRanges))
		}
		list = append(list, *new(R))
		set(&list[len(list)-1], start, stop)
		if !d.TryByte(',') {
			break
		}
	}
	if !sorted {
		list = coalesce(list, set, get)
	}
	return list
}

// maxFirstRanges bounds what is allocated before the set is seen to be one.
const maxFirstRanges = 1024

// commas counts the commas in what is left of the sequence-set.
func (d *Decoder) commas() (n int) {
	for _, c := range d.seg[d.pos:] {
		switch {
		case c == ',':
			n++
		case !isDigit(c) && c != ':' && c != '*':
			return n
		}
	}
	return n
}

// coalesce sorts ranges and unites those that touch. A range that ends with
// "*" is open above; "*" alone comes last, and is part of any open range.
func coalesce[R any](list []R, set func(*R, uint32, uint32), get func(*R) (uint32, uint32)) []R {
	const star = 1 << 32 // above every number
	wide := func(r *R) (start, stop uint64) {
		s, e := get(r)
		start, stop = uint64(s), uint64(e)
		if s == 0 {
			start = star
		}
		if e == 0 {
			stop = star
		}
		return start, stop
	}
	slices.SortFunc(list, func(a, b R) int {
		aStart, _ := wide(&a)
		bStart, _ := wide(&b)
		return cmp.Compare(aStart, bStart)
	})
	kept := list[:1]
	for i := 1; i < len(list); i++ {
		top := &kept[len(kept)-1]
		start, stop := wide(top)
		nextStart, nextStop := wide(&list[i])
		// n:4294967295 and "*" stay two: "*" may be less than n.
		if nextStart > stop+1 || nextStart == star && stop != star {
			kept = append(kept, list[i])
			continue
		}
		set(top, uint32(start), uint32(max(stop, nextStop))) // star is 0 in 32 bits
	}
	return kept
}

// seqNumber reads seq-number; "*" is 0.
func (d *Decoder) seqNumber() uint32 {
	if d.TryByte('*') {
		return 0
	}
	if !isDigit(d.Peek()) {
		d.Fail("sequence-set")
	}
	return d.NzNumber()
}

// AppendUIDSet appends ascending UIDs as a uid-set (RFC 4315 §4), as short as
// it can be.
func AppendUIDSet(b []byte, uids []imap.UID) []byte {
	for i := 0; i < len(uids); {
		last := i
		for last+1 < len(uids) && uids[last+1] == uids[last]+1 {
			last++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(uids[i]), 10)
		if last > i {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(uids[last]), 10)
		}
		i = last + 1
	}
	return b
}
