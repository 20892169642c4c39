// Package admin changes what a data folder holds: accounts, addresses,
// settings, and mail in bulk. API has two implementations: Local works on an
// open store, Remote asks the running server over its control socket. No call
// takes the path of a file: mail is streamed by who has read it.
package admin

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// API is what the nestbox commands, and later the web page, can do. Errors
// are those of storage and auth, from either side of the socket.
type API interface {
	Accounts(ctx context.Context) ([]Account, error)
	// AddAccount makes an account with its first mailboxes.
	AddAccount(ctx context.Context, name, password string) (Account, error)
	SetPassword(ctx context.Context, name, password string) error
	DeleteAccount(ctx context.Context, name string) error
	// DeletionNotice is what who deletes an account is to be told before, ""
	// if nothing.
	DeletionNotice(ctx context.Context, name string) (string, error)

	// Addresses lists an account's addresses, or with an empty name all.
	Addresses(ctx context.Context, account string) ([]Address, error)
	AddAddress(ctx context.Context, account, address string) error
	DeleteAddress(ctx context.Context, address string) error

	Domains(ctx context.Context) ([]string, error)
	AddDomain(ctx context.Context, domain string) error
	DeleteDomain(ctx context.Context, domain string) error

	// Settings are the household's that are set; nil in SetSetting gives the
	// default back.
	Settings(ctx context.Context) (map[string]string, error)
	SetSetting(ctx context.Context, key string, value *string) error

	Mailboxes(ctx context.Context, account string) ([]Mailbox, error)
	// Import begins to add messages to an account.
	Import(ctx context.Context, account string, o ImportOptions) (Importer, error)
	// Export calls f with each message of a mailbox in UID order. The body
	// must be read in f. A message that can't be read gives a *SourceError
	// from body; f may return nil then, to go on with the next.
	Export(ctx context.Context, account, mailbox string, f func(m *Message, body io.Reader) error) error

	DeletedAPI
	KeptAPI
	RestoredAPI
	CheckAPI
	HealthAPI
	// BackupSource says which data folder Backup copies, and Backup hands it
	// out, but for what the copy has (storage.Store.Backup).
	BackupSource(ctx context.Context) (BackupSource, error)
	Backup(ctx context.Context, have storage.BackupHave, sink func(*storage.BackupPart) error) error
	PolicyAPI
	SharingAPI
	BansAPI
	AuditAPI
	AppPasswordAPI
	ActAsAPI
	ForeignAPI
	InviteAPI
	CertAPI
	// Portable writes all mail as a portable stream (storage.Store.WritePortable).
	Portable(ctx context.Context, w io.Writer) error

	Close() error
}

// A SourceError is an error of the bytes of a message, wherever they come
// from, and not of what is done with them.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// ErrNoServer says that no server answers on the control socket.
var ErrNoServer = errors.New("no server answers")

// Account is an account and what it holds.
type Account struct {
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	Created   time.Time `json:"created"`
	Disabled  bool      `json:"disabled,omitempty"`
	Shared    bool      `json:"shared,omitempty"` // nobody logs in to it
	Addresses []string  `json:"addresses"`
	// Password is how the main password is kept: PasswordScram and so on.
	Password string `json:"password_kind,omitempty"`
	Messages int64  `json:"messages"`
	Octets   int64  `json:"octets"`
}

// Address is an address and the account it belongs to.
type Address struct {
	Address string    `json:"address"`
	Account string    `json:"account"`
	Created time.Time `json:"created"`
}

// Mailbox is a mailbox of an account.
type Mailbox struct {
	Name     string `json:"name"`
	Messages int64  `json:"messages"`
	Octets   int64  `json:"octets"`
}

// Message is what belongs to a message beside its bytes.
type Message struct {
	Mailbox string      `json:"mailbox"`
	Flags   []imap.Flag `json:"flags,omitempty"`
	Date    time.Time   `json:"date"` // INTERNALDATE
	// Size is the octets of the message, -1 when it isn't known yet.
	Size int64 `json:"size"`
	// Source names the message in reports: a file, or a place in one.
	Source string `json:"source,omitempty"`

	// Of exported messages: EMAILID, UID, and what a file format must know of
	// the bytes before it writes them: lines end otherwise than with one CRLF
	// (an LF has no CR before it, or the first LF has two), the last byte is
	// no LF.
	ID        string `json:"id,omitempty"`
	UID       uint32 `json:"uid,omitempty"`
	Mixed     bool   `json:"mixed,omitempty"`
	NoFinalLF bool   `json:"no_final_lf,omitempty"`
}

// ImportOptions say how to import.
type ImportOptions struct {
	// Progress is called now and then, from any goroutine; it must not block.
	Progress func(ImportStats)
	// Refused is called for each message that can't be stored, one at a time.
	Refused func(source string, why error)
	// Note is called with what else the user should know.
	Note func(text string)
}

// ImportStats counts what became of the messages given to an Importer.
type ImportStats struct {
	Added   int64 `json:"added"`
	Skipped int64 `json:"skipped"` // in the mailbox already, byte for byte
	Refused int64 `json:"refused"`
	Octets  int64 `json:"octets"` // of those added
}

// An Importer takes messages one after the other.
type Importer interface {
	// Mailbox makes a mailbox, and subscribes to it, unless it exists.
	Mailbox(name string) error
	// Add reads a message from body to its end and adds it to m.Mailbox,
	// which is made if need be. A message of the same bytes that is in the
	// mailbox is skipped. A refused message is no error: Refused tells of it.
	// After a *SourceError from body the next message may come.
	// Added messages are safe only when Close returns.
	Add(m *Message, body io.Reader) error
	// Close waits until all is stored and counts it, also after an error.
	Close() (ImportStats, error)
}

// importBatch bounds what one Append takes: messages that share a commit.
const (
	importBatch       = 32
	importBatchOctets = 1 << 20
)

// exportBatch is how many rows are read at a time.
const exportBatch = storage.ReadRows
