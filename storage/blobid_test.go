package storage

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestVolumeBusyAfterACrash: a crash left a blob in the last volume whose id
// mail.db doesn't know, and at the next start the volume can't be opened for a
// while. Its ids are not given out again: else the bytes that the crash left
// would belong to another message's row, and stay for ever.
func TestVolumeBusyAfterACrash(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"into mail.db": 3000, "into a volume": 300_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
			s.purge(nil)
			s.sweep() // mail.db has room again
			s.add(noise(10, 1000))
			if size > 100_000 {
				for i := range 3 {
					s.add(noise(int64(20+i), 300_000))
				}
			}
			s.restart(func(string) {})
			s.add(noise(30, 1000)) // mail.db lists the run
			u, err := s.a.NewUpload(900_000)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.a.exec(func(f *files) error { f.blobs.first = 0; return nil }); err != nil { // into the volume
				t.Fatal(err)
			}
			if _, err := u.Write(noise(9, 800_000)); err != nil {
				t.Fatal(err)
			}
			left := u.blob
			if u.volume == 0 {
				t.Fatal("the scene is not as it should be")
			}
			dir := t.TempDir()
			s.a.exec(func(*files) error { return os.CopyFS(dir, os.DirFS(s.st.dir)) })
			u.Abort()
			crashed := s.opened(dir)

			busy, err := os.Open(filepath.Join(crashed.a.dir, "body-0001.db"))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Flock(int(busy.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
				t.Fatal(err)
			}
			crashed.add(noise(200, size))
			if v := crashed.a.f.blobs.volumes.all[1]; v.isOpen() {
				t.Fatal("the volume is open")
			}
			if err := busy.Close(); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				crashed.add(noise(int64(201+i), size))
			}
			for _, id := range crashed.ids[len(crashed.ids)-4:] {
				if id == left {
					t.Errorf("blob id %d was given out again", id)
				}
			}
			crashed.stored(1)
			crashed.sweep()
			crashed.add(noise(300, 300_000))
			crashed.sweep()
			sound(t, crashed.a)
		})
	}
}

// TestVolumeKnowsItsIDs: mail.db was put back as it was before the last message
// of a volume, or a crash came between the two commits. Then the volume is
// written to, and compacted, before anything is uploaded: it still knows the
// id, and it is not given out again after the next crash.
func TestVolumeKnowsItsIDs(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(s *blobScene) error{
		"compaction": func(s *blobScene) error {
			return s.a.exec(func(f *files) error { return s.commitVolume(f, keyFreed, []byte{}) })
		},
		"commit": func(s *blobScene) error {
			return s.a.exec(func(f *files) error { return s.commitVolume(f, []byte("test"), []byte{}) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
			dir := s.a.dir
			s.a.exec(func(*files) error { putFile(t, filepath.Join(dir, "old"), filepath.Join(dir, "mail.db")); return nil })
			s.add(noise(100, 300_000))
			left := s.ids[4]
			s.restart(func(dir string) { putFile(t, filepath.Join(dir, "mail.db"), filepath.Join(dir, "old")) })
			s.forget()
			s.ids, s.text = s.ids[:4], s.text[:4]
			if err := write(s); err != nil {
				t.Fatal(err)
			}
			if name == "compaction" {
				if err := s.a.Compact(t.Context(), true); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 2 {
				s.restart(func(string) {})
				s.forget()
				s.add(noise(int64(200+i), 3000))
				if id := s.ids[len(s.ids)-1]; id <= left {
					t.Errorf("id %d was given out, and the volume has %d", id, left)
				}
			}
			s.readAll(nothing)
			sound(t, s.a)
		})
	}
}

// commitVolume commits to the first volume.
func (s *blobScene) commitVolume(f *files, key, value []byte) error {
	return f.blobs.volumes.commit(1, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(key, value) })
}
