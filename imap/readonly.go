package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// readCommands are what a session may do that logged in to read only (an app
// password with that scope). SELECT is EXAMINE in it, so that FETCH sets no \Seen,
// CLOSE expunges nothing and \Recent stays for others. What is not here changes
// something that others see, and is refused: a new command too, until somebody
// has thought of it.
var readCommands = func() map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(`
		CAPABILITY NOOP LOGOUT ID STARTTLS LOGIN AUTHENTICATE UNAUTHENTICATE ENABLE COMPRESS LANGUAGE
		IDLE NOTIFY CANCELUPDATE NAMESPACE LIST LSUB STATUS SELECT EXAMINE UNSELECT CLOSE CHECK
		FETCH SEARCH ESEARCH SORT THREAD UIDBATCHES URLFETCH
		GETQUOTA GETQUOTAROOT GETACL LISTRIGHTS MYRIGHTS GETMETADATA`) {
		all[name] = true
	}
	return all
}()

// permitted refuses what the login may not do.
func (s *session) permitted(r *request) error {
	if s.account == nil || !s.login.ReadOnly() || readCommands[r.cmd.name] {
		return nil
	}
	return no(imap.ResponseCodeNoPerm, "this app password is for reading only")
}
