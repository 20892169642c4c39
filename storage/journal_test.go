package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
)

func setFlag(t *testing.T, a *Account, flag imap.Flag, uids ...imap.UID) {
	t.Helper()
	if _, err := a.StoreFlags(inbox(t, a).ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{flag}}); err != nil {
		t.Fatal(err)
	}
}

func unsetFlag(t *testing.T, a *Account, flag imap.Flag, uids ...imap.UID) {
	t.Helper()
	if _, err := a.StoreFlags(inbox(t, a).ID, StoreRequest{UIDs: uids, Mode: StoreRemove, Flags: []imap.Flag{flag}}); err != nil {
		t.Fatal(err)
	}
}

// flagsOf lists the UIDs of INBOX that have a flag.
func flagsOf(t *testing.T, a *Account, flag imap.Flag) (uids []imap.UID) {
	t.Helper()
	m := inbox(t, a)
	var all []imap.UID
	for uid := imap.UID(1); uid < m.UIDNext; uid++ {
		all = append(all, uid)
	}
	for len(all) > 0 {
		n := min(len(all), ReadRows)
		rows, err := a.Rows(m.Space, all[:n], nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if slices.Contains(m.FlagNames(r.Flags), flag) {
				uids = append(uids, r.UID)
			}
		}
		all = all[n:]
	}
	return uids
}

// A journalScene has files of several times, each as a power cut would have
// left it: the journal is not folded.
type journalScene struct{ *blobScene }

func newJournalScene(t *testing.T, messages int) *journalScene {
	s := &journalScene{newBlobScene(t, hooks{})}
	for i := range messages {
		appendTo(t, s.a, inbox(t, s.a).ID, message(i))
	}
	s.restart(func(string) {})
	return s
}

