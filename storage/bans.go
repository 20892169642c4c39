package storage

import (
	"encoding/binary"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A BanRow is an address that isn't served until a time, or wasn't lately: the
// next ban of it is longer.
type BanRow struct {
	Address      string // or a network
	Since, Until time.Time
	Failures     int // that led to it
	Times        int // it was banned
}

// maxBanRows are kept, those that end last.
const maxBanRows = 4096

// PutBan stores a ban, at once but without waiting for it.
func (st *Store) PutBan(b BanRow) { st.changeBan(b.Address, &b) }

// DeleteBan removes a ban.
func (st *Store) DeleteBan(address string) { st.changeBan(address, nil) }

func (st *Store) changeBan(address string, b *BanRow) {
	g := &st.events
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.setBan(address, b)
	g.schedule(st, true)
}

// setBan has a ban written. The lock is held.
func (g *events) setBan(address string, b *BanRow) {
	if g.bans == nil {
		g.bans = map[string]*BanRow{}
	}
	if len(g.bans) < maxBanRows {
		g.bans[address] = b
	}
}

// Bans lists the bans that are stored, those that are over too.
func (st *Store) Bans() (all []BanRow, err error) {
	if err := st.available(); err != nil {
		return nil, err
	}
	st.flushEvents()
	g := &st.events
	g.using.Lock()
	defer g.using.Unlock()
	err = st.useEvents(true, func(db *boltFile) error {
		return mapError(db.View(func(tx *bolt.Tx) error {
			all = readBans(tx)
			return nil
		}))
	})
	return all, err
}

func readBans(tx *bolt.Tx) (all []BanRow) {
	c := tx.Bucket(bucketBans).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		data, err := unsealSystem(k, v)
		if err != nil {
			continue // it may be lost
		}
		b := BanRow{Address: string(k)}
		if eachSystemField(data, b.field) == nil {
			all = append(all, b)
		}
	}
	return all
}

func (b *BanRow) field(tag byte, value []byte) {
	number := func() int {
		if len(value) != 8 {
			return 0
		}
		return int(min(binary.LittleEndian.Uint64(value), 1<<30))
	}
	switch tag {
	case 1:
		b.Since = systemTime(value)
	case 2:
		b.Until = systemTime(value)
	case 3:
		b.Failures = number()
	case 4:
		b.Times = number()
	}
}

func (b *BanRow) encode() []byte {
	data := appendSystemTime(appendSystemTime(nil, 1, b.Since), 2, b.Until)
	data = appendSystemField(data, 3, binary.LittleEndian.AppendUint64(nil, uint64(b.Failures)))
	return appendSystemField(data, 4, binary.LittleEndian.AppendUint64(nil, uint64(b.Times)))
}

// writeBans is the bans' part of a commit.
func (b *eventsBatch) writeBans(tx *bolt.Tx) error {
	rows := tx.Bucket(bucketBans)
	for address, ban := range b.bans {
		key := []byte(address)
		if ban == nil {
			if err := rows.Delete(key); err != nil {
				return err
			}
		} else if err := rows.Put(key, sealSystem(key, ban.encode())); err != nil {
			return err
		}
	}
	if len(b.bans) == 0 {
		return nil
	}
	all := readBans(tx)
	slices.SortFunc(all, func(x, y BanRow) int { return x.Until.Compare(y.Until) })
	for len(all) > maxBanRows {
		if err := rows.Delete([]byte(all[0].Address)); err != nil {
			return err
		}
		all = all[1:]
	}
	return nil
}
