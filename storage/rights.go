package storage

import (
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Rights are the standard rights of RFC 4314 §2.1.
type Rights uint16

// The rights, in the order in which they are written.
const (
	RightLookup     Rights = 1 << iota // l: LIST shows the mailbox
	RightRead                          // r: SELECT, STATUS
	RightSeen                          // s: change \Seen
	RightWrite                         // w: change other flags
	RightInsert                        // i: APPEND, COPY into it
	RightPost                          // p: mail to it; not enforced here
	RightCreate                        // k: CREATE below it
	RightDelete                        // x: DELETE, RENAME
	RightDeleteMail                    // t: change \Deleted
	RightExpunge                       // e: EXPUNGE
	RightAdmin                         // a: SETACL, GETACL

	AllRights = 1<<len(rightLetters) - 1
)

const rightLetters = "lrswipkxtea"

// The rights of RFC 2086 that stand for several (RFC 4314 §2.1.1): "create",
// and "delete" messages.
const (
	rightC = RightCreate | RightDelete
	rightD = RightDeleteMail | RightExpunge
)

// ParseRights reads rights, "lrs"; c and d stand for their members.
func ParseRights(text string) (r Rights, err error) {
	for i := range len(text) {
		switch at := strings.IndexByte(rightLetters, text[i]); {
		case at >= 0:
			r |= 1 << at
		case text[i] == 'c':
			r |= rightC
		case text[i] == 'd':
			r |= rightD
		default:
			return 0, fmt.Errorf("%q is not a right: they are %s", text[i:i+1], rightLetters)
		}
	}
	return r, nil
}

// String writes the rights, with c and d where a member of theirs is set.
func (r Rights) String() string {
	b := []byte(r.Letters())
	if r&rightC != 0 {
		b = append(b, 'c')
	}
	if r&rightD != 0 {
		b = append(b, 'd')
	}
	return string(b)
}

// FixedFlags are the flags that who has these rights may not change (RFC 4314 §4).
func (r Rights) FixedFlags() (f Flags) {
	if r&RightSeen == 0 {
		f |= FlagSeen
	}
	if r&RightDeleteMail == 0 {
		f |= FlagDeleted
	}
	if r&RightWrite == 0 {
		f |= ^(FlagSeen | FlagDeleted)
	}
	return f
}

// Flags are those among flags that may be changed with these rights.
func (r Rights) Flags(flags []imap.Flag) []imap.Flag {
	if r.FixedFlags() == 0 {
		return flags
	}
	may := make([]imap.Flag, 0, len(flags))
	for _, flag := range flags {
		need := RightWrite
		switch {
		case strings.EqualFold(string(flag), string(imap.FlagSeen)):
			need = RightSeen
		case strings.EqualFold(string(flag), string(imap.FlagDeleted)):
			need = RightDeleteMail
		}
		if r&need != 0 {
			may = append(may, flag)
		}
	}
	return may
}

// Letters are the rights without c and d.
func (r Rights) Letters() string {
	b := make([]byte, 0, len(rightLetters))
	for i := range len(rightLetters) {
		if r&(1<<i) != 0 {
			b = append(b, rightLetters[i])
		}
	}
	return string(b)
}
