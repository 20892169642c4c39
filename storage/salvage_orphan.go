package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"time"
)

// lostRows reports whether there may be messages whose rows are lost.
func (s *salvager) lostRows() bool {
	x := s.x
	return s.counts.Lost > 0 || x.state == nil || !x.whole(kindRows) || !x.whole(kindMailboxes) || !x.whole(string(bucketIntents)) || !x.whole(string(bucketKept))
}

// orphans exports the messages that no row refers to.
func (s *salvager) orphans() (err error) {
	last := BlobID(0)
	ferr := s.x.chunks.from([]byte{placeBlob}, func(rec []byte) bool {
		if rec[0] != placeBlob {
			return false
		}
		id, rank := BlobID(binary.BigEndian.Uint64(rec[1:])), rec[13]
		if id == last {
			return true
		}
		file := s.x.fileOf(binary.BigEndian.Uint16(rec[14:]))
		if file.alien || rank > 0 && file.state.whole(string(bucketHeads)) && file.state.whole(string(bucketChunks)) {
			return true // removed some time ago
		}
		last = id
		if used, uerr := s.referred(id); uerr != nil || used || s.x.open[id] {
			err = uerr
			return err == nil
		}
		err = s.orphan(id)
		return err == nil
	})
	return errors.Join(err, ferr)
}

func (x *salvageIndex) fileOf(volume uint16) *salvageFile {
	return x.files[slices.IndexFunc(x.files, func(f *salvageFile) bool { return f.volume == volume })]
}

func (s *salvager) referred(id BlobID) (used bool, err error) {
	key := keyBlob(id)
	err = s.refs.from(key, func(rec []byte) bool {
		used = bytes.Equal(rec, key)
		return false
	})
	return used, err
}

func (s *salvager) orphan(id BlobID) error {
	row, known, err := s.x.blobRowOf(id)
	if err != nil {
		return err
	}
	rec := s.x.record(id)
	size := int64(-1)
	switch {
	case known:
		size = row.size
	case rec != nil:
		size = rec.Size()
	}
	body, err := s.x.assemble(id, size, row.volume, int64(row.head))
	if err != nil || body.found == 0 {
		return err
	}
	if secret := s.x.meta["secret"]; known && len(secret) == 32 && body.damage == "" && emailOf(secret, body.sum) != row.email {
		known = false // another message's row
	}
	m := &SalvagedMessage{Mailbox: "Recovered", Subject: s.subject(id, body), ID: fmt.Sprintf("B%d", id), Damage: body.damage, body: body}
	if t, err := mail.ParseDate(headerField(body.head, "date")); err == nil {
		m.Date = t
	} else if rec != nil {
		m.Date, _ = rec.SentDate()
	}
	if m.Date.IsZero() {
		m.Date = time.Unix(0, 0).UTC()
	}
	s.counts.Recovered++
	if err := s.find(SalvageFinding{Kind: SalvageRecovered, Mailbox: m.Mailbox, Messages: 1, Subject: m.Subject, Why: "its mailbox, flags and date of arrival are lost"}); err != nil {
		return err
	}
	return s.export(m, false)
}
