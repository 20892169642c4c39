package view

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// model is a view as a plain list.
type model []imap.UID

func (m model) seq(uid imap.UID) Seq {
	i, ok := slices.BinarySearch(m, uid)
	if !ok {
		return 0
	}
	return Seq(i + 1)
}

// check compares all that can be asked of a view with the model.
func check(t *testing.T, v *View, m model, r *rand.Rand) {
	t.Helper()
	if int(v.Messages()) != len(m) {
		t.Fatalf("%d messages, want %d", v.Messages(), len(m))
	}
	if v.UID(0) != 0 || v.UID(v.Messages()+1) != 0 {
		t.Fatal("UIDs beyond the ends")
	}
	for range 50 {
		uid := imap.UID(1 + r.IntN(int(v.Next())+10))
		if got, want := v.Seq(uid), m.seq(uid); got != want || v.Has(uid) != (want != 0) {
			t.Fatalf("Seq(%d) = %d, want %d", uid, got, want)
		}
		if len(m) > 0 {
			i := r.IntN(len(m))
			if got := v.UID(Seq(i + 1)); got != m[i] {
				t.Fatalf("UID(%d) = %d, want %d", i+1, got, m[i])
			}
		}
	}
	if got := v.UIDs(v.All()); !slices.Equal(got, m) {
		t.Fatalf("holds %v, want %v", got, m)
	}
	if n := len(m); n > 0 && v.Last() != m[n-1] || n == 0 && v.Last() != 0 {
		t.Fatalf("Last = %d", v.Last())
	}
}

// TestModel changes a view at random, next to a plain list of UIDs.
func TestModel(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			v := New(storage.Mailbox{UIDNext: 1, HighestModSeq: 1}, nil)
			var m model
			for range 60 {
				step(v, &m, r)
				check(t, v, m, r)
			}
		})
	}
}

func step(v *View, m *model, r *rand.Rand) {
	switch r.IntN(4) {
	case 0, 1: // arrivals, some of a range that is partly gone already
		next := v.Next() + imap.UID(1+r.IntN(3*storage.BlockUIDs/(1+r.IntN(40))))
		keep := r.Float64()
		var uids []imap.UID
		for uid := v.Next(); uid < next; uid++ {
			if r.Float64() < keep {
				uids = append(uids, uid)
			}
		}
		v.Add(uids, next)
		*m = append(*m, uids...)
	case 2: // scattered expunges, unknown UIDs among them
		var gone []imap.UID
		for range r.IntN(200) {
			gone = append(gone, imap.UID(1+r.IntN(int(v.Next())+5)))
		}
		slices.Sort(gone)
		remove(v, m, slices.Compact(gone))
	case 3: // a range goes
		if len(*m) == 0 {
			return
		}
		i := r.IntN(len(*m))
		j := i + r.IntN(len(*m)-i)
		remove(v, m, slices.Clone((*m)[i:j]))
	}
}

func remove(v *View, m *model, gone []imap.UID) {
	v.Remove(gone)
	*m = slices.DeleteFunc(*m, func(uid imap.UID) bool {
		_, ok := slices.BinarySearch(gone, uid)
		return ok
	})
}

// TestSharedBlocks: sessions share the blocks of a snapshot; what one removes,
// the others keep.
func TestSharedBlocks(t *testing.T) {
	blocks := storage.Blocks{storage.Block{}.AddRange(1, 4000), storage.Block{Index: 1}.AddRange(4096, 8191)}
	box := storage.Mailbox{UIDNext: 8192, HighestModSeq: 9}
	a, b := New(box, blocks), New(box, blocks)
	a.Remove([]imap.UID{1, 2, 4096})
	a.Add([]imap.UID{8193}, 8194)
	if a.Messages() != 4000+4096-2 || b.Messages() != 4000+4096 {
		t.Fatalf("a has %d, b has %d", a.Messages(), b.Messages())
	}
	if !b.Has(1) || !b.Has(4096) || b.Has(8193) || blocks.Messages() != 4000+4096 {
		t.Fatal("b saw a's changes")
	}
	if a.Seq(3) != 1 || b.Seq(3) != 3 {
		t.Fatal("wrong numbers")
	}
}

