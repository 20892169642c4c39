package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Which row counts, when there are several of a message (mailbox, UID):
//
//   - A UID is never given again, so that all of them are the message's, and
//     the one with the highest MODSEQ is the newest. An expunge raises it too.
//   - A doubtful row (rank 1, salvage_walk.go) of a bucket that was read in
//     full counts only if its MODSEQ is above all that the state knows.
//   - Of a bucket with holes it counts if the state's UID blocks have the UID;
//     if these have holes too, unless a tombstone is newer.
//   - A flag change in flags.journal counts if its MODSEQ is higher.
//
// Of a mailbox the row with the highest HIGHESTMODSEQ counts; a doubtful one,
// if not all mailboxes could be read or it is newer than the state.

// A foundRow is the row that counts.
type foundRow struct {
	Row
	space Space
	rank  byte
	kept  bool
	why   keptReason
}

// stateModSeq is the last MODSEQ of the state that was walked.
func (x *salvageIndex) stateModSeq() ModSeq {
	if v := x.meta["modseq"]; len(v) == 8 {
		return ModSeq(binary.LittleEndian.Uint64(v))
	}
	return 0
}

func (x *salvageIndex) whole(kind string) bool {
	return x.state != nil && x.state.whole(kind) && x.spoilt[kind] == 0
}

// accepts decides about a doubtful row.
func (x *salvageIndex) accepts(r *foundRow) bool {
	if r.rank == 0 || r.ModSeq > x.stateModSeq() {
		return true
	}
	kind := kindRows
	if r.kept {
		kind = string(bucketKept)
	}
	if x.whole(kind) {
		return false
	}
	if !r.kept && x.whole(string(bucketBlocks)) {
		b, ok := x.blocks[blockKey{r.space, BlockIndex(r.UID)}]
		return ok && b.Has(r.UID)
	}
	if r.kept {
		return true
	}
	return !x.tombstone(goneRange{r.space, r.UID, r.UID, r.ModSeq})
}

// tombstone reports whether one of these UIDs was expunged later.
func (x *salvageIndex) tombstone(r goneRange) bool {
	return slices.ContainsFunc(x.gone, func(g goneRange) bool {
		return g.space == r.space && g.lo <= r.hi && r.lo <= g.hi && g.at > r.at
	})
}

// parseRow reads a record of the table of rows.
func parseRow(rec []byte) (r foundRow, err error) {
	be := binary.BigEndian
	uid := imap.UID(be.Uint32(rec[4:]))
	v := rec[19 : 19+int(rec[18])]
	r = foundRow{space: Space(be.Uint32(rec)), rank: rec[16], kept: rec[17] != 0}
	if r.Row, err = decodeRow(uid, v); err == nil && r.kept && len(v) > keptBytes {
		r.why = keptReason(v[keptBytes])
	}
	return r, err
}

// eachRow calls fn with the row that counts of each message of a space, by UID.
func (x *salvageIndex) eachRow(space Space, fn func(r *foundRow) error) (err error) {
	var best *foundRow
	flush := func() {
		if best != nil && err == nil {
			if err = x.ctx.Err(); err == nil {
				err = fn(best)
			}
		}
		best = nil
	}
	ferr := x.rows.from(keyUID(space, 0)[:4], func(rec []byte) bool {
		r, perr := parseRow(rec)
		if perr != nil {
			return true
		}
		if r.space != space {
			return false
		}
		if best != nil && best.UID != r.UID {
			flush()
		}
		// Of one UID the highest MODSEQ comes last.
		if err == nil && x.accepts(&r) {
			best = &r
		}
		return err == nil
	})
	flush()
	if err != nil {
		return err
	}
	return ferr
}

