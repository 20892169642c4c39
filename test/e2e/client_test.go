package e2e

import "testing"

// clients are the real programs that must work, one file each.
var clients = []struct {
	name     string
	programs []string // must be installed
	run      func(t *testing.T, l login)
}{
	{"curl", []string{"curl"}, clientCurl},
	{"gsasl", []string{"gsasl"}, clientGsasl},
	{"mbsync", []string{"mbsync"}, clientMbsync},
	{"offlineimap", []string{"offlineimap"}, clientOfflineIMAP},
	{"neomutt", []string{"neomutt", "script"}, clientNeomutt},
	{"imaplib", []string{"python3"}, clientImaplib},
	{"perl", []string{"perl"}, clientPerl},
	{"go-imap", nil, clientGoIMAP},
	{"imapflow", []string{"node", "npm"}, clientImapflow},
	{"imapflow-features", []string{"node", "npm"}, clientImapflowFeatures},
	{"neomutt-qresync", []string{"neomutt", "script"}, clientNeomuttCache},
	{"doveadm", []string{"doveadm"}, clientDoveadm},
	{"imap_tools", []string{debianPython}, clientImapTools},
	{"partial-flush", []string{"python3"}, clientPartialFlush},
	{"php", []string{"php"}, clientPHP},
	{"getmail", []string{"getmail"}, clientGetmail},
	{"fetchmail", []string{"fetchmail"}, clientFetchmail},
}

func TestClients(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			need(t, c.programs...)
			c.run(t, h.login(t))
		})
	}
}
