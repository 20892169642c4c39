package e2e

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

const imapflowVersion = "2.10.2"

// clientImapflow: testdata/imapflow_session.mjs with npm's imapflow, which is
// installed once into the user's cache folder.
func clientImapflow(t *testing.T, l login) {
	dir := imapflow(t)
	path := imapflowScript(t, dir, "imapflow_session.mjs")
	run(t, dir, "node", path, l.host(), l.port(), l.tlsPort(), l.user, l.password)
}

// imapflow is the folder where it is installed.
func imapflow(t *testing.T) (dir string) {
	t.Helper()
	return npmPackage(t, "imapflow", imapflowVersion)
}

// npmPackage is the folder where a package is installed, once for all runs.
func npmPackage(t *testing.T, name, version string) (dir string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir = filepath.Join(cache, "nestbox-test", name+"-"+version)
	npmInstall.Lock()
	defer npmInstall.Unlock()
	if _, err := os.Stat(filepath.Join(dir, "node_modules", name)); err != nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "package.json"), "{}")
		if out, err := try(t, dir, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", name+"@"+version); err != nil {
			t.Skipf("npm can't install %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

var npmInstall sync.Mutex

// imapflowScript puts a script of testdata there: Node looks for modules from
// the script's own folder on.
func imapflowScript(t *testing.T, dir, name string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, name), "%s", text)
}
