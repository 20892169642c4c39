package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nestbox/test/raw"
)

// mails are messages of the kinds that clients meet, with CRLF line ends.
// Every one has a Subject of its own.
func mails() [][]byte {
	random := make([]byte, 200_000)
	rand.New(rand.NewSource(1)).Read(random)
	file := base64.StdEncoding.EncodeToString(random)
	var lines strings.Builder
	for len(file) > 0 {
		n := min(76, len(file))
		lines.WriteString(file[:n] + "\n")
		file = file[n:]
	}
	head := func(n int, subject string) string {
		return fmt.Sprintf("From: Ann <ann@example.org>\nTo: bob@example.com\nSubject: %s\n"+
			"Date: Mon, 02 Jan 2023 15:04:%02d +0100\nMessage-ID: <mail%d@example.org>\n", subject, n, n)
	}
	texts := []string{
		head(0, "plain") + "\nhello\nFrom here on: a line that mbox must quote\n>From and one more\n.\n..\n",
		head(1, "=?utf-8?q?Gr=C3=BC=C3=9Fe?=") + "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße aus 東京\n",
		head(2, "two parts") + "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\nplain xylophone\n--b\nContent-Type: text/html\n\n<p>html</p>\n--b--\n",
		head(3, "attachment") + "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\n\nsee the file\n--b\nContent-Type: application/octet-stream; name=\"f.bin\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"f.bin\"\n\n" + lines.String() + "--b--\n",
		head(4, "no body") + "\n",
		head(5, "forwarded") + "MIME-Version: 1.0\nContent-Type: message/rfc822\n\nFrom: carl@example.net\nSubject: inner\n\ninner text\n",
		head(6, "long line") + "\n" + strings.Repeat("abc ", 5000) + "\n",
	}
	all := make([][]byte, len(texts))
	for i, text := range texts {
		all[i] = []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	}
	return all
}

// appendAll fills a mailbox with messages.
func appendAll(t *testing.T, c *raw.Conn, mailbox string, messages [][]byte) {
	t.Helper()
	for _, m := range messages {
		if err := c.Append(mailbox, "", m); err != nil {
			t.Fatal(err)
		}
	}
}

// contents is every message of a mailbox on the server.
func contents(t *testing.T, c *raw.Conn, mailbox string) (messages [][]byte) {
	t.Helper()
	n, err := c.Select(mailbox)
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	if err := c.DoWhole("FETCH 1:* BODY.PEEK[]", func(r raw.Response) {
		if len(r.Literals) == 1 {
			messages = append(messages, []byte(r.Literals[0]))
		}
	}); err != nil {
		t.Fatal(err)
	}
	return messages
}

// flags are the flags of each message of a mailbox, without \Recent, by Subject.
func flags(t *testing.T, c *raw.Conn, mailbox string) map[string]string {
	t.Helper()
	n, err := c.Select(mailbox)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	if n == 0 {
		return all
	}
	if err := c.DoWhole("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])", func(r raw.Response) {
		_, list, ok := strings.Cut(r.Text, "FLAGS (")
		if !ok || len(r.Literals) != 1 {
			return
		}
		list, _, _ = strings.Cut(list, ")")
		words := slices.DeleteFunc(strings.Fields(list), func(w string) bool { return w == `\Recent` })
		slices.Sort(words)
		all[strings.TrimSpace(strings.TrimPrefix(r.Literals[0], "Subject: "))] = strings.Join(words, " ")
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// same fails unless both lists hold the same messages in any order. Line ends
// are not compared: Maildir and mbox have LF.
func same(t *testing.T, what string, got, want [][]byte) {
	t.Helper()
	g, w := sums(got), sums(want)
	if !maps.Equal(g, w) {
		t.Errorf("%s: %d messages, want %d; only there: %q; missing: %q", what, len(got), len(want), minus(got, w), minus(want, g))
	}
}

func sums(messages [][]byte) map[[32]byte]int {
	all := map[[32]byte]int{}
	for _, m := range messages {
		all[sum(m)]++
	}
	return all
}

func sum(message []byte) [32]byte {
	return sha256.Sum256(bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")))
}

// minus names the messages that are not among sums.
func minus(messages [][]byte, sums map[[32]byte]int) (heads []string) {
	for _, m := range messages {
		if sums[sum(m)] == 0 {
			heads = append(heads, string(m[:min(len(m), 200)]))
		}
	}
	return heads
}

// maildir reads the messages of a Maildir folder; names are their files.
func maildir(t *testing.T, dir string) (messages [][]byte, names []string) {
	t.Helper()
	for _, sub := range []string{"new", "cur"} {
		files, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			path := filepath.Join(dir, sub, f.Name())
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			messages, names = append(messages, b), append(names, path)
		}
	}
	return messages, names
}

// deliver puts a message into a Maildir as a delivery agent does.
func deliver(t *testing.T, dir, name string, message []byte) {
	t.Helper()
	lf := bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n"))
	if err := os.WriteFile(filepath.Join(dir, "new", name), lf, 0o600); err != nil {
		t.Fatal(err)
	}
}
