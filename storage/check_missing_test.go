package storage

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckOfMissingFiles: one finding that names what is missing, and nothing
// about damaged pages.
func TestCheckOfMissingFiles(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"", "mail.db"} {
		for _, account := range []string{"", "ann"} {
			dir := filepath.Join(t.TempDir(), "data")
			st, a := strayStore(t, dir)
			appendTo(t, a, inbox(t, a).ID, message(1))
			must(t, st.Close())
			path := filepath.Join(a.dir, what)
			must(t, os.Rename(path, filepath.Join(dir, "aside")))
			st, err := Open(dir, Options{NoSync: true})
			must(t, err)
			var all []Finding
			left, err := st.CheckEach(context.Background(), CheckOptions{Account: account, Repair: true}, func(f Finding) error { all = append(all, f); return nil })
			if err != nil || left != 1 {
				t.Errorf("%q of %q: %d left, %v", what, account, left, err)
			}
			for _, f := range all {
				if !strings.Contains(f.Text, path) || f.Kind == "pages" {
					t.Errorf("%q of %q: %+v", what, account, f)
				}
			}
			must(t, st.Close())
			must(t, os.Rename(filepath.Join(dir, "aside"), path))
			st, err = Open(dir, Options{NoSync: true})
			must(t, err)
			sound(t, accountOf(t, st, a.id))
			must(t, st.Close())
		}
	}
}
