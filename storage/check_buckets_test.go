package storage

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// bucketScene is repairScene with something in every bucket.
func bucketScene(t *testing.T) (*Account, map[string]bool) {
	t.Helper()
	_, a, texts := repairScene(t, t.TempDir())
	box := inbox(t, a)
	for i, an := range []Annotation{{Entry: "/shared/comment", Value: []byte("one")}, {Entry: "/private/comment", Login: a.ID(), Value: []byte("two")},
		{Entry: "/shared/gone", Value: []byte("three")}, {Entry: "/shared/gone"}} {
		must(t, a.SetAnnotations(&AnnotationRequest{Mailbox: []MailboxID{box.ID, {}}[i/3], Set: []Annotation{an}}))
	}
	must(t, a.SetPrivateSeen("INBOX", true))
	_, err := a.ByLogin("bbbbbbbbbbbbbbbb").StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{1, 2, 3}, Mode: StoreRemove, Flags: []imap.Flag{imap.FlagSeen}})
	must(t, err)
	_, err = a.ByLogin("bbbbbbbbbbbbbbbb").StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{1, 4, 7}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
	must(t, err)
	_, err = a.MakeURLKey(box.ID, false)
	must(t, err)
	must(t, a.fold())
	return a, texts
}

// A bucketDamage is something that can happen to a bucket of mail.db, what
// Check says of it, and what a repair does about it.
type bucketDamage struct {
	name   string
	fn     func(f *files, tx *bolt.Tx) error
	finds  string
	repair string
}

func putKey(bucket []byte, key, value string) func(*files, *bolt.Tx) error {
	return func(_ *files, tx *bolt.Tx) error { return tx.Bucket(bucket).Put([]byte(key), []byte(value)) }
}

func without(bucket []byte) func(*files, *bolt.Tx) error {
	return func(_ *files, tx *bolt.Tx) error { return tx.DeleteBucket(bucket) }
}

// privateEntry finds the first entry of a kind.
func privateEntry(kind byte, change func(b *bolt.Bucket, k, v []byte) error) func(*files, *bolt.Tx) error {
	return func(_ *files, tx *bolt.Tx) error {
		c := tx.Bucket(bucketPrivate).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if len(k) > 4+accountIDBytes && k[4+accountIDBytes] == kind {
				return change(tx.Bucket(bucketPrivate), []byte(string(k)), []byte(string(v)))
			}
		}
		return fmt.Errorf("no entry of the kind %c", kind)
	}
}

func deleteEntry(b *bolt.Bucket, k, _ []byte) error { return b.Delete(k) }

func putEntry(value string) func(b *bolt.Bucket, k, v []byte) error {
	return func(b *bolt.Bucket, k, _ []byte) error { return b.Put(k, []byte(value)) }
}

