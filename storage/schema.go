package storage

// The layout of an account's files, every bucket, key and byte. All integers
// in keys are big-endian, so that bbolt's order of bytes is the order of
// numbers; in values they are little-endian. system.db is in schema_system.go.
//
//	accounts/<id>/mail.db        volume 0: the index, and the first bodies
//	accounts/<id>/body-NNNN.db   volumes 1...: bodies
//	accounts/<id>/flags.journal  flag changes that mail.db lacks: journal.go
//	accounts/<id>/search.db      signatures, derived: signature.go
//
// In every one of the .db files:
//
//	meta     "format"      u16   formatVersion when made or migrated
//	         "min_reader"  u16   lowest formatVersion that can read it
//	         "account"     the AccountID
//	         "volume"      u16   0 for mail.db
//	         "counter"     u64   number of commits
//	         "blob"        u64   highest BlobID ever given out, as far as this file knows
//	         "freed"       ""    chunks were removed: their bytes may still be on free
//	                             pages, until a compaction (compaction.go)
//	heads    BlobID u64 -> chunk 0 (chunk.go): the header
//	chunks   BlobID u64 -> bucket of chunk number u32 -> chunk: the rest, if any
//	runs     in mail.db: counter u64 -> tag u32 of the run that began with that commit;
//	         in body volumes: BlobID u64 -> tag u32 of the run in which this blob and
//	         those up to the next entry were written (runs.go); made when first needed
//	open     BlobID u64 -> ""    blobs whose chunks are there and whose row in
//	                             blobs may not be: looked up at open, freed if so;
//	                             in a body volume, of a whole message, the time
//	                             u40 (orphan.go)
//
// In body volumes only:
//
//	meta     "index"       u64   mail.db's counter when the volume was last written
//	         "run"         u32   the run in which it was
//
// In mail.db only:
//
//	meta     "modseq"    u64   last MODSEQ given out by a commit (the journal may hold later ones)
//	         "space"     u32   last Space given out
//	         "validity"  u32   last UIDVALIDITY given out
//	         "renew"     u32   while a renewal is under way: mailboxes up to this
//	                           UIDVALIDITY still need a new one (renew.go)
//	         "thread"    u64   last ThreadID given out
//	         "journal"   u64   epoch: journal records of other epochs are in mail.db, or of
//	                           another time
//	         "journal_end" u64, u32  while a commit has left records in the journal: where
//	                           they end, and the checksum of the last (journal.go)
//	         "secret"    32 random bytes, key of EMAILID
//	         "volumes"   u16 volume, u64 counter last seen, repeated
//	         "search"    u64, u64  which search.db is its (indextoken.go)
//	         "bodies"    u64   octets in heads and chunks
//	         "annotated" u64 octets in annotations, u32 entries with 1 in annotationlog
//	         "kept"      u64 messages, u64 octets: expunged and restorable
//	         "scrub"     u16 volume, repeated: a purge has yet to overwrite its free pages
//	         "profile"   the account's name, addresses and settings, copied from
//	                     system.db so that it can be made anew: tagged fields (row.go)
//	mailboxes  MailboxID        -> tagged fields (mailbox_row.go)
//	names      mailbox name     -> MailboxID
//	subs       mailbox name     -> ""       subscriptions; the mailbox may be gone
//	rows       Space UID        -> 64 bytes and more (row.go)
//	kept       Space UID        -> row as in rows, then time of the expunge u40, why u8 (row.go)
//	blocks     Space UID/4096   -> which of 4096 UIDs exist (blocks.go)
//	log        Space MODSEQ UID -> logFlags:   flags of UID changed
//	                               logExpunge: UID was expunged
//	                               logAdd hi:  UIDs from UID to hi (u32) were added
//	                               logGone hi: UIDs from UID to hi (u32) were all expunged
//	intents    Space            -> work that spans transactions and is undone or
//	                               finished at open (intent.go)
//	open       also of blobs without references (""), and of blobs that are
//	           removed and whose bytes are still in a volume (volume u16,
//	             octets of the message u64)
//	blobs      BlobID u64       -> volume u16, references u32, size u40, EmailID,
//	                               octets in chunk 0 u32, run u32 if in a
//	                               body volume (blob_row.go)
//	emails     EmailID          -> BlobID u64
//	records    BlobID/16 u64    -> block of records (records.go)
//	           BlobID/16 u64, BlobID%16 u8 -> a large record
//	threads    mail.Hash        -> ThreadID u64, also for ids only referenced
//	annotations   MailboxID (0: the account), length of login u8, login ("": shared),
//	              entry in lower case -> MODSEQ u64, length of entry u16, entry,
//	              value, CRC-32C u32 of key and row (annotations.go)
//	annotationlog MODSEQ u64, key in annotations -> "", or 1 if the entry has no
//	              row that says so; both are made when first needed
//	urlkeys    MailboxID        -> 32 random bytes: the account's key for URLs into the
//	                               mailbox (urlkeys.go); made when first needed
//	private    made when first needed; of spaces in which each login but the owner has
//	           its own \Seen (private.go):
//	             Space                            -> 1
//	             Space AccountID "b" UID/4096 u32 -> which of 4096 UIDs are \Seen (blocks.go)
//	             Space AccountID "m" UID          -> MODSEQ u64 at which that changed
//	             Space AccountID "l" MODSEQ UID   -> ""   log of these changes
//	             Space AccountID "h"              -> MODSEQ u64, the last
const formatVersion = 1

var (
	bucketMeta      = []byte("meta")
	bucketHeads     = []byte("heads")
	bucketChunks    = []byte("chunks")
	bucketOpen      = []byte("open")
	bucketRuns      = []byte("runs")
	bucketMailboxes = []byte("mailboxes")
	bucketNames     = []byte("names")
	bucketSubs      = []byte("subs")
	bucketRows      = []byte("rows")
	bucketKept      = []byte("kept")
	bucketBlocks    = []byte("blocks")
	bucketLog       = []byte("log")
	bucketIntents   = []byte("intents")
	bucketBlobs     = []byte("blobs")
	bucketEmails    = []byte("emails")
	bucketRecords   = []byte("records")
	bucketThreads   = []byte("threads")

	bucketAnnotations   = []byte("annotations")
	bucketAnnotationLog = []byte("annotationlog")
	bucketPrivate       = []byte("private")
	bucketURLKeys       = []byte("urlkeys")
)

// Kinds of entries in the change log.
const (
	logFlags byte = iota + 1
	logExpunge
	logAdd
	logGone
)

// fillAppend is the FillPercent of buckets whose keys only grow: half-full
// pages would double the index (STORAGE.md §5).
const fillAppend = 0.9
