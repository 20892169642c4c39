package storage

import (
	"encoding/base32"
	"encoding/hex"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// AccountID names an account's folder: 80 random bits in lower-case base32.
type AccountID string

// MailboxID is the MAILBOXID of RFC 8474: it survives RENAME and is never
// given to another mailbox.
type MailboxID [16]byte

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String is the form that clients see (RFC 8474 §7, objectid).
func (id MailboxID) String() string { return "F" + idEncoding.EncodeToString(id[:]) }

// EmailID tells messages by their bytes: 128 bits of HMAC-SHA-256 of the
// message's SHA-256 under the account's secret, so that the same bytes have
// the same id in one account and an unrelated one in another.
type EmailID [16]byte

// String is the form that clients see (RFC 8474 §7, objectid).
func (id EmailID) String() string { return "M" + hex.EncodeToString(id[:]) }

// ModSeq is a mod-sequence (RFC 7162 §3.1), from one counter an account. It
// is never 0 and fits in 63 bits.
type ModSeq uint64

// Space names the rows of one mailbox. The mailbox row holds it, so that
// deleting a mailbox or renaming INBOX moves no message row.
type Space uint32

// BlobID names the stored bytes of a message within an account. Ids are
// given out in ascending order and never again.
type BlobID uint64

// ThreadID names a thread within an account.
type ThreadID uint64

// String is the form that clients see (RFC 8474 §7, objectid).
func (id ThreadID) String() string {
	var b [8]byte
	for i := range b {
		b[i] = byte(id >> (56 - 8*i))
	}
	return "T" + hex.EncodeToString(b[:])
}

// Flags of a message: the low five bits are the system flags, the others
// stand for the mailbox's keywords in the order of Mailbox.Keywords.
type Flags uint64

// The system flags of RFC 9051 §2.3.2 that are stored.
const (
	FlagAnswered Flags = 1 << iota
	FlagFlagged
	FlagDeleted
	FlagSeen
	FlagDraft

	systemFlags = 5
	// MaxKeywords is how many keywords a mailbox can have.
	MaxKeywords = 64 - systemFlags
)

var systemFlagNames = [systemFlags]imap.Flag{
	imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagSeen, imap.FlagDraft,
}

// A Mailbox is a mailbox row as it was at one moment.
type Mailbox struct {
	ID            MailboxID
	Name          string // UTF-8, NFC, "/" between levels
	Space         Space
	UIDValidity   uint32
	UIDNext       imap.UID
	HighestModSeq ModSeq
	// Floor is the MODSEQ up to which tombstones are forgotten.
	Floor ModSeq
	// Messages, Unseen and Deleted count messages; Octets and DeletedOctets
	// their sizes.
	Messages, Unseen, Deleted uint32
	Octets, DeletedOctets     int64
	// FirstUnseen is a lower bound of the UIDs without \Seen.
	FirstUnseen imap.UID
	// RecentUID is the highest UID that some session was told is \Recent.
	RecentUID  imap.UID
	SpecialUse []imap.MailboxAttr
	// KeptDays is 1 more than the days for which its expunged messages are
	// kept; 0 for as long as the account's. With Hold they are kept for ever.
	KeptDays uint32
	Hold     bool
	// Recovered marks the mailbox that gets messages without an owner (recovered.go).
	Recovered bool
	// ACL says what others than the account's owner may do.
	ACL ACL
	// Keywords in the order of their bits in Flags.
	Keywords []string
}

// FlagNames lists f as flags.
func (m *Mailbox) FlagNames(f Flags) []imap.Flag {
	var names []imap.Flag
	for i, name := range systemFlagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	for i, name := range m.Keywords {
		if f&(1<<(i+systemFlags)) != 0 {
			names = append(names, imap.Flag(name))
		}
	}
	return names
}

// AppendFlags appends f in wire form, "(\Seen foo)", with \Recent when recent.
func (m *Mailbox) AppendFlags(dst []byte, f Flags, recent bool) []byte {
	dst = append(dst, '(')
	start := len(dst)
	for i, name := range systemFlagNames {
		if f&(1<<i) != 0 {
			dst = append(append(dst, name...), ' ')
		}
	}
	if recent {
		dst = append(dst, `\Recent `...)
	}
	if f>>systemFlags != 0 {
		for i, name := range m.Keywords {
			if f&(1<<(i+systemFlags)) != 0 {
				dst = append(append(dst, name...), ' ')
			}
		}
	}
	if len(dst) > start {
		dst = dst[:len(dst)-1]
	}
	return append(dst, ')')
}

// Bit returns the bit of flag, or 0 when the mailbox has no such keyword.
// Flags are the same in any case (RFC 9051 §2.3.2).
func (m *Mailbox) Bit(flag imap.Flag) Flags {
	for i, name := range systemFlagNames {
		if strings.EqualFold(string(name), string(flag)) {
			return 1 << i
		}
	}
	for i, name := range m.Keywords {
		if strings.EqualFold(name, string(flag)) {
			return 1 << (i + systemFlags)
		}
	}
	return 0
}

// A Row is what is stored of a message in a mailbox.
type Row struct {
	UID      imap.UID
	ModSeq   ModSeq
	Flags    Flags
	Date     int64 // INTERNALDATE, seconds since 1970
	Zone     int16 // its zone, minutes east of UTC
	SaveDate int64 // SAVEDATE of RFC 8514, seconds since 1970
	Size     int64 // octets (RFC822.SIZE)
	Blob     BlobID
	Email    EmailID
	Thread   ThreadID
	// Expunged marks a row that is kept for sessions that have not yet been
	// told of the expunge, and for restoring (RFC 2180 §4.1.1).
	Expunged bool
}

// InternalDate is the message's INTERNALDATE in its own zone.
func (r *Row) InternalDate() time.Time {
	return time.Unix(r.Date, 0).In(time.FixedZone("", int(r.Zone)*60))
}

// A Change is a message's state after a flag change, or an expunge.
type Change struct {
	UID imap.UID
	// Last is UID, or of an expunge the end of a range: all messages from UID
	// to Last are gone.
	Last     imap.UID
	ModSeq   ModSeq
	Flags    Flags
	Expunged bool
	// Was is the row's MODSEQ before the request. Only StoreFlags sets it: the
	// log keeps a message's last change, so a session that changes a message
	// silently sees by it that there was another change that it was not told.
	Was ModSeq
}

// A Waker is told that a mailbox changed. Wake must not block, and must not
// call the storage: it hands the news to the session's own goroutine.
type Waker interface{ Wake() }

// StoreMode says what StoreFlags does with the flags given.
type StoreMode uint8

// The modes of STORE (RFC 9051 §6.4.6).
const (
	StoreReplace StoreMode = iota // FLAGS
	StoreAdd                      // +FLAGS
	StoreRemove                   // -FLAGS
)

// A StoreRequest changes the flags of messages.
type StoreRequest struct {
	UIDs              []imap.UID // ascending
	Mode              StoreMode
	Flags             []imap.Flag
	UnchangedSince    ModSeq // with HasUnchangedSince: RFC 7162 §3.1.3
	HasUnchangedSince bool
	Fixed             Flags // stay as they are: Rights.FixedFlags
}

// A StoreResult is what StoreFlags did.
type StoreResult struct {
	// The request took the MODSEQs from FirstModSeq to ModSeq, and no other
	// request took one between them; 0 when nothing changed.
	FirstModSeq, ModSeq ModSeq
	// Changed has the state of each message that the request names and that
	// exists, in UID order; one that already had the flags keeps its ModSeq.
	Changed []Change
	// Modified are the UIDs that failed UNCHANGEDSINCE.
	Modified []imap.UID
	// Mailbox is the row afterwards (its Keywords name the bits in Changed).
	Mailbox Mailbox
}

// An AppendResult is what Append did.
type AppendResult struct {
	UIDValidity uint32
	UIDs        []imap.UID
	ModSeq      ModSeq
}

// An ExpungeResult is what Expunge did. The request took the MODSEQs from
// FirstModSeq to ModSeq; 0 when nothing was expunged.
type ExpungeResult struct {
	FirstModSeq, ModSeq ModSeq
	UIDs                []imap.UID
}

// A CopyResult is what Copy did. From and To belong together one by one.
type CopyResult struct {
	UIDValidity uint32 // of the destination
	From, To    []imap.UID
	// Of a MOVE, the source's expunges took every MODSEQ that FirstModSeq to
	// ModSeq have for that mailbox.
	FirstModSeq, ModSeq ModSeq
	DestModSeq          ModSeq
}
