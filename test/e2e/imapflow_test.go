package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

const imapflowVersion = "2.10.2"

// clientImapflow: testdata/imapflow_session.mjs with npm's imapflow, which is
// installed once into the user's cache folder.
func clientImapflow(t *testing.T, l login) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "nestbox-test", "imapflow-"+imapflowVersion)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "imapflow")); err != nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "package.json"), "{}")
		if out, err := try(t, dir, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "imapflow@"+imapflowVersion); err != nil {
			t.Skipf("npm can't install imapflow: %v\n%s", err, out)
		}
	}
	text, err := os.ReadFile(filepath.Join("testdata", "imapflow_session.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	// Node looks for modules from the script's own folder on.
	path := write(t, filepath.Join(dir, "imapflow_session.mjs"), "%s", text)
	run(t, dir, "node", path, l.host(), l.port(), l.tlsPort(), l.user, l.password)
}
