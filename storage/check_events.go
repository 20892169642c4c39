package storage

import (
	"errors"
	"io/fs"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// lookAtEvents checks events.db, which may be missing.
func (st *Store) lookAtEvents(r *checkReport) error {
	st.events.using.Lock()
	defer st.events.using.Unlock()
	db, err := openEvents(filepath.Join(st.dir, eventsFile), st.id, &bolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		if !unusableEvents(err) {
			return mapError(err)
		}
		r.find("%v", err)
		return nil
	}
	defer db.Close()
	before := r.n
	if err := r.auditDB(eventsFile, db); err != nil || r.n > before {
		return err
	}
	return db.View(func(tx *bolt.Tx) error {
		for _, name := range eventsBuckets() {
			err := tx.Bucket(name).ForEach(func(k, v []byte) error {
				if _, err := unsealSystem(k, v); err != nil {
					r.find("%s, %s: a row fails its checksum", eventsFile, name)
				}
				return r.failed
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// mendEvents begins another events.db.
func (st *Store) mendEvents(r *checkReport) error {
	st.events.using.Lock()
	defer st.events.using.Unlock()
	err := st.setEventsAside(filepath.Join(st.dir, eventsFile), errors.New("nestbox check --repair"))
	if err == nil {
		r.did("%s is put aside as %s, and another begins", eventsFile, eventsFile+eventsAside)
	}
	return err
}
