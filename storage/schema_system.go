package storage

// The layout of system.db, the household's: who has an account, under which
// names and addresses, and the settings of the box. Small, rarely written, and
// kept twice (system_copy.go). Every value in it is
//
//	key id u8 (0 = clear), CRC-32C u32 of key and data, data
//
// and "fields" below are tag u8, length uvarint, value, repeated; an unknown
// tag is skipped, so that a later nestbox can add some. Times are seconds
// since 1970 in 8 bytes.
//
//	meta         "format"      u16   systemFormat when made or migrated
//	             "min_reader"  u16   lowest systemFormat that can read it
//	             "store"       the id in nestbox.id, 26 characters
//	             "counter"     u64   number of commits
//	             "backup"      the last backup (health.go) -> fields: 1 time, 2 folder,
//	                           3 error, 4 time of the last good one
//	domains      domain       -> fields: 1 time made
//	addresses    folded address -> fields: 1 address as shown, 2 AccountID, 3 time made
//	accounts     AccountID    -> fields: 1 name, 2 time made, 3 disabled (present or not),
//	                             4 extension switched off (repeated),
//	                             5 setting: key, NUL, value (repeated)
//	names        account name -> AccountID
//	credentials  AccountID "/" kind -> what auth makes of a password; kind "password" is the
//	                             main one, others are auth's (auth/secrets.go) but for
//	                             "used/" kind -> time: when it was last used
//	deleted      AccountID    -> fields: 1 name, 2 time, 3 its row in accounts, 4 an address's
//	                             row (repeated), 5 credential: kind, NUL, value (repeated);
//	                             its folder is, or at the next open becomes,
//	                             accounts/<id>.deleted (deleted.go)
//	settings     key          -> value, UTF-8
//	secrets      name         -> certificates, keys
//	notes        AccountID    -> fields: how far the account had come (notes.go); the bucket is
//	             made when first needed
//	shares       identifier NUL AccountID -> rights u16 that some mailbox of the account
//	             grants to the identifier, or more (shares.go); made when first needed
//	acme         path, parts joined with "/" -> i64 big-endian nanoseconds since 1970 of the
//	             last change, then what the ACME client keeps there (acme.go); made when
//	             first needed. Not in a portable stream: another box has its own account
//	invites      SHA-256 of a token -> fields: 1 AccountID, 2 time made, 3 time until, 4 uses u64,
//	             5 a device that used it (repeated): 8 bytes of HMAC(token, address) (invites.go);
//	             made when first needed. Not in a portable stream
const systemFormat = 1

// The layout of events.db (events.go), which may be lost. Its values are sealed
// as those of system.db are.
//
//	meta         "format", "min_reader", "store" as in system.db, with eventsFormat
//	refused      number u64 -> fields of an audit event (audit_rows.go): 1 kind, 2 AccountID,
//	             3 name, 4 address, 5 client, 6 detail, 7 first time, 8 last time (u64,
//	             nanoseconds since 1970), 9 count u64; refused logins, the newest 8192
//	logins       the same: logins, the newest 8192
//	changes      the same: all others, the newest 8192
//	bans         address -> fields: 1 since, 2 until, 3 failures u64, 4 how often it was banned u64
const eventsFormat = 1

var bucketBans = []byte("bans")

func eventsBuckets() [][]byte {
	all := [][]byte{bucketMeta, bucketBans}
	for _, c := range auditClasses {
		all = append(all, []byte(c.bucket))
	}
	return all
}

var (
	bucketDomains     = []byte("domains")
	bucketAddresses   = []byte("addresses")
	bucketAccounts    = []byte("accounts")
	bucketLogins      = bucketNames // the bucket of the same name in mail.db maps mailbox names
	bucketCredentials = []byte("credentials")
	bucketDeleted     = []byte("deleted")
	bucketSettings    = []byte("settings")
	bucketSecrets     = []byte("secrets")

	// These are not among systemBuckets: a file without them is whole.
	bucketAccountNotes = []byte("notes")
	bucketShares       = []byte("shares")
	bucketACME         = []byte("acme")
	bucketInvites      = []byte("invites")
)

// systemBuckets are made with the file.
var systemBuckets = [][]byte{
	bucketMeta, bucketDomains, bucketAddresses, bucketAccounts, bucketLogins,
	bucketCredentials, bucketDeleted, bucketSettings, bucketSecrets,
}

// Files of a data folder.
const (
	lockFile       = "nestbox.lock"
	idFile         = "nestbox.id"
	systemFile     = "system.db"
	systemCopyFile = "system.db.1"
	eventsFile     = "events.db"
	eventsAside    = ".aside" // behind the name of one that could not be used
	clockFile      = "clock"  // the last time stored, in seconds since 1970: clock.go
	accountsFolder = "accounts"
	deletedSuffix  = ".deleted"
)
