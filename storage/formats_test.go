package storage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// testdata/formats has a small data folder of every format that left the
// house: N.tar.gz with all its files and a manifest of what is in it. Such a
// file never changes. One is added when a format is to leave the house:
//
//	go test ./storage -run TestFormats -make-format 1
var makeFormat = flag.Int("make-format", 0, "makes testdata/formats/N.tar.gz anew")

// A formatManifest says what a data folder holds, whatever its form.
type formatManifest struct {
	Account   string                    `json:"account"`
	ID        AccountID                 `json:"id"`
	Address   string                    `json:"address"`
	Setting   string                    `json:"setting"`
	Mailboxes map[string]*formatMailbox `json:"mailboxes"`
	Kept      int                       `json:"kept"` // expunged messages
}

type formatMailbox struct {
	ID          string          `json:"id"`
	UIDValidity uint32          `json:"uidvalidity"`
	UIDNext     uint32          `json:"uidnext"`
	ModSeq      uint64          `json:"highestmodseq"`
	Unseen      uint32          `json:"unseen"`
	SpecialUse  []string        `json:"special_use,omitempty"`
	Messages    []formatMessage `json:"messages"`
}

type formatMessage struct {
	UID    uint32   `json:"uid"`
	SHA256 string   `json:"sha256"`
	Email  string   `json:"emailid"`
	Thread string   `json:"threadid"`
	Flags  []string `json:"flags"`
	Date   string   `json:"date"`
}

