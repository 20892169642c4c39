// Package imap is the protocol engine: IMAP4rev1 (RFC 3501) and IMAP4rev2
// (RFC 9051) with their extensions.
//
//	listener -> conn -> wire.Decoder -> command.parse -> command.run -> session + view -> storage
//	client  <- wire.Encoder <- conn <- rows, or changes since my cursor <-------------------+
//
// One goroutine serves one connection, one command at a time: state check,
// parse, run, sync, tagged reply, one flush (command.go). Nothing pushes data
// to a session: after a commit the storage wakes those that watch the mailbox,
// and each pulls what changed since its own cursors (sync.go). So no queue can
// overflow, and a client in IDLE and one that slept for a month are served by
// the same read.
//
// A command is a value with parse and run; an extension is a value that lists
// commands and entries of the tables of FETCH, SEARCH, STATUS, SELECT and LIST
// (extension.go). A new extension is one new file and one line there.
//
// # Rules
//
//   - Nothing is written to a socket inside a storage transaction: read a
//     batch, then write it.
//   - run returns a reply or a typed error (errors.go). It writes its own
//     untagged data, never the tagged line, never EXISTS, RECENT or EXPUNGE.
//   - sync.go is the only writer of unsolicited data. New messages come from the
//     range of UIDs beyond the last known, never from the change log; the log
//     gives flag changes and expunges of UIDs that the view holds.
//   - FETCH, STORE, SEARCH with sequence numbers withhold expunges; their UID
//     forms and all else report them.
//   - A message expunged but not yet reported answers FETCH from its kept row
//     (RFC 2180 §4.1.1); STORE skips it; COPY and MOVE of it by sequence number
//     answer NO [EXPUNGEISSUED], the UID forms ignore it.
//   - A connection that waits holds no buffers.
package imap
