package storage

import (
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A SalvagedMessage is a message that was brought out.
type SalvagedMessage struct {
	Mailbox string
	UID     imap.UID // 0 if its row is lost
	Flags   []imap.Flag
	Date    time.Time
	Size    int64  // octets of Body
	ID      string // tells it from others of the mailbox
	Subject string
	// Damage says what is missing of it, "" if nothing is.
	Damage string

	body *salvagedBody
}

// Body reads the message from its beginning, each time that it is called.
func (m *SalvagedMessage) Body() io.Reader { return m.body.reader(m.Subject) }

// A SalvageSink takes what Salvage finds in an account.
type SalvageSink interface {
	// Account begins an account.
	Account(name string) error
	// Mailbox is called for each mailbox, also an empty one, before its messages.
	Mailbox(name string) error
	// Message takes a message. An error that Body's reader returned is to be
	// returned as it is, or wrapped; it ends this message only.
	Message(m *SalvagedMessage) error
	// Finding takes what is not, or not all, there.
	Finding(f SalvageFinding) error
}

// Kinds of findings.
const (
	SalvageDamaged   = "damaged"   // a message of which a part was brought out
	SalvageLost      = "lost"      // messages that were not brought out
	SalvageRecovered = "recovered" // a message that was brought out without its mailbox, flags and date
	SalvagePage      = "page"      // a page that is damaged or can't be read
	SalvageFile      = "file"      // a file that is not there, or can't be used
)

// A SalvageFinding is a line of the list of what is missing.
type SalvageFinding struct {
	Kind     string   `json:"kind"`
	Account  string   `json:"account"`
	Mailbox  string   `json:"mailbox,omitempty"`
	UID      imap.UID `json:"uid,omitempty"`
	Last     imap.UID `json:"last_uid,omitempty"` // all from UID to this one
	Messages int      `json:"messages,omitempty"`
	Subject  string   `json:"subject,omitempty"`
	File     string   `json:"file,omitempty"`
	Page     uint64   `json:"page,omitempty"`
	Why      string   `json:"why"`
}

func (f SalvageFinding) String() string {
	s := f.Kind + ": " + f.Account
	if f.Mailbox != "" {
		s += ", " + f.Mailbox
	}
	switch {
	case f.Last > f.UID:
		s += fmt.Sprintf(", UIDs %d to %d", f.UID, f.Last)
	case f.UID > 0:
		s += fmt.Sprintf(", UID %d", f.UID)
	}
	if f.File != "" {
		s += ", " + f.File
	}
	if f.Kind == SalvagePage {
		s += fmt.Sprintf(", page %d", f.Page)
	}
	if f.Subject != "" {
		s += fmt.Sprintf(" (%q)", f.Subject)
	}
	return s + ": " + f.Why
}

// SalvageCounts is what was brought out of an account, and what was not.
type SalvageCounts struct {
	Account   string `json:"account"`
	ID        string `json:"id"`
	Exported  int    `json:"exported"`  // whole messages
	Damaged   int    `json:"damaged"`   // of which a part was exported
	Lost      int    `json:"lost"`      // not exported, as far as is known
	Recovered int    `json:"recovered"` // exported without their mailbox: among the other two
	Kept      int    `json:"kept"`      // expunged ones that were exported: among the first two
	Pages     int    `json:"pages"`     // damaged or unreadable
	Octets    int64  `json:"octets"`
	// Missing: something is not there, or may not be.
	Missing bool `json:"missing"`
}
