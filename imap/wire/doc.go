// Package wire reads and writes the syntax of IMAP: RFC 3501 §9 and RFC 9051
// §9, with the literals of RFC 7888 and RFC 3516, the names of RFC 6855 and the
// "$" of RFC 5182. It knows no command and no state beyond what changes the
// syntax.
//
// # Reading
//
// A command is read segment by segment. A segment is a line; a literal ends a
// segment and the text after it starts the next. Within a segment the position
// is an index, a token is a piece of the buffer, looking ahead is free. Bytes
// that a method returns die at the next literal, line or command; strings stay.
//
// Methods of Decoder carry the names of the grammar's rules. The first error of
// a command sticks: later calls return zero values and consume nothing, so that
// a parser reads like its ABNF and Err is looked at once, at its end.
//
// # Line ends
//
// A line ends with CRLF. A lone LF ends it too, as in other servers, for people
// who type at a server by hand; no rule of the grammar has an LF in a line, so
// nothing legal changes its meaning. The exception is an LF inside a quoted
// string that is still open: a client that passes somebody's text on without
// looking at it must not have the rest of it run as a command. That line goes
// on to its CRLF, and is refused. A line that the end of the connection cuts
// off is never run.
//
// # Staying in step
//
// What a client announced with "{n+}" it sends whatever the answer (RFC 7888
// §4). Discard therefore swallows the rest of a command with all its
// non-synchronizing literals, so that bytes of a rejected literal never run as
// commands; if there are too many of them, its error says that the connection
// is out of step and has to be closed.
package wire
