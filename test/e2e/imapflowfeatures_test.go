package e2e

import "testing"

// clientImapflowFeatures: CONDSTORE, QRESYNC, COMPRESS, OBJECTID, IDLE and
// UTF8=ACCEPT as npm's imapflow uses them.
func clientImapflowFeatures(t *testing.T, l login) {
	dir := imapflow(t)
	path := imapflowScript(t, dir, "imapflow_features.mjs")
	run(t, dir, "node", path, l.host(), l.port(), l.tlsPort(), l.user, l.password)
}