// describe makes the manifest of an account.
func describe(t *testing.T, st *Store, id AccountID) *formatManifest {
	t.Helper()
	info, err := st.AccountInfo(id)
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(id)
	if err != nil {
		t.Fatal(err)
	}
	d := &formatManifest{Account: info.Name, ID: id, Setting: info.Settings["test.setting"], Mailboxes: map[string]*formatMailbox{}}
	addresses, err := st.Addresses(id)
	if err != nil || len(addresses) != 1 {
		t.Fatal(addresses, err)
	}
	d.Address = addresses[0].Address
	boxes, err := a.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range boxes {
		b := &formatMailbox{ID: m.ID.String(), UIDValidity: m.UIDValidity, UIDNext: uint32(m.UIDNext), ModSeq: uint64(m.HighestModSeq),
			Unseen: m.Unseen, Messages: []formatMessage{}}
		for _, use := range m.SpecialUse {
			b.SpecialUse = append(b.SpecialUse, string(use))
		}
		var uids []imap.UID
		for uid := imap.UID(1); uid < m.UIDNext; uid++ {
			uids = append(uids, uid)
		}
		rows, err := a.Rows(m.Space, uids, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Expunged {
				continue
			}
			sum := sha256.Sum256(readBlob(t, a, r.Blob))
			f := formatMessage{UID: uint32(r.UID), SHA256: hex.EncodeToString(sum[:]), Email: r.Email.String(), Thread: r.Thread.String(),
				Date: r.InternalDate().Format(time.RFC3339), Flags: []string{}}
			for _, name := range m.FlagNames(r.Flags) {
				f.Flags = append(f.Flags, string(name))
			}
			slices.Sort(f.Flags)
			b.Messages = append(b.Messages, f)
		}
		d.Mailboxes[m.Name] = b
	}
	if err := a.read(func(_ *files, tx *bolt.Tx) error {
		return tx.Bucket(bucketKept).ForEach(func(_, _ []byte) error { d.Kept++; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

// fillFormat makes an account with something in every bucket of every file.
func fillFormat(t *testing.T, st *Store) AccountID {
	t.Helper()
	info, err := st.CreateAccount("ann", []byte("a credential"))
	if err != nil {
		t.Fatal(err)
	}
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	must(st.AddDomain("example.org"))
	must(st.AddAddress(info.ID, "ann@example.org"), st.SetAccountSetting(info.ID, "test.setting", "of the account"))
	a, err := st.Account(info.ID)
	must(err)
	append1 := func(box, text string, date time.Time, flags ...imap.Flag) {
		t.Helper()
		m, err := a.MailboxByName(box)
		must(err)
		_, err = a.Append(m.ID, []NewMessage{{Upload: upload(t, a, text), Flags: flags, Date: date}})
		must(err)
	}
	_, err = a.CreateMailbox("Größe/日本")
	must(err)
	_, err = a.CreateMailbox("gone")
	must(err)
	day := time.Date(2026, 11, 23, 4, 5, 6, 0, time.FixedZone("", 2*3600))
	for i := range 6 { // a thread
		text := fmt.Sprintf("From: a%d@example.org\r\nSubject: %d\r\nMessage-ID: <%d@example.org>\r\nReferences: <%d@example.org>\r\n\r\nbody %d\r\n", i, i, i, i-1, i)
		append1("INBOX", text, day.Add(time.Duration(i)*time.Hour), "\\Seen", "$Forwarded")
	}
	append1("INBOX", "Subject: with parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--b--\r\n", day)
	append1("Größe/日本", "Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\n\r\n"+strings.Repeat("much the same. ", 9000), day, "\\Flagged", "Own") // several chunks
	append1("Archive", message(1), day)
	append1("Archive", message(1), day, "\\Draft") // the same octets
	append1("gone", message(2), day)
	for i := range 3 { // into a volume
		append1("Sent", "Subject: large\r\n\r\n"+string(noise(int64(i), 5000))+strings.Repeat("many lines\r\n", 9000), day)
	}
	box := func(name string) MailboxID {
		m, err := a.MailboxByName(name)
		must(err)
		return m.ID
	}
	_, err = a.Copy(box("INBOX"), []imap.UID{2, 3}, box("Archive"), false)
	must(err)
	_, err = a.Copy(box("INBOX"), []imap.UID{4}, box("Trash"), true)
	must(err)
	setFlag(t, a, "\\Deleted", 5)
	_, err = a.Expunge(box("INBOX"), nil)
	must(err, a.DeleteMailbox("gone"), a.RenameMailbox("Drafts", "Entwürfe"), a.Subscribe("Sent", false), st.noteAccounts())
	build(t, a)
	if _, err := a.Candidates([]BlobID{1}, "body"); err != nil {
		t.Fatal(err)
	}
	unsetFlag(t, a, "\\Seen", 1, 6) // last: these are in the journal
	if st.view(func(tx *bolt.Tx) error { return nil }) != nil || a.f.overlay.len() != 2 || a.f.blobs.volumes.last == 0 {
		t.Fatal("journal or volumes are empty")
	}
	return info.ID
}

func packFormat(t *testing.T, dir, path string, d *formatManifest) {
	t.Helper()
	var all bytes.Buffer
	z, _ := gzip.NewWriterLevel(&all, gzip.BestCompression)
	w := tar.NewWriter(z)
	put := func(name string, data []byte) {
		t.Helper()
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	manifest, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	put("manifest.json", manifest)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || !e.Type().IsRegular() || name == "reserve" || name == lockFile {
			return err
		}
		data, err := os.ReadFile(path)
		put(filepath.ToSlash(name), data)
		return err
	})
	if err := errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, all.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d octets", path, all.Len())
}

func unpackFormat(t *testing.T, path, dir string) *formatManifest {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	d := new(formatManifest)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return d
		}
		var data []byte
		if err == nil {
			data, err = io.ReadAll(r)
		}
		if err == nil && h.Name == "manifest.json" {
			err = json.Unmarshal(data, d)
		} else if err == nil {
			to := filepath.Join(dir, filepath.FromSlash(h.Name))
			err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, data, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFormats(t *testing.T) {
	if *makeFormat > 0 {
		dir := t.TempDir()
		if err := Init(dir); err != nil {
			t.Fatal(err)
		}
		st, err := Open(dir, Options{Version: "test", hooks: &hooks{volume: 4 << 20, firstBodies: 12 << 10}})
		if err != nil {
			t.Fatal(err)
		}
		id := fillFormat(t, st)
		d := describe(t, st, id)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		packFormat(t, dir, fmt.Sprintf("testdata/formats/%d.tar.gz", *makeFormat), d)
	}
	all, err := filepath.Glob("testdata/formats/*.tar.gz")
	if err != nil || len(all) == 0 {
		t.Fatal("there are none", err)
	}
	for _, path := range all {
		t.Run(filepath.Base(path), func(t *testing.T) { opensFormat(t, path) })
	}
}

// opensFormat opens a data folder of some format: all that was in it is there,
// and it can be worked with.
func opensFormat(t *testing.T, path string) {
	dir := t.TempDir()
	want := unpackFormat(t, path, dir)
	open := func() *Store {
		st, err := Open(dir, Options{Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	compare := func(st *Store) {
		t.Helper()
		got, err := json.MarshalIndent(describe(t, st, want.ID), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		old, _ := json.MarshalIndent(want, "", " ")
		if !bytes.Equal(got, old) {
			t.Errorf("the data folder had\n%s\nand now has\n%s", old, got)
		}
		if found, err := st.Check(); err != nil || len(found) > 0 {
			t.Errorf("check: %v, %v", found, err)
		}
	}
	st := open()
	compare(st)
	if login, err := st.FindAccount("Ann@Example.org"); err != nil || login.ID != want.ID {
		t.Error(login, err)
	}
	// Closed and opened again, and with some work in between that is undone.
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open()
	compare(st)
	a, err := st.Account(want.ID)
	if err != nil {
		t.Fatal(err)
	}
	uid := appendTo(t, a, inbox(t, a).ID, message(77))
	setFlag(t, a, "\\Answered", 1, uid)
	if _, err := a.Copy(inbox(t, a).ID, []imap.UID{1, uid}, inbox(t, a).ID, false); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open()
	defer st.Close()
	if a, err = st.Account(want.ID); err != nil {
		t.Fatal(err)
	}
	if m := inbox(t, a); int(m.Messages) != len(want.Mailboxes["INBOX"].Messages)+3 {
		t.Errorf("INBOX has %d messages", m.Messages)
	}
	if found, err := st.Check(); err != nil || len(found) > 0 {
		t.Errorf("check: %v, %v", found, err)
	}
}
