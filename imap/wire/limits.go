package wire

// What one client may make the server hold or read. All of them answer with a
// LimitError.
const (
	// SegmentBeforeLogin and Segment bound a line, or the text between two
	// literals.
	SegmentBeforeLogin = 8 << 10
	Segment            = 64 << 10

	// ArgumentLiteral bounds a literal that becomes a string.
	ArgumentLiteral = 64 << 10

	// Arguments bounds the literals of a command that become strings, taken
	// together; ArgumentsBeforeLogin is room for a login and a password.
	ArgumentsBeforeLogin = 128 << 10
	Arguments            = 1 << 20

	// ListDepth bounds parentheses in parentheses.
	ListDepth = 100

	// SASLLine bounds a line of SASL in base64, and is the bound that Line
	// is given for one; OAuth tokens are the longest.
	SASLLine = 64 << 10

	// NonSyncMinus is the biggest "{n+}" under LITERAL- (RFC 7888 §5).
	NonSyncMinus = 4096

	// Swallowed bounds what Discard reads of one command before it gives the
	// connection up: twice the biggest message that a server takes by default.
	Swallowed = 100 << 20

	// nearLength is how much of the input a SyntaxError shows.
	nearLength = 16
)

// Sizes of buffers. A connection has none while it waits.
const (
	smallBuffer  = 4 << 10
	mediumBuffer = 16 << 10
	largeBuffer  = Segment + 4<<10 // the longest segment, and something after it

	encoderBuffer = 16 << 10 // a TLS record's worth

	// longestQuoted is how long a string is sent in quotes.
	longestQuoted = 1000
)
