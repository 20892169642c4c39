package storage

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// refWindow is how many blob ids are counted in one pass over the rows.
const refWindow = 1 << 20

// refsMax bounds what one look remembers for its mend; a repair looks again
// until nothing is left.
const refsMax = 50_000

// refFindings are what the references of blobs should be.
type refFindings struct {
	delta   map[BlobID]int64 // by how much a blob is counted too low
	lost    []BlobID         // used, and without a row that can be read
	unowned []strayBlob      // counted, and used by nobody
	unfound []BlobID         // not in "emails"
	emails  [][]byte         // entries of "emails" that lead astray
	open    []BlobID         // without references, and not listed as open
	volumes map[uint16]int   // blobs in each volume
}

func (r *refFindings) full() bool {
	return len(r.delta)+len(r.lost)+len(r.unowned)+len(r.unfound)+len(r.emails)+len(r.open) >= refsMax
}

// references: every blob is used as often as it is counted, found by its
// EMAILID, and, if nobody uses it, listed to be removed.
func (c *check) references() error {
	c.refs = refFindings{delta: map[BlobID]int64{}, volumes: map[uint16]int{}}
	return c.view(func() error {
		top := max(c.highestBlob(), c.v.next)
		used := make([]uint32, min(refWindow, uint64(top)+1))
		for first := BlobID(0); first <= top; first += refWindow {
			clear(used)
			c.countUses(first, used)
			c.compareUses(first, used)
			if c.failed != nil || c.ctx.Err() != nil {
				return nil
			}
		}
		return paced(c.tx.Bucket(bucketEmails), func(k, v []byte) error {
			ok := len(k) == 16 && len(v) == 8
			if ok {
				row, err := readBlobRow(c.tx, BlobID(binary.BigEndian.Uint64(v)))
				ok = err == nil && string(row.email[:]) == string(k)
			}
			if !ok {
				c.find("EMAILID %x leads to a blob that hasn't it", k)
				if !c.refs.full() {
					c.refs.emails = append(c.refs.emails, bytes.Clone(k))
				}
			}
			return nil
		})
	})
}

// countUses counts how often rows refer to the blobs from first on.
func (c *check) countUses(first BlobID, used []uint32) {
	count := func(k, v []byte) error {
		if len(k) != 8 || len(v) < rowBytes {
			return nil
		}
		if !rowSound(imapUID(k), v) {
			return nil
		}
		if id := BlobID(binary.LittleEndian.Uint64(v[36:])); id >= first && id-first < BlobID(len(used)) {
			used[id-first]++
		}
		return nil
	}
	_ = paced(c.tx.Bucket(bucketRows), count)
	_ = paced(c.tx.Bucket(bucketKept), count)
}

// compareUses compares them with the blobs' own counts.
func (c *check) compareUses(first BlobID, used []uint32) {
	blobs, r := c.tx.Bucket(bucketBlobs), &c.refs
	cur := blobs.Cursor()
	turn := 0
	for k, v := cur.Seek(keyBlob(first)); len(k) == 8; k, v = cur.Next() {
		pace(&turn)
		id := BlobID(binary.BigEndian.Uint64(k))
		if id-first >= BlobID(len(used)) {
			break
		}
		n := used[id-first]
		used[id-first] = 0
		row, err := decodeBlobRow(v)
		if err != nil {
			c.find("blob %d: %v", id, err)
			r.lost = append(r.lost, id)
			continue
		}
		r.volumes[row.volume]++
		c.blobRow(id, &row, n)
		if r.full() {
			break
		}
	}
	for i, n := range used {
		if id := first + BlobID(i); n > 0 && blobs.Get(keyBlob(id)) == nil {
			c.find("blob %d is used %d times and missing", id, n)
			if !r.full() {
				r.lost = append(r.lost, id)
			}
		}
	}
}

