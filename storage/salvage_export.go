package storage

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"mime"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// A salvager brings one account out.
type salvager struct {
	x      *salvageIndex
	sink   SalvageSink
	kept   bool
	flags  journaledFlags
	boxes  map[Space]*foundBox
	refs   *sortTable // blobs of messages, u64
	counts SalvageCounts
	absent map[uint16]bool // volumes
}

func (s *salvager) find(f SalvageFinding) error {
	f.Account = s.counts.Account
	return s.sink.Finding(f)
}

// run exports all mailboxes, and then what belongs to none.
func (s *salvager) run() (err error) {
	if s.boxes, err = s.x.mailboxes(); err != nil {
		return err
	}
	spaces := slices.Sorted(maps.Keys(s.boxes))
	for _, space := range spaces {
		if b := s.boxes[space]; b.known && !b.deleted {
			if err := s.sink.Mailbox(b.Name); err != nil {
				return err
			}
		}
	}
	for _, space := range spaces {
		if err := s.space(s.boxes[space]); err != nil {
			return err
		}
	}
	if err := s.refs.sort(); err != nil {
		return err
	}
	if s.lostRows() {
		return s.orphans()
	}
	return nil
}

// space exports the messages of a mailbox.
func (s *salvager) space(b *foundBox) error {
	missing := s.x.uidsOf(b)
	seen := 0
	unshown, copying := s.x.copies[b.Space]
	err := s.x.eachRow(b.Space, func(r *foundRow) error {
		if copying && r.UID >= unshown && r.rank == 0 && !r.kept {
			return nil // of a COPY that was under way: the source is there
		}
		if m := missing[BlockIndex(r.UID)]; m != nil {
			off := blockOffset(r.UID)
			m[off/64] &^= 1 << (off % 64)
		}
		kept := r.kept || b.deleted
		if !r.kept {
			seen++
		}
		if r.kept && r.why == keptMoved {
			return nil // its blob is the other mailbox's, or nobody's
		}
		if kept && !s.kept {
			return s.refs.add(keyBlob(r.Blob))
		}
		s.flags.apply(r)
		return s.message(b, r, kept)
	})
	if err != nil || b.deleted {
		return err
	}
	return s.gone(b, missing, seen)
}

// uidsOf are the UIDs of a mailbox as its UID blocks have them.
func (x *salvageIndex) uidsOf(b *foundBox) map[uint32]*[64]uint64 {
	all := map[uint32]*[64]uint64{}
	for k, block := range x.blocks {
		if k.space != b.Space || b.deleted {
			continue
		}
		if b.known && b.UIDNext > 0 {
			block = block.RemoveRange(b.UIDNext, ^imap.UID(0))
		}
		all[k.index] = block.bitmap()
	}
	// What came after the state that was found.
	for _, r := range x.added {
		if r.space == b.Space && r.at > x.stateModSeq() && r.hi-r.lo < BlockUIDs && !x.tombstone(r) {
			for uid := r.lo; uid <= r.hi; uid++ {
				index, off := BlockIndex(uid), blockOffset(uid)
				if all[index] == nil {
					all[index] = new([64]uint64)
				}
				all[index][off/64] |= 1 << (off % 64)
			}
		}
	}
	return all
}

