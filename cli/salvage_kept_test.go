package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// salvage --kept brings out expunged messages below Expunged; without it they
// stay away.
func TestSalvageKeptMessages(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "apple", "pear", "plum")
	s := startServer(t, data)
	ask(t, s, "SELECT INBOX", `STORE 2 +FLAGS (\Deleted)`, "EXPUNGE")
	_ = s.Close()
	<-s.code
	for _, kept := range []bool{false, true} {
		to := filepath.Join(t.TempDir(), "saved")
		args := []string{"salvage", data, "--to", to, "--format", "mbox"}
		if kept {
			args = append(args, "--kept")
		}
		must(t, "", args...)
		with := map[string]bool{} // which mailboxes have the expunged message
		if err := filepath.WalkDir(to, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			rel, _ := filepath.Rel(to, path)
			if strings.Contains(string(b), "pear in the body") {
				with[rel] = true
			} else if strings.Contains(string(b), "apple in the body") {
				with["live"] = true
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		expunged := 0
		for path := range with {
			if strings.Contains(path, "Expunged") && strings.Contains(path, "INBOX") {
				expunged++
			}
		}
		if !with["live"] || kept && (expunged != 1 || len(with) != 2) || !kept && len(with) != 1 {
			t.Errorf("--kept %v: %v", kept, with)
		}
	}
}