// bucketDamages are for each bucket of schema.go what can happen to it;
// TestDerivedDamageIsMended has more for the older ones.
var bucketDamages = map[string][]bucketDamage{
	"meta": {
		{"renew", putKey(bucketMeta, "renew", "abc"), `"renew" has 3 bytes`, "new UIDVALIDITY"},
		{"scrub", putKey(bucketMeta, "scrub", "abc"), `"scrub" has 3 bytes`, "to be overwritten"},
		{"search", putKey(bucketMeta, "search", "abc"), `"search" has 3 bytes`, "search index is made anew"},
		{"counter", putKey(bucketMeta, "counter", "abc"), `"counter" has 3 bytes`, "counted on"},
		{"annotated", putKey(bucketMeta, "annotated", "123456789012"), "annotations are counted as", "annotations are counted anew"},
		{"annotated short", putKey(bucketMeta, "annotated", "1234"), `"annotated" has 4 bytes`, "annotations are counted anew"},
		{"kept", putKey(bucketMeta, "kept", "abc"), "kept messages are counted as", "counts are corrected"},
	},
	"heads":  {{"missing", without(bucketHeads), `no "heads"`, "there again"}, {"short key", putKey(bucketHeads, "abc", "x"), "entry 616263 has", "taken out"}},
	"chunks": {{"missing", without(bucketChunks), `no "chunks"`, "there again"}, {"short key", putKey(bucketChunks, "abc", "x"), "entry 616263 has", "taken out"}},
	"open": {
		{"missing", without(bucketOpen), `no "open"`, "there again"},
		{"short key", putKey(bucketOpen, "abc", ""), `"open": entry 616263 is damaged`, "taken out"},
		{"value", putKey(bucketOpen, "12345678", "abc"), `"open": entry 3132333435363738 is damaged`, "taken out"},
	},
	"runs": {
		{"missing", without(bucketRuns), "of the times at which it was opened", "listed again"},
		{"value", flipRun, `"runs": entry`, "listed again"},
	},
	"mailboxes": {{"missing", without(bucketMailboxes), `no "mailboxes"`, "there again"}, {"short key", putKey(bucketMailboxes, "abc", "x"), "entry 616263 has a key of 3 bytes", "taken out"}},
	"names":     {{"missing", without(bucketNames), `no "names"`, "there again"}, {"value", putKey(bucketNames, "Gone", "abc"), "leads to no mailbox", "led to no mailbox"}},
	"subs":      {{"missing", without(bucketSubs), `no "subs"`, "there again"}, {"name", putKey(bucketSubs, "a//b", ""), "can't be a name", ""}},
	"rows":      {{"missing", without(bucketRows), `no "rows"`, "there again"}, {"short key", putKey(bucketRows, "abc", "x"), "entry 616263 has a key of 3 bytes", "taken out"}},
	"kept":      {{"missing", without(bucketKept), `no "kept"`, "there again"}, {"short key", putKey(bucketKept, "abc", "x"), "entry 616263 has a key of 3 bytes", "taken out"}},
	"blocks":    {{"missing", without(bucketBlocks), `no "blocks"`, "there again"}, {"short key", putKey(bucketBlocks, "abc", "x"), "entry 616263 has a key of 3 bytes", "taken out"}},
	"log":       {{"missing", without(bucketLog), `no "log"`, "there again"}, {"short key", putKey(bucketLog, "abc", "x"), "entry 616263 has a key of 3 bytes", "taken out"}},
	"intents": {
		{"missing", without(bucketIntents), `no "intents"`, "there again"},
		{"short key", putKey(bucketIntents, "abc", "x"), "entry 616263 has a key of 3 bytes", "taken out"},
		{"value", putKey(bucketIntents, "\x00\x00\xff\x00", "xyz"), "unfinished work of space 0000ff00: damaged", "taken out"},
	},
	"blobs":   {{"missing", without(bucketBlobs), `no "blobs"`, "there again"}},
	"emails":  {{"missing", without(bucketEmails), `no "emails"`, "there again"}, {"short key", putKey(bucketEmails, "abc", "x"), "entry 616263 has a key", "taken out"}},
	"records": {{"missing", without(bucketRecords), `no "records"`, "there again"}},
	"threads": {{"missing", without(bucketThreads), `no "threads"`, "there again"}, {"short key", putKey(bucketThreads, "abc", "x"), "entry 616263 has a key", "taken out"}},
	"annotations": {
		{"missing", without(bucketAnnotations), "without them", "counted anew"},
		{"short key", putKey(bucketAnnotations, "abc", "x"), "annotation 616263: its key", "taken out"},
		{"one byte", flipValue(bucketAnnotations, 12), "damaged", "one byte had changed"},
		{"short row", func(_ *files, tx *bolt.Tx) error {
			k, _ := firstKey(tx, bucketAnnotations)
			return tx.Bucket(bucketAnnotations).Put(k, []byte("abc"))
		}, "damaged", "can't be read and is taken out"},
		{"no mailbox", func(_ *files, tx *bolt.Tx) error {
			k := annotationKey(MailboxID{1, 2, 3}, "", "/shared/comment")
			return tx.Bucket(bucketAnnotations).Put(k, encodeAnnotation(k, 3, &Annotation{Entry: "/shared/comment", Value: []byte("x")}))
		}, "which is not there", "which is not there, is taken out"},
		{"modseq", func(f *files, tx *bolt.Tx) error {
			k, _ := firstKey(tx, bucketAnnotations)
			return tx.Bucket(bucketAnnotations).Put(k, encodeAnnotation(k, f.modseq+1000, &Annotation{Entry: string(k[17:]), Value: []byte("one")}))
		}, "has MODSEQ", "instead of"},
	},
	"annotationlog": {
		{"missing", without(bucketAnnotationLog), "without their log", ""},
		{"empty", dropAll(bucketAnnotationLog), "is not in the log", ""},
		{"short key", putKey(bucketAnnotationLog, "abc", ""), "is damaged", ""},
		{"of nothing", func(f *files, tx *bolt.Tx) error {
			return tx.Bucket(bucketAnnotationLog).Put(annotationLogKey(1, annotationKey(MailboxID{1}, "", "/shared/x")), nil)
		}, "is of an annotation that is not there", ""},
		{"old", func(f *files, tx *bolt.Tx) error {
			k, _ := firstKey(tx, bucketAnnotations)
			return tx.Bucket(bucketAnnotationLog).Put(annotationLogKey(1, k), nil)
		}, "is of an earlier value", ""},
		{"ahead", func(f *files, tx *bolt.Tx) error {
			k, _ := firstKey(tx, bucketAnnotations)
			return tx.Bucket(bucketAnnotationLog).Put(annotationLogKey(f.modseq+50, k), []byte{1})
		}, "above the account's", ""},
	},
	"urlkeys": {
		{"short", func(_ *files, tx *bolt.Tx) error {
			k, _ := firstKey(tx, bucketURLKeys)
			return tx.Bucket(bucketURLKeys).Put(k, []byte("abc"))
		}, "it is damaged", "is taken out"},
		{"short key", putKey(bucketURLKeys, "abc", "x"), "belongs to no mailbox", "is taken out"},
	},
	"private": {
		{"short key", putKey(bucketPrivate, "abc", ""), "its key is damaged", "taken out"},
		{"mark", func(_ *files, tx *bolt.Tx) error {
			k, _ := firstKey(tx, bucketPrivate)
			return tx.Bucket(bucketPrivate).Put(k, []byte{7})
		}, "it should say 1", "has them"},
		{"kind", putKey(bucketPrivate, "\x00\x00\x00\x01bbbbbbbbbbbbbbbbz", ""), "it is damaged", "taken out"},
		{"no mailbox", putKey(bucketPrivate, "\x00\x00\xff\x01", "\x01"), "there is no such mailbox", "taken out"},
		{"block", privateEntry(privateBlock, putEntry("abc")), "the block is damaged", "taken out"},
		{"change without log", privateEntry(privateLog, deleteEntry), "not in the log", "is in the log"},
		{"log without change", privateEntry(privateModSeq, deleteEntry), "isn't the message's last", "taken out"},
		{"change ahead", privateEntry(privateModSeq, putEntry("\xff\xff\xff\xff\x00\x00\x00\x00")), "above the account's", "is in the log"},
		{"highest", privateEntry(privateHighest, putEntry("\x01\x00\x00\x00\x00\x00\x00\x00")), "isn't that of the last change", "is in the log"},
		{"highest lost", privateEntry(privateHighest, deleteEntry), "above the highest", "is in the log"},
	},
}