// TestResolve compares sets with what they mean, message by message.
func TestResolve(t *testing.T) {
	uids := []imap.UID{2, 3, 5, 9, 4100, 4101, 9000}
	v := New(storage.Mailbox{UIDNext: 1}, nil)
	v.Add(uids, 9001)
	for _, tt := range []struct {
		set  imap.NumSet
		want []imap.UID
		err  error
	}{
		{set: imap.SeqSet{{Start: 1, Stop: 3}}, want: uids[:3]},
		{set: imap.SeqSet{{Start: 5, Stop: 4}, {Start: 1, Stop: 1}}, want: []imap.UID{2, 9, 4100}},
		{set: imap.SeqSet{{Start: 6, Stop: 0}}, want: []imap.UID{4101, 9000}},
		{set: imap.SeqSet{{Start: 0, Stop: 0}}, want: []imap.UID{9000}},
		{set: imap.SeqSet{{Start: 0, Stop: 6}}, want: []imap.UID{4101, 9000}},
		{set: imap.SeqSet{{Start: 7, Stop: 8}}, err: ErrRange},
		{set: imap.SeqSet{{Start: 8, Stop: 0}}, err: ErrRange},
		{set: imap.UIDSet{{Start: 1, Stop: 4}}, want: []imap.UID{2, 3}},
		{set: imap.UIDSet{{Start: 9000, Stop: 4000}}, want: uids[4:]},
		{set: imap.UIDSet{{Start: 9500, Stop: 0}}, want: []imap.UID{9000}}, // RFC 9051 §6.4.9
		{set: imap.UIDSet{{Start: 9500, Stop: 9600}}},
		{set: imap.UIDSet{{Start: 3, Stop: 3}, {Start: 3, Stop: 5}, {Start: 1, Stop: 2}}, want: uids[:3]},
		{set: imap.UIDSet{{Start: 1, Stop: 1<<32 - 1}}, want: uids},
		{set: imap.UIDSet{{Start: 4, Stop: 4}}},
	} {
		ranges, err := v.Resolve(tt.set)
		if !errors.Is(err, tt.err) {
			t.Errorf("%v: error %v, want %v", tt.set, err, tt.err)
			continue
		}
		if got := v.UIDs(ranges); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.set, got, tt.want)
		}
		if got := v.Count(ranges); got != len(tt.want) {
			t.Errorf("%v: count %d, want %d", tt.set, got, len(tt.want))
		}
	}
	empty := New(storage.Mailbox{UIDNext: 1}, nil)
	if _, err := empty.Resolve(imap.SeqSet{{Start: 1, Stop: 0}}); !errors.Is(err, ErrRange) {
		t.Errorf("1:* of an empty mailbox: %v", err) // RFC 9051 §9, seq-number
	}
	if rs, err := empty.Resolve(imap.UIDSet{{Start: 1, Stop: 0}}); err != nil || len(rs) != 0 {
		t.Errorf("UID 1:* of an empty mailbox: %v, %v", rs, err)
	}
}

// TestCursor walks in batches of any size, while the view changes under it.
func TestCursor(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		v := New(storage.Mailbox{UIDNext: 1}, nil)
		var m model
		for range 6 {
			step(v, &m, r)
		}
		ranges := v.All()
		if len(m) > 4 {
			ranges = Ranges{{m[0], m[len(m)/3]}, {m[len(m)/2], m[len(m)-1] + 3}}
		}
		want := slices.DeleteFunc(slices.Clone(m), func(uid imap.UID) bool { return !ranges.Has(uid) })
		cur := v.Cursor(ranges)
		var got []imap.UID
		batch := make([]imap.UID, 0, 1+r.IntN(700))
		for uids := cur.Next(batch); len(uids) > 0; uids = cur.Next(batch) {
			got = append(got, uids...)
			v.Remove(slices.Clone(uids))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("walked %v, want %v", got, want)
		}
	}
}

// TestRanges compares the operations on ranges with sets.
func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	random := func() Ranges {
		var rs Ranges
		for range r.IntN(6) {
			lo := imap.UID(1 + r.IntN(60))
			rs = append(rs, Range{lo, lo + imap.UID(r.IntN(9))})
		}
		return normal(rs)
	}
	for range 2000 {
		a, b := random(), random()
		var gone []imap.UID
		for uid := imap.UID(1); uid < 80; uid++ {
			if r.IntN(5) == 0 {
				gone = append(gone, uid)
			}
		}
		union, both, rest := a.Union(b), a.Intersect(b), a.Without(gone)
		for uid := imap.UID(1); uid < 80; uid++ {
			_, isGone := slices.BinarySearch(gone, uid)
			if union.Has(uid) != (a.Has(uid) || b.Has(uid)) || both.Has(uid) != (a.Has(uid) && b.Has(uid)) ||
				rest.Has(uid) != (a.Has(uid) && !isGone) {
				t.Fatalf("%v %v without %v at %d: %v %v %v", a, b, gone, uid, union, both, rest)
			}
		}
		for i := 1; i < len(union); i++ {
			if union[i].Lo <= union[i-1].Hi+1 {
				t.Fatalf("%v touches", union)
			}
		}
	}
}

func TestCursors(t *testing.T) {
	v := New(storage.Mailbox{UIDNext: 5, HighestModSeq: 10}, nil)
	v.Advance(20, 14) // an expunge of MODSEQ 15 was withheld
	if v.Head() != 20 || v.Expunged() != 14 {
		t.Fatalf("head %d, expunged %d", v.Head(), v.Expunged())
	}
	v.Advance(20, 20)
	if v.Expunged() != 20 {
		t.Fatalf("expunged %d", v.Expunged())
	}
	v.Advance(19, 30) // never beyond head, never back
	if v.Head() != 20 || v.Expunged() != 20 {
		t.Fatalf("head %d, expunged %d", v.Head(), v.Expunged())
	}
}

func BenchmarkSeq(b *testing.B) {
	v := New(storage.Mailbox{UIDNext: 1}, nil)
	var uids []imap.UID
	for uid := imap.UID(1); uid < 1_000_000; uid++ {
		if uid%7 != 0 {
			uids = append(uids, uid)
		}
	}
	v.Add(uids, 1_000_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if v.Seq(uids[i*7919%len(uids)]) == 0 {
			b.Fatal("not held")
		}
	}
}
