package storage

import (
	"encoding/binary"
	"math/rand/v2"

	bolt "go.etcd.io/bbolt"
)

// search.db goes by blob ids. With a mail.db of another time or history the
// same ids may be other messages, and a search would miss some without a
// word. So each block that is added has a random token, first in mail.db and
// then in search.db: a search.db whose token mail.db doesn't know is made anew.
type indexTokens struct {
	now    uint64
	before uint64 // of the file when the token was chosen: a crash may have come in between
}

// known reads the tokens out of mail.db: meta "search".
func (x *searchIndex) known(f *files) (known indexTokens, err error) {
	err = f.mail.View(func(tx *bolt.Tx) error {
		if v := tx.Bucket(bucketMeta).Get([]byte("search")); len(v) == 16 {
			known = indexTokens{binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])}
		}
		return nil
	})
	return known, err
}

// announce chooses the token of the next block, and returns when mail.db has
// it on the disk.
func (x *searchIndex) announce(f *files) (token uint64, err error) {
	token = rand.Uint64()
	v := binary.LittleEndian.AppendUint64(nil, token)
	err = x.use(f, func(*boltFile) error {
		v = binary.LittleEndian.AppendUint64(v, x.token)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return token, x.a.exec(func(*files) error {
		return f.mail.Update(func(tx *bolt.Tx) error {
			if err := tx.Bucket(bucketMeta).Put([]byte("search"), v); err != nil {
				return err
			}
			return f.blobs.stamp(tx)
		})
	})
}

// put is part of the transaction that adds the block.
func (x *searchIndex) put(tx *bolt.Tx, token uint64) error {
	tx.OnCommit(func() { x.token = token })
	return putUint64(tx.Bucket(bucketMeta), "token", token)
}
