package storage

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// restart ends the process's knowledge of the account, and lets change work on
// the files.
func (s *blobScene) restart(change func(dir string)) {
	s.t.Helper()
	dir, id, opts, account := s.st.dir, s.a.id, s.st.opts, s.a.dir
	if err := s.st.Close(); err != nil {
		s.t.Fatal(err)
	}
	change(account)
	st, err := Open(dir, opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { st.Close() })
	s.st = st
	if s.a, err = st.Account(id); err != nil {
		s.t.Fatal(err)
	}
}

// forget takes the notes of the accounts out of system.db, as they are when
// all of a data folder comes from one older copy.
func (s *blobScene) forget() {
	s.t.Helper()
	if err := s.st.update(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketAccountNotes) == nil {
			return nil
		}
		return tx.DeleteBucket(bucketAccountNotes)
	}); err != nil {
		s.t.Fatal(err)
	}
}

// A volume that is ahead of the index stays so, however many commits the index
// makes and however often the box is started: its blobs may be somebody's mail.
func TestVolumeStaysAhead(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
	s.restart(func(dir string) { putFile(t, filepath.Join(dir, "old"), filepath.Join(dir, "mail.db")) })
	for i := range 3 {
		s.add(noise(int64(100+i), 400_000))
	}
	lost := append([]BlobID(nil), s.ids[4:7]...)
	s.restart(func(dir string) { putFile(t, filepath.Join(dir, "mail.db"), filepath.Join(dir, "old")) })
	s.forget() // before the account is opened
	s.ids, s.text = s.ids[:4], s.text[:4]
	for i := range 20 {
		s.add(noise(int64(200+i), 20_000))
	}
	for range 2 {
		s.restart(func(string) {})
		s.sweep()
		v, err := s.a.f.blobs.volumes.get(1)
		if err != nil {
			t.Fatal(err)
		}
		if state, err := v.state(); err != nil || !state.ahead {
			t.Error("the volume is not ahead any more", err)
		}
		for _, id := range lost {
			if err := s.a.f.viewVolume(1, func(tx *bolt.Tx) error { return (&blobRow{}).stored(tx, id) }); err != nil {
				t.Errorf("bytes that may have been acknowledged are gone: %v", err)
			}
		}
		s.add(noise(int64(300+len(s.ids)), 400_000))
	}
	for _, id := range s.ids[4:] {
		if id <= lost[2] {
			t.Errorf("blob id %d was given out again", id)
		}
	}
	s.readAll(nothing)
}

// Two histories of one account: the same blob ids, in the same volume, are
// other messages. None is shown in the place of another.
func TestVolumeOfAnotherHistory(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
	keep := func(dir, as string) {
		for _, name := range []string{"mail.db", "body-0001.db"} {
			putFile(t, filepath.Join(dir, name+as), filepath.Join(dir, name))
		}
	}
	s.restart(func(dir string) { keep(dir, ".first") })
	for i := range 3 {
		s.add(noise(int64(100+i), 300_000))
	}
	s.restart(func(dir string) {
		keep(dir, ".second")
		for _, name := range []string{"mail.db", "body-0001.db"} {
			putFile(t, filepath.Join(dir, name), filepath.Join(dir, name+".first"))
		}
	})
	s.forget()
	other := append([]BlobID(nil), s.ids[4:]...)
	s.ids, s.text = s.ids[:4], s.text[:4]
	for i := range 4 {
		s.add(noise(int64(200+i), 300_000))
	}
	if s.ids[4] != other[0] || s.volumeOf(4) != 1 {
		t.Fatal("the scene is not as it should be")
	}
	s.restart(func(dir string) {
		keep(dir, ".third")
		putFile(t, filepath.Join(dir, "body-0001.db"), filepath.Join(dir, "body-0001.db.second"))
	})
	s.readAll(func(i int) error { // and read compares what it gets
		if i >= 4 {
			return ErrUnavailable
		}
		return nil
	})
	if err := s.read(4); err == nil || !strings.Contains(err.Error(), "body-0001.db") {
		t.Errorf("the error doesn't name the file: %v", err)
	}
	// The same bytes brought again are stored again.
	s.add(s.text[5])
	if err := s.read(8); err != nil {
		t.Error(err)
	}
	s.sweep()
	if found, err := s.a.Check(); err != nil || len(found) == 0 {
		t.Error("Check says nothing", err)
	}
	s.restart(func(dir string) {
		putFile(t, filepath.Join(dir, "body-0001.db"), filepath.Join(dir, "body-0001.db.third"))
	})
	s.readAll(nothing)
	if errors.Is(s.read(8), ErrUnavailable) {
		t.Error("what came after is lost")
	}
}

// A crash between the commits of a volume and of mail.db is no other history.
func TestRunSurvivesACrash(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
	s.restart(func(string) {})
	u, err := s.a.NewUpload(-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(noise(9, 1_500_000)); err != nil { // in the volume, without a row
		t.Fatal(err)
	}
	s.restart(func(string) {})
	u.unstage()
	s.sweep()
	v, err := s.a.f.blobs.volumes.get(1)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := v.state(); err != nil || state.ahead || state.behind {
		t.Errorf("%+v, %v", state, err)
	}
	s.readAll(nothing)
	sound(t, s.a)
}

// A volume that was ahead is an ordinary one again when what it holds has its
// messages.
func TestVolumeIsAcceptedAgain(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
	s.restart(func(dir string) { putFile(t, filepath.Join(dir, "old"), filepath.Join(dir, "mail.db")) })
	for i := range 3 {
		s.add(noise(int64(100+i), 400_000))
	}
	lost := append([]BlobID(nil), s.ids[4:7]...)
	s.restart(func(dir string) { putFile(t, filepath.Join(dir, "mail.db"), filepath.Join(dir, "old")) })
	ahead := func() bool {
		t.Helper()
		s.sweep()
		v, err := s.a.f.blobs.volumes.get(1)
		if err != nil {
			t.Fatal(err)
		}
		state, err := v.state()
		if err != nil {
			t.Fatal(err)
		}
		return state.ahead
	}
	if s.readAll(func(i int) error {
		if i >= 4 {
			return ErrNoMessage
		}
		return nil
	}); !ahead() {
		t.Fatal("the volume is not ahead")
	}
	var strays []strayBlob
	for _, id := range lost {
		strays = append(strays, strayBlob{volume: 1, id: id})
	}
	for i, some := range [][]strayBlob{strays[:1], strays[1:]} {
		if err := s.a.recoverBlobs(t.Context(), some, func(_ string, r recoveredBlob) {
			if r.err != nil || r.uid == 0 {
				t.Errorf("blob %d: UID %d, known %v, %v", r.id, r.uid, r.known, r.err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		s.restart(func(string) {})
		s.readAll(func(j int) error {
			if j >= 5 && i == 0 {
				return ErrNoMessage
			}
			return nil
		})
		if got := ahead(); got != (i == 0) {
			t.Errorf("%d recovered: ahead %v", i+1, got)
		}
	}
	s.restart(func(string) {})
	s.add(noise(300, 400_000))
	if ahead() || s.volumeOf(7) != 1 {
		t.Errorf("new mail went to volume %d", s.volumeOf(7))
	}
	s.readAll(nothing)
	sound(t, s.a)
}
