package storage

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBranchesThatLeadBack: bbolt would follow them until the stack is full,
// and end the process.
func TestBranchesThatLeadBack(t *testing.T) {
	s := newFlipScene(t)
	account := filepath.Join(accountsFolder, string(s.id))
	ne, done := binary.NativeEndian, 0
	for _, file := range []string{systemFile, filepath.Join(account, "mail.db"), filepath.Join(account, "search.db"), filepath.Join(account, "body-0001.db"), filepath.Join(account, "body-0002.db")} {
		for kind, pages := range pageKinds(t, filepath.Join(s.base, file)) {
			if !strings.HasPrefix(kind, "branch of ") {
				continue
			}
			for _, to := range []uint64{pages[0], pages[len(pages)-1]} {
				b, err := os.ReadFile(filepath.Join(s.base, file))
				must(t, err)
				page := b[pages[0]*pageBytes:]
				for i := range elementsOf(page) {
					ne.PutUint64(page[pageHeader+i*16+8:], to)
				}
				dir := s.copyOf()
				must(t, os.WriteFile(filepath.Join(dir, file), b, 0o600))
				var lines []string
				st, err := Open(dir, s.options(&lines))
				if err != nil {
					if !strings.Contains(err.Error(), filepath.Base(file)) {
						t.Errorf("%s, %s: %v", file, kind, err)
					}
					done++
					continue
				}
				findings, err := st.Check()
				for key, text := range second(everything(st, s.id)) {
					if want, ok := s.texts[key]; ok && text != want {
						t.Errorf("%s, %s: %s is served otherwise", file, kind, key)
					}
				}
				if a, err := st.Account(s.id); err == nil {
					if _, err := a.Candidates([]BlobID{1, 2, 3}, "example"); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnavailable) {
						t.Error(err)
					}
				}
				if err == nil && len(findings) == 0 && len(lines) == 0 {
					t.Errorf("%s, %s: nobody noticed", file, kind)
				}
				must(t, st.Close())
				done++
			}
		}
	}
	if done < 10 {
		t.Errorf("only %d", done)
	}
}
