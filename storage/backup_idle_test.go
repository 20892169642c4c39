package storage

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestBackupAfterCompaction: the last thing that happened to an account is that
// a sealed volume was compacted. mail.db has not seen the volume's last commit,
// and will not before the next mail. A backup copies the account all the same,
// and each volume once.
func TestBackupAfterCompaction(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(30, 400_000)...)
	box := inbox(t, s.a)
	uids, err := s.a.UIDs(box.Space, 1, box.UIDNext, make([]imap.UID, 0, 100))
	must(t, err)
	s.purge(uids[3:6])
	s.sweep()
	must(t, s.a.collectRest(t.Context()))
	s.restart(func(string) {})
	must(t, s.a.exec(func(f *files) error { return f.mail.Update(f.blobs.stamp) })) // mail.db lists the run
	must(t, s.a.Compact(t.Context(), true))
	for _, when := range []string{"at once", "after a restart"} {
		files := map[string]int{}
		b, err := OpenBackupDir(t.Context(), filepath.Join(t.TempDir(), "backup"), s.st.dir, false)
		must(t, err)
		must(t, b.Check(s.st.id))
		err = s.st.Backup(t.Context(), b.Have(), func(p *BackupPart) error {
			if p.Kind == BackupFailed {
				t.Errorf("%s: %s", when, p.Text)
			}
			if p.Kind == BackupFile {
				files[p.Name]++
			}
			return b.Take(p)
		})
		if err = errors.Join(err, b.Close()); err != nil || len(b.Report().Findings) > 0 {
			t.Fatal(when, err, b.Report())
		}
		for name, n := range files {
			if n > 1 && name != mailFile {
				t.Errorf("%s: %s was copied %d times", when, name, n)
			}
		}
		if len(files) < 4 {
			t.Errorf("%s: the scene is not as it should be: %v", when, files)
		}
		s.restart(func(string) {})
	}
}