// save copies a file of the account as it is while the account is open.
func (s *journalScene) save(name, as string) {
	s.t.Helper()
	if err := s.a.exec(func(*files) error {
		putFile(s.t, filepath.Join(s.a.dir, name+as), filepath.Join(s.a.dir, name))
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

// start takes files that were saved, and forgets all notes.
func (s *journalScene) start(files ...string) {
	s.t.Helper()
	s.restart(func(dir string) {
		for i := 0; i < len(files); i += 2 {
			putFile(s.t, filepath.Join(dir, files[i]), filepath.Join(dir, files[i]+files[i+1]))
		}
	})
	s.forget()
}

// A journal of a later or an earlier time than mail.db: no record is applied
// to a state that it wasn't written for.
func TestJournalOfAnotherTime(t *testing.T) {
	t.Parallel()
	s := newJournalScene(t, 6)
	setFlag(t, s.a, "\\Seen", 1)
	s.save("mail.db", ".1")
	s.save("flags.journal", ".1")
	appendTo(t, s.a, inbox(t, s.a).ID, message(50)) // UID 7, and the journal begins anew
	setFlag(t, s.a, "\\Flagged", 2, 7)
	s.save("mail.db", ".2")
	s.save("flags.journal", ".2")

	s.start("mail.db", ".1", "flags.journal", ".2")
	if seen, flagged := flagsOf(t, s.a, "\\Seen"), flagsOf(t, s.a, "\\Flagged"); len(seen)+len(flagged) != 0 {
		t.Errorf("an older mail.db took a later journal's records: seen %v, flagged %v", seen, flagged)
	}
	sound(t, s.a)

	s.start("mail.db", ".2", "flags.journal", ".1")
	if seen, flagged := flagsOf(t, s.a, "\\Seen"), flagsOf(t, s.a, "\\Flagged"); fmt.Sprint(seen) != "[1]" || len(flagged) != 0 {
		t.Errorf("a later mail.db with an earlier journal: seen %v, flagged %v", seen, flagged)
	}
	sound(t, s.a)

	s.start("mail.db", ".2", "flags.journal", ".2")
	if seen, flagged := flagsOf(t, s.a, "\\Seen"), flagsOf(t, s.a, "\\Flagged"); fmt.Sprint(seen, flagged) != "[1] [2 7]" {
		t.Errorf("seen %v, flagged %v", seen, flagged)
	}
	sound(t, s.a)
}

// A byte of the journal that changed is mended in the file too: the next check
// finds nothing, and another byte may change later.
func TestJournalByteIsMended(t *testing.T) {
	t.Parallel()
	s := newJournalScene(t, 6)
	setFlag(t, s.a, imap.FlagSeen, 1, 3)
	setFlag(t, s.a, imap.FlagFlagged, 2)
	path := filepath.Join(s.a.dir, "flags.journal")
	s.save("mail.db", ".1")
	s.save("flags.journal", ".1")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{journalStart + 30, journalStart + journalHeader + 2*journalEntry + 40} { // of either record
		bad := bytes.Clone(good)
		bad[at] ^= 0x20
		if err := os.WriteFile(path+".2", bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s.start("mail.db", ".1", "flags.journal", ".2")
		seen, flagged := flagsOf(t, s.a, imap.FlagSeen), flagsOf(t, s.a, imap.FlagFlagged)
		if !slices.Equal(seen, []imap.UID{1, 3}) || !slices.Equal(flagged, []imap.UID{2}) {
			t.Errorf("byte %d: seen %v, flagged %v", at, seen, flagged)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now[:journalStart+200], good[:journalStart+200]) {
			t.Errorf("byte %d is not mended in the file: %v", at, err)
		}
		sound(t, s.a)
	}
}

// Two histories that part from one state: the journal of one says nothing of
// the messages of the other.
func TestJournalOfAnotherHistory(t *testing.T) {
	t.Parallel()
	s := newJournalScene(t, 3)
	s.restart(func(dir string) { putFile(t, filepath.Join(dir, "mail.db.0"), filepath.Join(dir, "mail.db")) })
	for i := range 3 { // the same UIDs and MODSEQs in both
		appendTo(t, s.a, inbox(t, s.a).ID, message(100+i))
	}
	setFlag(t, s.a, "\\Deleted", 4)
	s.save("flags.journal", ".1")
	s.start("mail.db", ".0")
	for i := range 3 {
		appendTo(t, s.a, inbox(t, s.a).ID, message(200+i))
	}
	s.start("flags.journal", ".1")
	if got := flagsOf(t, s.a, "\\Deleted"); len(got) != 0 {
		t.Errorf("messages %v took the flags of others", got)
	}
	sound(t, s.a)
	// A journal without a record before the histories part.
	setFlag(t, s.a, "\\Seen", 5)
	s.save("flags.journal", ".2")
	s.start("flags.journal", ".1")
	if got := flagsOf(t, s.a, "\\Deleted"); len(got) != 0 {
		t.Errorf("messages %v took the flags of others", got)
	}
	sound(t, s.a)
}

// A journal that lacks records which mail.db has counted: the mailboxes are
// counted again and renewed, since clients know the flags that are lost.
func TestJournalOlderThanItsCounts(t *testing.T) {
	t.Parallel()
	const n = foldWithCommit + 50
	s := newJournalScene(t, n)
	setFlag(t, s.a, "\\Seen", 1)
	s.save("flags.journal", ".1")
	var uids []imap.UID
	for uid := imap.UID(1); uid <= n; uid++ {
		uids = append(uids, uid)
	}
	setFlag(t, s.a, "\\Seen", uids...)
	appendTo(t, s.a, inbox(t, s.a).ID, message(1000)) // counts them, and leaves them in the journal
	if s.a.f.overlay.len() < n {
		t.Fatal("the scene is not as it should be")
	}
	s.save("mail.db", ".2")
	s.save("flags.journal", ".2")
	before := inbox(t, s.a)

	s.start("mail.db", ".2", "flags.journal", ".2")
	if after := inbox(t, s.a); after.Unseen != 1 || after.UIDValidity != before.UIDValidity {
		t.Errorf("the right journal: %+v, was %+v", after, before)
	}
	sound(t, s.a)
	for _, older := range []string{".1", ".none"} {
		if err := os.WriteFile(filepath.Join(s.a.dir, "flags.journal.none"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.start("mail.db", ".2", "flags.journal", older)
		after := inbox(t, s.a)
		if after.Unseen == 1 || after.UIDValidity <= before.UIDValidity || after.HighestModSeq <= before.HighestModSeq {
			t.Errorf("journal %s: %+v, was %+v", older, after, before)
		}
		sound(t, s.a)
		s.restart(func(string) {}) // and it is settled
		if again := inbox(t, s.a); again.UIDValidity != after.UIDValidity {
			t.Error("renewed again")
		}
		setFlag(t, s.a, "\\Flagged", 2)
		s.restart(func(string) {})
		if got := flagsOf(t, s.a, "\\Flagged"); fmt.Sprint(got) != "[2]" {
			t.Errorf("flagged: %v", got)
		}
		sound(t, s.a)
	}
}

func TestForeignJournalIsPutAside(t *testing.T) {
	t.Parallel()
	s, other := newJournalScene(t, 3), newJournalScene(t, 3)
	setFlag(t, other.a, "\\Deleted", 1, 2, 3)
	other.save("flags.journal", ".1")
	setFlag(t, s.a, "\\Seen", 2)
	s.restart(func(dir string) {
		putFile(t, filepath.Join(dir, "flags.journal"), filepath.Join(other.a.dir, "flags.journal.1"))
	})
	if got := flagsOf(t, s.a, "\\Deleted"); len(got) != 0 {
		t.Errorf("messages %v took another account's flags", got)
	}
	setFlag(t, s.a, "\\Flagged", 1)
	aside, err := filepath.Glob(filepath.Join(s.a.dir, "flags.journal.refused-*"))
	if err != nil || len(aside) != 1 {
		t.Error("the foreign journal is not there any more", aside, err)
	}
	sound(t, s.a)
	// Neither does garbage harm.
	s.restart(func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "flags.journal"), bytes.Repeat([]byte("garbage "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	setFlag(t, s.a, "\\Answered", 3)
	sound(t, s.a)
}

func TestJournalOfALaterFormat(t *testing.T) {
	t.Parallel()
	s := newJournalScene(t, 3)
	setFlag(t, s.a, "\\Seen", 2)
	var later []byte
	s.restart(func(dir string) {
		path := filepath.Join(dir, "flags.journal")
		later, _ = os.ReadFile(path)
		binary.LittleEndian.PutUint16(later[6:], 7)
		binary.LittleEndian.PutUint32(later[journalStart-4:], crc32.Checksum(later[:journalStart-4], castagnoli))
		if err := os.WriteFile(path, later, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	var format *FormatError
	if _, err := s.a.Mailboxes(); !errors.As(err, &format) || format.MinReader != 7 || format.Known != journalFormat ||
		filepath.Base(format.File) != "flags.journal" {
		t.Error(err)
	}
	if now, err := os.ReadFile(filepath.Join(s.a.dir, "flags.journal")); err != nil || !bytes.Equal(now, later) {
		t.Error("the journal was changed", err)
	}
}

// A journal from before it had a header.
func TestJournalWithoutHeader(t *testing.T) {
	t.Parallel()
	s := newJournalScene(t, 4)
	setFlag(t, s.a, "\\Seen", 2)
	setFlag(t, s.a, "\\Flagged", 3)
	s.save("mail.db", ".1")
	s.save("flags.journal", ".1")
	s.restart(func(dir string) {
		b, err := os.ReadFile(filepath.Join(dir, "flags.journal.1"))
		if err == nil {
			b = append(b[journalStart:], make([]byte, journalStart)...)
			err = os.WriteFile(filepath.Join(dir, "flags.journal"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		putFile(t, filepath.Join(dir, "mail.db"), filepath.Join(dir, "mail.db.1"))
	})
	s.forget()
	if seen, flagged := flagsOf(t, s.a, "\\Seen"), flagsOf(t, s.a, "\\Flagged"); fmt.Sprint(seen, flagged) != "[2] [3]" {
		t.Errorf("seen %v, flagged %v", seen, flagged)
	}
	setFlag(t, s.a, "\\Seen", 4)
	appendTo(t, s.a, inbox(t, s.a).ID, message(50)) // folds
	unsetFlag(t, s.a, "\\Flagged", 3)
	s.save("flags.journal", ".2")
	if b, err := os.ReadFile(filepath.Join(s.a.dir, "flags.journal.2")); err != nil || !bytes.HasPrefix(b, journalFileMagic[:]) || len(b) != journalSize {
		t.Error("the journal has no header yet", err)
	}
	s.restart(func(string) {})
	if seen, flagged := flagsOf(t, s.a, "\\Seen"), flagsOf(t, s.a, "\\Flagged"); fmt.Sprint(seen, flagged) != "[2 4] []" {
		t.Errorf("seen %v, flagged %v", seen, flagged)
	}
	sound(t, s.a)
}