func (c *check) blobRow(id BlobID, row *blobRow, used uint32) {
	r := &c.refs
	if used != row.refs {
		c.find("blob %d is counted %d times, used %d times", id, row.refs, used)
		if used == 0 {
			r.unowned = append(r.unowned, strayBlob{row.volume, id})
		} else {
			r.delta[id] = int64(used) - int64(row.refs)
		}
	}
	if v := c.tx.Bucket(bucketEmails).Get(row.email[:]); len(v) != 8 {
		c.find("blob %d is not found by its EMAILID", id)
		r.unfound = append(r.unfound, id)
	}
	if row.refs == 0 && used == 0 && c.tx.Bucket(bucketOpen).Get(keyBlob(id)) == nil {
		c.find("blob %d has no references and is not listed as open", id)
		r.open = append(r.open, id)
	}
}

// lookRecords: every blob has its record, and no other has one.
func (c *check) lookRecords() error {
	c.records = nil
	return c.view(func() error {
		blobs, recs := c.tx.Bucket(bucketBlobs).Cursor(), c.tx.Bucket(bucketRecords)
		var buf []byte
		turn := 0
		for k, v := blobs.First(); len(k) == 8 && len(c.records) < refsMax; {
			block := BlobID(binary.BigEndian.Uint64(k)) / recordsEach
			have := c.recordBlock(recs, block, &buf)
			for ; len(k) == 8 && BlobID(binary.BigEndian.Uint64(k))/recordsEach == block; k, v = blobs.Next() {
				pace(&turn)
				id := BlobID(binary.BigEndian.Uint64(k))
				rec, ok := have[byte(id%recordsEach)]
				delete(have, byte(id%recordsEach))
				c.record(recs, id, v, rec, ok)
			}
			for slot := range have {
				c.badRecord(block*recordsEach+BlobID(slot), "of no blob")
			}
		}
		return paced(recs, func(k, _ []byte) error {
			if len(k) != 8 && len(k) != 9 {
				c.find("record %x: its key is damaged", k)
				return nil
			}
			first := BlobID(binary.BigEndian.Uint64(k)) * recordsEach
			last := first + recordsEach - 1
			if len(k) == 9 {
				first += BlobID(k[8])
				last = first
			}
			if next, _ := c.tx.Bucket(bucketBlobs).Cursor().Seek(keyBlob(first)); len(next) != 8 || BlobID(binary.BigEndian.Uint64(next)) > last {
				c.badRecord(first, "of no blob")
			}
			return nil
		})
	})
}

func (c *check) badRecord(id BlobID, why string) {
	c.find("record of blob %d: %s", id, why)
	c.records = append(c.records, id)
}

// recordBlock is what a block of records holds.
func (c *check) recordBlock(recs *bolt.Bucket, block BlobID, buf *[]byte) map[byte]mail.Record {
	have := map[byte]mail.Record{}
	v := recs.Get(binary.BigEndian.AppendUint64(nil, uint64(block)))
	if v == nil {
		return have
	}
	data, err := decodeChunk((*buf)[:0], v, placeOfRecords(block*recordsEach))
	if err != nil {
		c.badRecord(block*recordsEach, "the block fails its checksum")
		return have
	}
	*buf = data
	eachRecord(data, func(slot byte, rec mail.Record) bool {
		if _, twice := have[slot]; twice || slot >= recordsEach {
			c.badRecord(block*recordsEach+BlobID(slot), "there are two")
		}
		have[slot] = rec
		return true
	})
	return have
}

// record checks a blob's record, in its block or of its own.
func (c *check) record(recs *bolt.Bucket, id BlobID, v []byte, rec mail.Record, ok bool) {
	if own := recs.Get(keyOwnRecord(id)); own != nil {
		if ok {
			c.badRecord(id, "there are two")
			return
		}
		data, err := decodeChunk(nil, own, placeOfOwnRecord(id))
		if err != nil {
			c.badRecord(id, "fails its checksum")
			return
		}
		rec, ok = data, true
	}
	row, err := decodeBlobRow(v)
	switch {
	case err != nil: // told already
	case !ok:
		c.badRecord(id, "missing")
	case rec.Version() < mail.Version: // made anew in the background
	case !rec.Valid() || rec.Size() != row.size || rec.HeaderSize() < int64(row.head):
		c.badRecord(id, "damaged")
	}
}
