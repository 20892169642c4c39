package storage

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// checkVolumes compares what the index says of the blobs with the bytes that
// are there, without reading them.
func (a *Account) checkVolumes(findings []string) ([]string, error) {
	err := a.exec(func(f *files) error {
		c := &blobCheck{f: f, rows: map[BlobID]blobRow{}, listed: map[BlobID]bool{}, findings: findings}
		if err := f.viewVolume(0, c.index); err != nil {
			return err
		}
		for n := uint16(1); n != 0 && n <= f.blobs.volumes.last; n++ {
			if err := c.volume(n); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(c.rows)) {
			c.find("blob %d is missing in volume %d", id, c.rows[id].volume)
		}
		findings = c.findings
		return nil
	})
	return findings, err
}

type blobCheck struct {
	f        *files
	rows     map[BlobID]blobRow // whose chunks were not seen yet
	listed   map[BlobID]bool    // open in mail.db
	findings []string
}

func (c *blobCheck) find(format string, args ...any) {
	c.findings = append(c.findings, fmt.Sprintf(format, args...))
}

// index reads the rows, and what else mail.db has of the blobs.
func (c *blobCheck) index(tx *bolt.Tx) error {
	_ = tx.Bucket(bucketOpen).ForEach(func(k, _ []byte) error {
		c.listed[BlobID(binary.BigEndian.Uint64(k))] = true
		return nil
	})
	emails := tx.Bucket(bucketEmails)
	_ = tx.Bucket(bucketBlobs).ForEach(func(k, v []byte) error {
		id := BlobID(binary.BigEndian.Uint64(k))
		row, err := decodeBlobRow(v)
		if err != nil {
			return nil // found already
		}
		c.rows[id] = row
		if id > c.f.blobs.next {
			c.find("blob %d is above the last one given out, %d", id, c.f.blobs.next)
		}
		if len(emails.Get(row.email[:])) != 8 {
			c.find("blob %d is not found by its EMAILID", id)
		}
		if row.refs == 0 && !c.listed[id] {
			c.find("blob %d has no references and is not listed as open", id)
		}
		return nil
	})
	_ = emails.ForEach(func(k, v []byte) error {
		row, ok := c.rows[BlobID(binary.BigEndian.Uint64(v))]
		if !ok || string(row.email[:]) != string(k) {
			c.find("EMAILID %x leads to a blob that hasn't it", k)
		}
		return nil
	})
	c.records(tx)
	octets := c.chunks(tx, 0, func(id BlobID) bool { return c.listed[id] })
	if octets != c.f.blobs.bodies {
		c.find("mail.db has %d octets of bodies, counted as %d", octets, c.f.blobs.bodies)
	}
	return nil
}

// records: every blob has its record, and no other has one.
func (c *blobCheck) records(tx *bolt.Tx) {
	seen := map[BlobID]bool{}
	check := func(id BlobID, rec mail.Record) {
		row, ok := c.rows[id]
		switch {
		case !ok:
			c.find("record of blob %d, which is not there", id)
		case seen[id]:
			c.find("blob %d has two records", id)
		case !rec.Valid() || rec.Size() != row.size || rec.HeaderSize() < int64(row.head):
			c.find("record of blob %d: damaged", id)
		}
		seen[id] = true
	}
	_ = tx.Bucket(bucketRecords).ForEach(func(k, v []byte) error {
		first := BlobID(binary.BigEndian.Uint64(k)) * recordsEach
		at := placeOfRecords(first)
		if len(k) > 8 {
			at = placeOfOwnRecord(first + BlobID(k[8]))
		}
		data, err := decodeChunk(nil, v, at)
		switch {
		case err != nil:
			c.find("records from blob %d on: %v", first, err)
		case len(k) > 8:
			check(first+BlobID(k[8]), data)
		default:
			eachRecord(data, func(slot byte, rec mail.Record) bool {
				check(first+BlobID(slot), rec)
				return true
			})
		}
		return nil
	})
	for _, id := range slices.Sorted(maps.Keys(c.rows)) {
		if !seen[id] {
			c.find("blob %d has no record", id)
		}
	}
}

// chunks checks the chunks of one volume against the rows; open says which
// blobs may be there without one.
func (c *blobCheck) chunks(tx *bolt.Tx, volume uint16, open func(BlobID) bool) (octets int64) {
	all := tx.Bucket(bucketChunks)
	belongs := func(k []byte) (id BlobID, row blobRow, ok bool) {
		id = BlobID(binary.BigEndian.Uint64(k))
		row, ok = c.rows[id]
		if ok && row.volume != volume || !ok && !open(id) {
			c.find("volume %d has chunks of blob %d, which don't belong there", volume, id)
		}
		return id, row, ok && row.volume == volume && row.owns(tx, id) == nil
	}
	_ = all.ForEach(func(k, _ []byte) error {
		id, row, ok := belongs(k)
		n := uint32(1)
		_ = all.Bucket(k).ForEach(func(k, v []byte) error {
			octets += int64(len(v))
			if len(v) < chunkHeader || binary.BigEndian.Uint32(k) != n {
				c.find("volume %d: chunk %d of blob %d is damaged or missing", volume, n, id)
			}
			n++
			return nil
		})
		if ok && n != row.chunks() {
			c.find("blob %d has %d chunks, not %d", id, n, row.chunks())
		}
		return nil
	})
	_ = tx.Bucket(bucketHeads).ForEach(func(k, v []byte) error {
		octets += int64(len(v))
		id, row, ok := belongs(k)
		if ok && (row.chunks() == 1 || all.Bucket(k) != nil) {
			delete(c.rows, id)
		}
		return nil
	})
	return octets
}

// volume checks one body volume.
func (c *blobCheck) volume(n uint16) error {
	vs := &c.f.blobs.volumes
	v, err := vs.get(n)
	if err == nil {
		var state volumeState
		if state, err = v.state(); err == nil && (state.behind || state.ahead) {
			c.find("%s is not as the index knows it", v.path)
		}
	}
	if err == nil {
		err = c.f.viewVolume(n, func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				c.find("%s: %v", v.path, err)
			}
			c.chunks(tx, n, func(id BlobID) bool {
				return c.listed[id] || tx.Bucket(bucketOpen).Get(keyBlob(id)) != nil
			})
			return nil
		})
	}
	if err != nil && vs.lastSeen(n) > 0 {
		c.find("volume %d: %v", n, err)
	}
	return nil
}