// gone lists the messages whose rows are lost.
func (s *salvager) gone(b *foundBox, missing map[uint32]*[64]uint64, seen int) error {
	const why = "its row in the index is lost; what is left of it is in Recovered"
	listed := 0
	var lo, hi imap.UID
	flush := func() error {
		if lo == 0 {
			return nil
		}
		n := int(hi-lo) + 1
		listed += n
		return s.find(SalvageFinding{Kind: SalvageLost, Mailbox: b.Name, UID: lo, Last: hi, Messages: n, Why: why})
	}
	for _, index := range slices.Sorted(maps.Keys(missing)) {
		block := blockOf(index, missing[index])
		for n := range int(block.Count) {
			uid := block.Nth(n)
			if lo > 0 && uid == hi+1 {
				hi = uid
				continue
			}
			if err := flush(); err != nil {
				return err
			}
			lo, hi = uid, uid
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if more := int(b.Messages) - seen - listed; b.known && more > 0 {
		listed += more
		if err := s.find(SalvageFinding{Kind: SalvageLost, Mailbox: b.Name, Messages: more,
			Why: fmt.Sprintf("the rows of %d messages are lost; what is left of them is in Recovered", more)}); err != nil {
			return err
		}
	}
	s.counts.Lost += listed
	return nil
}

// message exports a message of which there is the row.
func (s *salvager) message(b *foundBox, r *foundRow, kept bool) error {
	row, known, err := s.x.blobRowOf(r.Blob)
	if err != nil {
		return err
	}
	if !known {
		row.head = 0
	}
	body, err := s.x.assemble(r.Blob, r.Size, row.volume, int64(row.head))
	if err != nil {
		return err
	}
	m := &SalvagedMessage{Mailbox: b.Name, UID: r.UID, Date: r.InternalDate(), Flags: b.FlagNames(r.Flags), ID: r.Email.String(), Damage: body.damage, body: body}
	if kept {
		m.Mailbox = "Expunged/" + b.Name
	}
	m.Subject = s.subject(r.Blob, body)
	why := ""
	switch secret := s.x.meta["secret"]; {
	case body.found == 0 && known && s.absent[row.volume]:
		why = volumeFile(row.volume) + ", which had its bytes, is not there"
	case body.found == 0:
		why = "none of its bytes were found"
	case body.damage == "" && len(secret) == 32 && emailOf(secret, body.sum) != r.Email:
		why = "the bytes in its place are those of another message: files of different times were mixed"
	}
	if why != "" {
		if kept {
			return nil // it may have been on its way out
		}
		s.counts.Lost++
		return s.find(SalvageFinding{Kind: SalvageLost, Mailbox: m.Mailbox, UID: m.UID, Messages: 1, Subject: m.Subject, Why: why})
	}
	if err := s.refs.add(keyBlob(r.Blob)); err != nil {
		return err
	}
	return s.export(m, kept)
}

// export hands a message out and counts it.
func (s *salvager) export(m *SalvagedMessage, kept bool) error {
	m.Size = m.body.size
	f := SalvageFinding{Kind: SalvageDamaged, Mailbox: m.Mailbox, UID: m.UID, Messages: 1, Subject: m.Subject, Why: m.Damage}
	if m.Damage != "" {
		m.Flags = append(m.Flags, "$Damaged")
	}
	if err := s.sink.Message(m); err != nil {
		var read *salvageError
		if !errors.As(err, &read) {
			return err
		}
		s.counts.Lost++
		f.Kind, f.Why = SalvageLost, read.Error()
		return s.find(f)
	}
	s.counts.Octets += m.Size
	if kept {
		s.counts.Kept++
	}
	if m.Damage == "" {
		s.counts.Exported++
		return nil
	}
	s.counts.Damaged++
	return s.find(f)
}

// blobRowOf finds the row of a blob.
func (x *salvageIndex) blobRowOf(id BlobID) (row blobRow, ok bool, err error) {
	key := keyBlob(id)
	err = x.blobs.from(key, func(rec []byte) bool {
		if !bytes.HasPrefix(rec, key) {
			return false
		}
		got, derr := decodeBlobRow(rec[10 : 10+int(rec[9])])
		if derr == nil {
			row, ok = got, true
		}
		return !ok
	})
	return row, ok, err
}

// subject is a message's, from its header or its record.
func (s *salvager) subject(id BlobID, body *salvagedBody) string {
	if body.head == nil {
		if rec := s.x.record(id); rec != nil {
			return string(rec.BaseSubject())
		}
		return ""
	}
	subject := headerField(body.head, "subject")
	if decoded, err := new(mime.WordDecoder).DecodeHeader(subject); err == nil {
		return decoded
	}
	return subject
}

// headerField is the value of the first field of a name, unfolded.
func headerField(head []byte, name string) string {
	var value []byte
	found := false
	for line := range bytes.Lines(head) {
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == 0 {
			break
		}
		if text[0] == ' ' || text[0] == '\t' {
			if found {
				value = append(append(value, ' '), bytes.TrimSpace(text)...)
			}
			continue
		}
		if found {
			break
		}
		if k, v, ok := bytes.Cut(text, []byte(":")); ok && bytes.EqualFold(k, []byte(name)) {
			found, value = true, bytes.Clone(bytes.TrimSpace(v))
		}
	}
	return string(value)
}