func flipRun(_ *files, tx *bolt.Tx) error {
	k, _ := firstKey(tx, bucketRuns)
	return tx.Bucket(bucketRuns).Put(k, []byte("abc"))
}

// Check looks at every bucket of mail.db: what is damaged there is named, a
// repair mends it, and the account goes on with all its mail.
func TestEveryBucketIsChecked(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("schema.go")
	must(t, err)
	for _, m := range regexp.MustCompile(`(?m)^\tbucket\w+\s+= \[\]byte\("(\w+)"\)`).FindAllStringSubmatch(string(source), -1) {
		if len(bucketDamages[m[1]]) == 0 {
			t.Errorf("nothing is damaged in %q", m[1])
		}
	}
	for bucket, all := range bucketDamages {
		for _, d := range all {
			t.Run(bucket+" "+d.name, func(t *testing.T) {
				t.Parallel()
				testBucketDamage(t, bucket, d)
			})
		}
	}
}

func testBucketDamage(t *testing.T, bucket string, d bucketDamage) {
	a, texts := bucketScene(t)
	if left, lines := checkAll(t, a, false); left > 0 {
		t.Fatalf("not sound before: %v", lines)
	}
	if bucket != "meta" {
		damage(t, a, func(_ *files, tx *bolt.Tx) error {
			if k, _ := tx.Bucket([]byte(bucket)).Cursor().First(); k == nil && bucket != "chunks" && bucket != "open" {
				return errors.New("the scene has nothing in the bucket")
			}
			return nil
		})
	}
	damage(t, a, d.fn)
	said := func(lines []Finding, state, text string) bool {
		for _, f := range lines {
			if f.State == state && strings.Contains(f.Text, text) {
				return true
			}
		}
		return false
	}
	left, lines := checkAll(t, a, false)
	if left == 0 || !said(lines, Found, d.finds) {
		t.Fatalf("%d findings, none says %q: %v", left, d.finds, lines)
	}
	left, lines = checkAll(t, a, true)
	if (bucket == "heads" || bucket == "chunks") && d.name == "missing" {
		if left == 0 {
			t.Fatal("messages without bytes are not named")
		}
		return // those were the messages themselves: beyond repair
	}
	if left > 0 || !said(lines, Did, d.repair) && d.repair != "" {
		t.Fatalf("%d findings left, said %q: %v", left, d.repair, lines)
	}
	for text := range allTexts(t, a) {
		delete(texts, text)
	}
	if len(texts) > 2 { // two were expunged
		t.Errorf("%d messages lost: %v", len(texts), lines)
	}
	appendTo(t, a, inbox(t, a).ID, message(99))
	sound(t, a)
}
