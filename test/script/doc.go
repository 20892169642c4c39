// Package script plays transcripts of IMAP sessions at a server: the main tests
// of the protocol, in imap/testdata/script, and the same ones at another server
// (test/oracle).
//
// A transcript is a text file:
//
//	# COPY and UID COPY, RFC 9051 §6.4.7.
//	portable
//	message INBOX hello.eml (\Seen) "17-Jul-1996 02:44:25 -0700"
//	mailbox Dest
//	selected INBOX
//	-- script --
//	C1: a COPY 1 Dest
//	S1: a OK [COPYUID ${validity} 1 1] ...
//	C1: b UID FETCH 1 BODY[TEXT]
//	S1: * 1 FETCH (UID 1 BODY[TEXT] {7}
//	  | hello
//	  | )
//	S1: b OK ...
//	-- hello.eml --
//	Subject: hello
//
//	hello
//
// # The scene
//
// The first section says what is tested, in comments that name the RFC, and
// what there is before the transcript begins:
//
//	portable                    any server with these extensions must pass
//	elsewhere WHY               instead: what Dovecot lacks, or does otherwise
//	option NAME [VALUE]         of nestbox's server: see imap/script_test.go
//	account NAME                the first one is the default; "ann" if none is named
//	mailbox [@ACCOUNT] NAME
//	message [@ACCOUNT] MAILBOX FILE [FLAGS] [DATE]
//	raw                         connections are not logged in; transcripts see the greeting
//	user N ACCOUNT              connection N is logged in to another account
//	enable NAME...              each connection does, after login
//	selected MAILBOX            each connection selects it, after that
//	examined MAILBOX
//
// Names are in modified UTF-7 and quoted where IMAP wants it.
//
// # The script
//
//	C1: text     connection 1 sends a line; the first use opens it
//	S1: text     it receives one: exactly this, and next
//	S1: ...      it receives any number of lines before the next S1
//	U1: text     several of them in a row: these lines, in any order
//	  | text     goes on after a CRLF in the one before: literals
//	C1q: "a\r\n" sends the bytes of a Go string, without CRLF
//	C1!: S1!:    only at nestbox: where the RFCs leave it open, or another server errs
//	C1: <close>  closes the connection; <starttls> begins TLS
//	S1: <eof>    the server has closed the connection
//	# text       a comment
//
// In lines of the server "..." stands for any text, and ${x} for a token that
// gets this name, or for the token that has it. In lines of the client ${x} is
// that token, ${ann.login} and ${ann.password} log in, ${ann.plain} is the
// SASL response of PLAIN, ${*1000 text} is text a thousand times, ${len FILE}
// the length of a file of the transcript and ${file FILE} its text.
//
// At the end each connection logs out, and nothing may have come before the
// server's BYE.
//
// Files have CRLF at the end of each line, whatever they have here.
package script
