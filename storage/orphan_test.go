package storage

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// TestAcknowledgedByTheNextCommit: mail.db is put back as it was one commit
// ago, and nothing in the files tells the last message of the body volume from
// one that a crash left. It is not swept before its time, and can be had back.
func TestAcknowledgedByTheNextCommit(t *testing.T) {
	t.Parallel()
	for name, recover := range map[string]bool{"left alone": false, "restored": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
			dir := s.a.dir
			s.a.exec(func(*files) error { putFile(t, filepath.Join(dir, "old"), filepath.Join(dir, "mail.db")); return nil })
			s.add(noise(100, 300_000))
			lost, text := s.ids[4], s.text[4]
			s.restart(func(dir string) { putFile(t, filepath.Join(dir, "mail.db"), filepath.Join(dir, "old")) })
			s.forget()
			s.ids, s.text = s.ids[:4], s.text[:4]
			there := func() bool {
				return s.a.exec(func(f *files) error {
					return f.viewVolume(1, func(tx *bolt.Tx) error { return (&blobRow{}).stored(tx, lost) })
				}) == nil
			}
			for i := range 2 {
				s.readAll(nothing)
				s.sweep()
				if !there() {
					t.Fatal("what was acknowledged is swept")
				}
				sound(t, s.a)
				s.add(noise(int64(200+i), 20_000))
				s.restart(func(string) {})
			}
			if !recover {
				s.st.opts.Time = &testTime{wall: time.Now().Add(orphanKept + oneDay), synced: true, known: true}
				s.restart(func(string) {})
				s.readAll(nothing)
				s.sweep()
				if there() {
					t.Error("it is there for ever")
				}
				return
			}
			for range 2 { // the second finds nothing to do
				if err := s.st.Restored(s.a.id); err != nil {
					t.Fatal(err)
				}
				s.sweep()
				found := 0
				boxes, err := s.a.Mailboxes()
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range boxes {
					if !strings.HasPrefix(m.Name, recoveredName) {
						continue
					}
					rows, err := s.a.Rows(m.Space, []imap.UID{1, 2, 3}, nil)
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range rows {
						b, err := s.a.OpenBlob(r.Blob)
						if err != nil {
							t.Fatal(err)
						}
						var w bytes.Buffer
						if _, err := b.WriteRange(&w, 0, b.Size()); err != nil || !bytes.Equal(w.Bytes(), text) {
							t.Error("it came back otherwise:", err)
						}
						b.Close()
						found++
					}
				}
				if found != 1 {
					t.Errorf("%d messages were recovered", found)
				}
				sound(t, s.a)
			}
		})
	}
}

// TestSparseBlobIDs: an index from elsewhere, or a damaged one, has ids far
// apart. The signatures of what there is are made all the same.
func TestSparseBlobIDs(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, hooks{}, sizesOf(3, 2000)...)
	for _, far := range []BlobID{1 << 40, 1<<64 - 1} {
		if err := s.a.exec(func(f *files) error { f.blobs.next = far - 3; return nil }); err != nil {
			t.Fatal(err)
		}
		s.add(noise(int64(far), 2000))
		s.add(noise(int64(far+1), 2000))
		if err := s.a.exec(func(f *files) error { f.blobs.next = far; return nil }); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			start := time.Now()
			if err := s.a.index.build(t); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Error("it took", took)
			}
			s.restart(func(string) {})
		}
	}
}
