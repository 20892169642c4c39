package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// verifyAccount checks the files of an account in a folder that nobody uses,
// and changes nothing in it: what Check finds, and the checksums of all bodies
// in the volumes that bodies names (0 is mail.db).
func verifyAccount(ctx context.Context, dir string, id AccountID, bodies []uint16) (at ModSeq, findings []string, err error) {
	st := quietStore(filepath.Dir(filepath.Dir(dir)))
	a := newAccount(st, id)
	a.dir = dir
	defer func() { err = errors.Join(err, a.close()) }()
	if findings, err = a.Check(); err != nil || len(findings) > 0 {
		return 0, findings, err
	}
	f, err := a.acquire()
	if err != nil {
		return 0, nil, err
	}
	defer f.release()
	for _, n := range bodies {
		err := f.viewVolume(n, func(tx *bolt.Tx) error {
			return verifyBodies(ctx, tx, func(id BlobID, chunk uint32) {
				findings = append(findings, fmt.Sprintf("volume %d: chunk %d of blob %d fails its checksum", n, chunk, id))
			})
		})
		if err != nil {
			return f.modseq, findings, err
		}
	}
	return f.modseq, findings, nil
}

// verifyBodies reads all chunks of a volume.
func verifyBodies(ctx context.Context, tx *bolt.Tx, bad func(id BlobID, chunk uint32)) error {
	check := func(id BlobID, n uint32, v []byte) {
		if len(v) < chunkHeader || binary.LittleEndian.Uint32(v[2:]) != (place{placeBlob, uint64(id), n}).sum(v) {
			bad(id, n)
		}
	}
	err := tx.Bucket(bucketHeads).ForEach(func(k, v []byte) error {
		check(BlobID(binary.BigEndian.Uint64(k)), 0, v)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	chunks := tx.Bucket(bucketChunks)
	return chunks.ForEach(func(k, _ []byte) error {
		id := BlobID(binary.BigEndian.Uint64(k))
		b := chunks.Bucket(k)
		if b == nil {
			bad(id, 1)
			return nil
		}
		if err := guardBucket(tx, b); err != nil {
			return err
		}
		return errors.Join(ctx.Err(), b.ForEach(func(k, v []byte) error {
			check(id, binary.BigEndian.Uint32(k), v)
			return nil
		}))
	})
}

// verifyHousehold checks a copy of system.db that nobody uses.
func verifyHousehold(path, id string) error {
	st := quietStore(filepath.Dir(path))
	st.id = id
	return st.verifySystem(path)
}

// volumeOfFile is the number of a body volume's file, 0 for mail.db.
func volumeOfFile(name string) (n uint16, ok bool) {
	if name == mailFile {
		return 0, true
	}
	if _, err := fmt.Sscanf(name, "body-%d.db", &n); err != nil || volumeFile(n) != name {
		return 0, false
	}
	return n, true
}

// accountOfFolder is the account of a folder in "accounts".
func accountOfFolder(folder string) AccountID {
	return AccountID(strings.TrimSuffix(folder, deletedSuffix))
}
