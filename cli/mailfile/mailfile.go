// Package mailfile reads and writes mail as other programs keep it in files:
// mbox in its variants, Maildir and Maildir++ trees, and folders of .eml
// files. Everything streams; a message is never in memory as a whole.
package mailfile

import (
	"io"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A Format is a kind of mail file.
type Format string

// The formats. Of mbox, the variants differ in how a line of a message that
// begins with "From " is told from the line that begins a message:
// mboxrd puts ">" before each ">...From ", mboxo only before "From ", mboxcl
// and mboxcl2 say in Content-Length how long the body is, mboxcl with the
// quoting of mboxo, mboxcl2 without any.
const (
	Auto     Format = "auto"
	Mbox     Format = "mbox" // the variant is told by what is in the file
	MboxRD   Format = "mboxrd"
	MboxO    Format = "mboxo"
	MboxCL   Format = "mboxcl"
	MboxCL2  Format = "mboxcl2"
	Maildir  Format = "maildir"
	EMLFiles Format = "eml"
)

// Formats lists what Read takes.
func Formats() []Format {
	return []Format{Auto, Mbox, MboxRD, MboxO, MboxCL, MboxCL2, Maildir, EMLFiles}
}

func (f Format) isMbox() bool {
	return f == Mbox || f == MboxRD || f == MboxO || f == MboxCL || f == MboxCL2
}

// A Message is what a file says of a message beside its bytes.
type Message struct {
	Mailbox string // UTF-8, "/" between levels
	Flags   []imap.Flag
	Date    time.Time // zero when nothing tells it
	Source  string    // the file, and of an mbox the message's number

	asStored bool // its line ends are to be left alone
}

// A Sink takes what Read finds.
type Sink interface {
	// Mailbox is called for each mailbox, also an empty one, before its
	// messages.
	Mailbox(name string) error
	// Message reads one message, with the line ends that IMAP wants (lines.go),
	// to its end.
	Message(m *Message, body io.Reader) error
}
