package imap

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// noise is n octets that don't compress, without CR, LF and NUL but for lines
// of 100.
func noise(seed uint64, n int) string {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		switch i % 100 {
		case 98:
			b[i] = '\r'
		case 99:
			b[i] = '\n'
		default:
			b[i] = byte(0x80 + rnd.IntN(128))
			if rnd.IntN(2) == 0 {
				b[i] = byte(0x20 + rnd.IntN(95))
			}
		}
	}
	return string(b)
}

// damage changes one octet of mark in the account's files, wherever it stands,
// as a worn flash cell does.
func (r *fetchRig) damage(mark string) {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.st.Dir(), "accounts", "*", "*.db"))
	must(r.t, err)
	found := false
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(r.t, err)
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		must(r.t, err)
		for at := bytes.Index(data, []byte(mark)); at >= 0; at = bytes.Index(data, []byte(mark)) {
			data[at] ^= 1
			_, err = f.WriteAt(data[at:at+1], int64(at))
			must(r.t, err)
			found = true
		}
		must(r.t, f.Close())
	}
	if !found {
		r.t.Skip("the text is not stored as it is")
	}
}

// Messages that can't be read: the others are answered, nothing is announced
// that can't be sent, and a literal that breaks off ends the connection.
func TestFetchDamaged(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	const size = 300_000
	r.add(plainMail)
	early, late := noise(1, size), noise(2, size)
	for _, body := range []string{early, late} {
		r.appendRaw("Subject: damaged\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body)
	}
	r.add(plainMail)
	r.damage(early[1000:1090])
	r.damage(late[250_000:250_090])
	c := r.client()
	body := "BODY[TEXT] " + literal("Hello Joe, do you think we can meet at 3:30 tomorrow?\r\n")
	c.want("FETCH 1:2,4 BODY.PEEK[TEXT]", "* 1 FETCH ("+body+")", "* 4 FETCH ("+body+")", "NO [CORRUPTION]...")
	c.want("FETCH 2 (UID BODY[])", `* 2 FETCH (UID 2 FLAGS (\Seen \Recent))`, "NO [CORRUPTION]...")
	c.want("FETCH 2 BINARY.PEEK[1]", "NO [UNAVAILABLE]...")
	c.want("FETCH 2 BODY.PEEK[TEXT]<200000.10>", "* 2 FETCH (BODY[TEXT]<200000> "+literal(early[200000:200010])+")", "OK FETCH completed")
	c.want("FETCH 3 BODY.PEEK[TEXT]<0.10>", "* 3 FETCH (BODY[TEXT]<0> "+literal(late[:10])+")", "OK FETCH completed")
	c.want("SEARCH BODY tomorrow", "* SEARCH 1 4", "OK SEARCH completed")
	c.want("FETCH 1:4 (UID RFC822.SIZE)", "* 1 ...", "* 2 ...", "* 3 ...", "* 4 ...", "OK FETCH completed")
	for _, item := range []string{"BODY.PEEK[]", "BODY.PEEK[TEXT]", "BINARY.PEEK[1]"} {
		d := r.client()
		d.send("x FETCH 3 " + item + "\r\nx2 NOOP\r\n")
		_ = d.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		rest, err := io.ReadAll(d.r)
		if n := len(rest); err != nil || n < 190_000 || n > 300_200 || bytes.Contains(rest, []byte("x OK")) || bytes.Contains(rest, []byte("x2 ")) {
			t.Errorf("%s: a literal broke off after %d octets: %v %q", item, n, err, rest[max(0, n-50):])
		}
	}
	c.want("NOOP", "OK NOOP completed")
}

func (r *fetchRig) appendRaw(text string, flags ...imap.Flag) {
	r.t.Helper()
	_, err := r.account.Append(r.inbox().ID, []storage.NewMessage{{Upload: r.upload(text), Flags: flags, Date: time.Unix(0, 0)}})
	must(r.t, err)
}

// A damaged header spoils the answer of its message alone.
func TestFetchDamagedHeader(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	r.add(plainMail, imap.FlagSeen)
	header := strings.ReplaceAll(noise(4, 4000), "\r\n", "--")
	r.appendRaw("X-Noise: "+header+"\r\n\r\nbody\r\n", imap.FlagSeen)
	r.appendRaw("\r\nno header\r\n", imap.FlagSeen)
	r.appendRaw("", imap.FlagSeen)
	r.damage(header[1000:1090])
	c := r.client()
	c.want("FETCH 1:4 BODY[HEADER.FIELDS (Subject)]",
		"* 1 FETCH (BODY[HEADER.FIELDS (Subject)] "+literal("Subject: afternoon meeting\r\n\r\n")+")",
		"* 3 FETCH (BODY[HEADER.FIELDS (Subject)] ...", "* 4 FETCH (BODY[HEADER.FIELDS (Subject)] ...", "NO [UNAVAILABLE]...")
	c.want("SEARCH SUBJECT meeting", "* SEARCH 1", "OK SEARCH completed")
	c.want("SEARCH NOT SUBJECT meeting", "* SEARCH 2 3 4", "OK SEARCH completed")
	c.want("FETCH 2 (UID ENVELOPE)", "* 2 FETCH (UID 2 ENVELOPE (NIL NIL...", "OK FETCH completed")
}

// Many large sections of one message: each whole, and not all in memory first.
func TestFetchManySections(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	text := noise(3, 500_000)
	r.appendRaw("Subject: x\r\n\r\n"+text, imap.FlagSeen)
	c := r.client()
	var items, want []string
	for i := range 20 {
		items = append(items, fmt.Sprintf("BODY[TEXT]<%d.400000>", i))
		want = append(want, fmt.Sprintf("BODY[TEXT]<%d> %s", i, literal(text[i:i+400000])))
	}
	c.want("FETCH 1 ("+strings.Join(items, " ")+")", "* 1 FETCH ("+strings.Join(want, " ")+")", "OK FETCH completed")
}
