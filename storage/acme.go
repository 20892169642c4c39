package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What an ACME client keeps (account, keys, certificates) is a small tree of
// files to it: keys are paths with slashes, folders are there as long as a
// file is in them. It lies in a bucket of system.db, so it is in every backup,
// checked, and after a power cut as before or after a change.

// An ACMEFile says what is under a key.
type ACMEFile struct {
	Key      string
	Modified time.Time // of a file
	Size     int64     // of a file
	Folder   bool
}

const (
	// A key has the directory's address and a domain twice, each 253 bytes at most.
	maxACMEKey = 1024
	// A chain of certificates has some kilobytes.
	maxACMEFile = 256 << 10
)

// acmeTime is the time in front of a file's data, nanoseconds since 1970.
const acmeTime = 8

// acmeKey is a key without the slashes that say nothing. The root is "".
func acmeKey(key string) (string, error) {
	parts := slices.DeleteFunc(strings.Split(key, "/"), func(s string) bool { return s == "" || s == "." })
	clean := strings.Join(parts, "/")
	switch {
	case len(clean) > maxACMEKey:
		return "", &NameError{Name: key, Why: fmt.Sprintf("must have %d bytes at most", maxACMEKey)}
	case slices.Contains(parts, "..") || strings.Contains(clean, "\x00"):
		return "", &NameError{Name: key, Why: "can't be a key of the ACME client"}
	}
	return clean, nil
}

// noACMEFile is not for use within a transaction: there fs.ErrNotExist means
// that system.db is away.
func noACMEFile(op, key string) error {
	return &fs.PathError{Op: op, Path: "acme/" + key, Err: fs.ErrNotExist}
}

// StoreACME writes a file: on the disk when it returns nil.
func (st *Store) StoreACME(key string, data []byte) error {
	clean, err := acmeKey(key)
	if err != nil {
		return err
	}
	if clean == "" {
		return &NameError{Name: key, Why: "is no key of a file"}
	}
	if len(data) > maxACMEFile {
		return &LimitError{What: "bytes in a file of the ACME client", Max: maxACMEFile}
	}
	value := binary.BigEndian.AppendUint64(make([]byte, 0, acmeTime+len(data)), uint64(st.now().UnixNano()))
	value = append(value, data...)
	return st.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketACME)
		if err != nil {
			return err
		}
		// A name is a file's or a folder's, as in a file system.
		if acmeFolder(b, clean) {
			return &NameError{Name: key, Why: "is a folder's"}
		}
		for i := range clean {
			if clean[i] == '/' && b.Get([]byte(clean[:i])) != nil {
				return &NameError{Name: key, Why: "is in a folder whose name is a file's"}
			}
		}
		return putSystem(tx, bucketACME, []byte(clean), value)
	})
}

// LoadACME reads a file; an error that is fs.ErrNotExist when there is none.
func (st *Store) LoadACME(key string) (data []byte, err error) {
	clean, err := acmeKey(key)
	if err != nil {
		return nil, err
	}
	found := false
	err = st.view(func(tx *bolt.Tx) error {
		value, err := acmeValue(tx, clean)
		if err == nil && value != nil {
			found, data = true, bytes.Clone(value[acmeTime:])
		}
		return err
	})
	if err == nil && !found {
		err = noACMEFile("load", clean)
	}
	return data, err
}

// acmeValue is a file's time and data, valid until the end of tx; nil when there is none.
func acmeValue(tx *bolt.Tx, key string) ([]byte, error) {
	if key == "" || tx.Bucket(bucketACME) == nil {
		return nil, nil
	}
	value, err := getSystem(tx, bucketACME, []byte(key))
	if err == nil && value != nil {
		err = checkACME([]byte(key), value)
	}
	return value, err
}

// checkACME sees whether a row of the bucket can be what it should be.
func checkACME(key, value []byte) error {
	if len(value) < acmeTime {
		return fmt.Errorf("%s: file %.40q of the ACME client has no time: %w", systemFile, key, ErrCorrupt)
	}
	return nil
}

// acmeFolder reports whether there are files below a key.
func acmeFolder(b *bolt.Bucket, key string) bool {
	prefix := []byte(key + "/")
	k, _ := b.Cursor().Seek(prefix)
	return bytes.HasPrefix(k, prefix)
}

// DeleteACME deletes a file, or a folder with all that is in it. That there is
// none is fine.
func (st *Store) DeleteACME(key string) error {
	clean, err := acmeKey(key)
	if err != nil {
		return err
	}
	if _, err := st.StatACME(clean); errors.Is(err, fs.ErrNotExist) {
		return nil // and nothing written
	}
	return st.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketACME)
		if b == nil {
			return nil
		}
		var below [][]byte // bbolt's cursor would skip some if they went under it
		prefix := []byte(acmeBelow(clean))
		c := b.Cursor()
		for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			below = append(below, bytes.Clone(k))
		}
		if clean != "" {
			below = append(below, []byte(clean))
		}
		for _, k := range below {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// acmeBelow is what all keys in a folder start with.
func acmeBelow(folder string) string {
	if folder == "" {
		return ""
	}
	return folder + "/"
}

// ListACME returns the keys of the files and folders in a folder, with
// recursive also of those below; an error that is fs.ErrNotExist when the
// folder is not there. A file has nothing in it.
func (st *Store) ListACME(folder string, recursive bool) (keys []string, err error) {
	clean, err := acmeKey(folder)
	if err != nil {
		return nil, err
	}
	found := false
	err = st.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketACME)
		if b == nil {
			return nil
		}
		prefix := acmeBelow(clean)
		seen := map[string]bool{}
		c := b.Cursor()
		for k, _ := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, _ = c.Next() {
			for _, key := range acmeLevels(string(k), len(prefix), recursive) {
				if !seen[key] {
					seen[key] = true
					keys = append(keys, key)
				}
			}
		}
		found = len(keys) > 0 || clean != "" && b.Get([]byte(clean)) != nil
		return nil
	})
	if err == nil && !found {
		err = noACMEFile("list", clean)
	}
	return keys, err
}

// acmeLevels are the folders between a folder's prefix of n bytes and a file,
// and the file; without recursive the first of them.
func acmeLevels(file string, n int, recursive bool) (keys []string) {
	for i := n; i < len(file); i++ {
		if file[i] == '/' {
			keys = append(keys, file[:i])
		}
	}
	keys = append(keys, file)
	if !recursive {
		keys = keys[:1]
	}
	return keys
}

// StatACME says what is under a key; an error that is fs.ErrNotExist when
// there is nothing.
func (st *Store) StatACME(key string) (f ACMEFile, err error) {
	clean, err := acmeKey(key)
	if err != nil {
		return f, err
	}
	found := false
	err = st.view(func(tx *bolt.Tx) error {
		value, err := acmeValue(tx, clean)
		if err != nil {
			return err
		}
		f.Key = clean
		if value != nil {
			found = true
			f.Size = int64(len(value) - acmeTime)
			f.Modified = time.Unix(0, int64(binary.BigEndian.Uint64(value)))
			return nil
		}
		b := tx.Bucket(bucketACME)
		f.Folder = b != nil && (clean == "" || acmeFolder(b, clean))
		found = f.Folder
		return nil
	})
	if err == nil && !found {
		return f, noACMEFile("stat", clean)
	}
	return f, err
}
