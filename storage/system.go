package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

var systemCRC = crc32.MakeTable(crc32.Castagnoli)

// systemSealed is the key id and the checksum in front of each value.
const systemSealed = 5

// systemClear is the key id of values that are stored as they are.
const systemClear = 0

// sealSystem makes the stored form of a value of system.db.
func sealSystem(key, data []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, systemCRC), systemCRC, data)
	b := make([]byte, systemSealed, systemSealed+len(data))
	b[0] = systemClear
	binary.LittleEndian.PutUint32(b[1:], sum)
	return append(b, data...)
}

// unsealSystem returns the data of a stored value, still in bbolt's map.
func unsealSystem(key, value []byte) ([]byte, error) {
	if len(value) < systemSealed || value[0] != systemClear {
		return nil, fmt.Errorf("%s, key %.40q: %w", systemFile, key, ErrCorrupt)
	}
	data := value[systemSealed:]
	sum := crc32.Update(crc32.Checksum(key, systemCRC), systemCRC, data)
	if sum != binary.LittleEndian.Uint32(value[1:]) {
		return nil, fmt.Errorf("%s, key %.40q: %w", systemFile, key, ErrCorrupt)
	}
	return data, nil
}

// putSystem stores a value of system.db.
func putSystem(tx *bolt.Tx, bucket, key, data []byte) error {
	return tx.Bucket(bucket).Put(key, sealSystem(key, data))
}

// getSystem reads a value of system.db, valid until the end of tx; nil when there is none.
func getSystem(tx *bolt.Tx, bucket, key []byte) ([]byte, error) {
	value := tx.Bucket(bucket).Get(key)
	if value == nil {
		return nil, nil
	}
	return unsealSystem(key, value)
}

// eachSystem calls f for all keys of a bucket that start with prefix, in order.
func eachSystem(tx *bolt.Tx, bucket, prefix []byte, f func(key, data []byte) error) error {
	c := tx.Bucket(bucket).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		data, err := unsealSystem(k, v)
		if err != nil {
			return err
		}
		if err := f(k, data); err != nil {
			return err
		}
	}
	return nil
}

// update changes system.db: after it returned nil, the change is on the disk.
// f runs again when the disk was full and the reserve was given up: deleting
// an account must go on, and the other changes are as small.
func (st *Store) update(f func(tx *bolt.Tx) error) error {
	err := st.tryUpdate(f)
	if errors.Is(err, ErrDiskFull) && st.giveReserve() {
		err = st.tryUpdate(f)
	}
	if err == nil {
		st.policies.Add(1) // whatever it was: updates are rare
		st.copies.changed()
	}
	return err
}

func (st *Store) tryUpdate(f func(tx *bolt.Tx) error) error {
	return st.useSys(func(sys *boltFile) error {
		return sys.Update(func(tx *bolt.Tx) error {
			if err := f(tx); err != nil {
				return err
			}
			return countCommit(tx)
		})
	})
}

var systemCounterKey = []byte("counter")

func countCommit(tx *bolt.Tx) error {
	n, err := systemCounter(tx)
	if err != nil {
		return err
	}
	return putSystem(tx, bucketMeta, systemCounterKey, binary.LittleEndian.AppendUint64(nil, n+1))
}

func systemCounter(tx *bolt.Tx) (uint64, error) {
	b, err := getSystem(tx, bucketMeta, systemCounterKey)
	if err != nil || len(b) != 8 {
		return 0, errors.Join(err, systemLengthError("counter", b, 8))
	}
	return binary.LittleEndian.Uint64(b), nil
}

func systemLengthError(what string, b []byte, want int) error {
	if len(b) == want {
		return nil
	}
	return fmt.Errorf("%s: %s has %d bytes, want %d: %w", systemFile, what, len(b), want, ErrCorrupt)
}

// createSystem writes a new system.db under a temporary name and gives it its
// own when it is complete and on the disk.
func createSystem(dir, id string) error {
	temp := filepath.Join(dir, systemFile+".new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := createSystemAt(temp, id); err != nil {
		return err
	}
	return moveInto(temp, filepath.Join(dir, systemFile), true)
}

// createSystemAt writes an empty system.db.
func createSystemAt(path, id string) error {
	db, err := openBolt(path, &bolt.Options{})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range systemBuckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		format := binary.LittleEndian.AppendUint16(nil, systemFormat)
		return errors.Join(
			putSystem(tx, bucketMeta, []byte("format"), format),
			putSystem(tx, bucketMeta, []byte("min_reader"), format),
			putSystem(tx, bucketMeta, []byte("store"), []byte(id)),
			putSystem(tx, bucketMeta, systemCounterKey, make([]byte, 8)))
	})
	return mapError(errors.Join(err, db.Close()))
}

// openBolt opens a file with the page size that all of nestbox's files have,
// whatever the machine's is, so that they can move between machines.
func openBolt(path string, o *bolt.Options) (*boltFile, error) {
	o.PageSize = 4096
	o.FreelistType = bolt.FreelistMapType
	o.Timeout = 5 * time.Second
	o.NoStatistics = true
	return openMap(path, o)
}

// minSystem is the size of a bbolt file without anything in it.
const minSystem = 4 * 4096

// openSystem opens system.db and sees that it is this folder's and of a
// format that can be read.
func openSystem(path, id string, o *bolt.Options) (*boltFile, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err // bbolt would make an empty file
	}
	if fi.Size() < minSystem {
		return nil, fmt.Errorf("%s has %d bytes: %w", path, fi.Size(), ErrCorrupt)
	}
	if err := byteOrder(path); err != nil {
		return nil, err
	}
	db, err := openBolt(path, o)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Size() > fi.Size() {
			// Reading beyond the end is a signal, in bbolt's own check even one
			// that ends the process.
			return fmt.Errorf("%s is cut off: it has %d of %d bytes: %w", path, fi.Size(), tx.Size(), ErrCorrupt)
		}
		return readSystemHead(tx, path, id)
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func readSystemHead(tx *bolt.Tx, path, id string) error {
	if tx.Bucket(bucketMeta) == nil {
		return fmt.Errorf("%s has no bucket %s: %w", path, bucketMeta, ErrCorrupt)
	}
	b, err := getSystem(tx, bucketMeta, []byte("min_reader"))
	if err != nil || len(b) != 2 {
		return errors.Join(err, systemLengthError("min_reader", b, 2))
	}
	if n := int(binary.LittleEndian.Uint16(b)); n > systemFormat {
		return &FormatError{File: path, MinReader: n, Known: systemFormat}
	}
	for _, name := range systemBuckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%s has no bucket %s: %w", path, name, ErrCorrupt)
		}
	}
	b, err = getSystem(tx, bucketMeta, []byte("store"))
	if err != nil {
		return err
	}
	if id != "" && string(b) != id {
		return &ForeignError{File: path, Has: string(b), Want: id}
	}
	return nil
}