// spaces lists all spaces of which there are rows or UID blocks.
func (x *salvageIndex) spaces() (all []Space, err error) {
	for next := uint64(0); next < 1<<32; {
		found := false
		err := x.rows.from(binary.BigEndian.AppendUint32(nil, uint32(next)), func(rec []byte) bool {
			s := Space(binary.BigEndian.Uint32(rec))
			all, found, next = append(all, s), true, uint64(s)+1
			return false
		})
		if err != nil {
			return nil, err
		}
		if !found {
			break
		}
	}
	for k := range x.blocks {
		all = append(all, k.space)
	}
	for _, m := range x.boxes {
		all = append(all, m.Space)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// A foundBox is a mailbox that salvage exports.
type foundBox struct {
	Mailbox
	known   bool // its row is there
	deleted bool
}

// mailboxes names the mailbox of each space.
func (x *salvageIndex) mailboxes() (map[Space]*foundBox, error) {
	boxes := map[Space]*foundBox{}
	for id, m := range x.boxes {
		if x.ranks[id] > 0 && (x.deleted[m.Space] != nil || x.whole(kindMailboxes) && m.HighestModSeq <= x.stateModSeq()) {
			continue
		}
		if old := boxes[m.Space]; old == nil || old.HighestModSeq < m.HighestModSeq {
			boxes[m.Space] = &foundBox{Mailbox: m, known: true}
		}
	}
	for space, o := range x.deleted {
		if boxes[space] == nil {
			boxes[space] = &foundBox{Mailbox: o.Mailbox, known: true, deleted: true}
		}
	}
	spaces, err := x.spaces()
	if err != nil {
		return nil, err
	}
	spaces = slices.DeleteFunc(spaces, func(s Space) bool { return boxes[s] != nil })
	var names []string // without a row
	for name, id := range x.names {
		if _, ok := x.boxes[id]; !ok {
			names = append(names, name)
		}
	}
	for _, s := range spaces {
		b := &foundBox{Mailbox: Mailbox{Space: s, Name: fmt.Sprintf("Recovered/mailbox %d", s)}}
		if len(spaces) == 1 && len(names) == 1 {
			b.Name = names[0]
		}
		boxes[s] = b
	}
	return boxes, nil
}

// A journaledFlags is flags.journal, as far as it counts.
type journaledFlags map[rowKey]flagState

// readFlags reads flags.journal, without opening it for writing.
func (x *salvageIndex) readFlags(path string) (journaledFlags, error) {
	flags := journaledFlags{}
	f, err := os.Open(path)
	if err != nil {
		if os.IsNotExist(err) {
			return flags, nil
		}
		return flags, err
	}
	defer f.Close()
	all := make([]byte, journalSize)
	n, err := io.ReadFull(f, all)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return flags, err
	}
	all = all[:n]
	if bytes.HasPrefix(all, journalFileMagic[:]) && len(all) >= journalStart {
		id := strings.TrimRight(string(all[8:40]), "\x00")
		if has := x.meta["account"]; has != nil && string(has) != id {
			return flags, fmt.Errorf("it is the journal of account %s", id)
		}
		all = all[journalStart:]
	}
	if len(all) < journalHeader || !bytes.HasPrefix(all, journalMagic[:]) {
		return flags, nil
	}
	epoch, crc := binary.LittleEndian.Uint64(all[8:]), uint32(0)
	if v := x.meta["journal"]; len(v) == 8 && x.state != nil && x.state.sure {
		epoch = binary.LittleEndian.Uint64(v)
	}
	for len(all) > 0 {
		entries, size, sum, ok := parseRecord(all, epoch, crc)
		if !ok {
			break
		}
		for _, e := range entries {
			flags[rowKey{e.space, e.uid}] = e.flagState
		}
		all, crc = all[size:], sum
	}
	return flags, nil
}

func (j journaledFlags) apply(r *foundRow) {
	if st, ok := j[rowKey{r.space, r.UID}]; ok && !r.kept && st.modseq > r.ModSeq {
		r.ModSeq, r.Flags = st.modseq, st.flags
	}
}
