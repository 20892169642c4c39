package e2e

import "testing"

// debianPython is the one that Debian's packages are for.
const debianPython = "/usr/bin/python3"

// clientImapTools: testdata/imap_tools_session.py.
func clientImapTools(t *testing.T, l login) {
	if out, err := try(t, t.TempDir(), debianPython, "-c", "import imap_tools"); err != nil {
		missing(t, "python3-imap-tools is not installed: %s", out)
	}
	script(t, l, debianPython, "imap_tools_session.py")
}

// clientPHP: testdata/php_session.php.
func clientPHP(t *testing.T, l login) {
	if out, err := try(t, t.TempDir(), "php", "-r", "exit(extension_loaded('imap') ? 0 : 1);"); err != nil {
		missing(t, "php-imap is not installed: %s", out)
	}
	script(t, l, "php", "php_session.php")
}

// clientPartialFlush: testdata/partial_flush.py, with the real zlib.
func clientPartialFlush(t *testing.T, l login) { script(t, l, "python3", "partial_flush.py") }
