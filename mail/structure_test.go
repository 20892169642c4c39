package mail

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/structure/*.golden anew; compare with another server before")

// parse is the record of a message.
func parse(msg string) Record {
	p := NewParser()
	_, _ = p.Write([]byte(msg)) // never fails
	return p.Finish()
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// dump shows all that a record tells of the structure of msg.
func dump(rec Record, msg string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ENVELOPE %s\nBODY %s\nBODYSTRUCTURE %s\n", rec.Envelope(), rec.AppendBodyStructure(nil, false, true), rec.AppendBodyStructure(nil, true, true))
	fmt.Fprintf(&b, "IMAP4rev1 %s\n", rec.AppendBodyStructure(nil, false, false))
	show := func(name string, path []int, kind Section) {
		off, n, ok := rec.Range(path, kind)
		if !ok {
			return
		}
		s := msg[off : off+n]
		if len(s) > 60 {
			s = s[:30] + "..." + s[len(s)-30:]
		}
		fmt.Fprintf(&b, "%s %d+%d %q\n", name, off, n, s)
	}
	show("HEADER", nil, SectionHeader)
	show("TEXT", nil, SectionText)
	rec.Parts(func(path []int, p Part) bool {
		var num []string
		for _, n := range path {
			num = append(num, strconv.Itoa(n))
		}
		name := strings.Join(num, ".")
		show(name+".MIME", path, SectionMIME)
		show(name+".HEADER", path, SectionHeader)
		show(name+".TEXT", path, SectionText)
		show(name, path, SectionBody)
		return true
	})
	return strings.ReplaceAll(b.String(), "\r", "")
}

// The messages in testdata are examples of RFC 2046, 2049, 2231 and 5322, and
// broken ones. What the golden files say was compared with Dovecot 2.3.19.
func TestStructure(t *testing.T) {
	files, err := filepath.Glob("testdata/structure/*.eml")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		msg := crlf(string(raw))
		got := dump(parse(msg), msg)
		golden := strings.TrimSuffix(file, ".eml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\ngot:\n%s\nwant:\n%s", file, got, want)
		}
	}
}

// hostile are messages as no program should write them.
func hostile() map[string]string {
	var manyParts, nested, messages strings.Builder
	manyParts.WriteString("Content-Type: multipart/mixed; boundary=x\r\n\r\n")
	for range 100_000 {
		manyParts.WriteString("--x\r\n\r\n\r\n")
	}
	for i := range 1000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for range 1000 {
		messages.WriteString("Content-Type: message/rfc822\r\n\r\n")
	}
	mb := strings.Repeat("x", 1<<20)
	multi := "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n"
	return map[string]string{
		"empty":             "",
		"one LF":            "\n",
		"one CR":            "\r",
		"no line end":       "Subject: x",
		"many parts":        manyParts.String(),
		"nested":            nested.String(),
		"nested messages":   messages.String() + "end",
		"bare LF":           strings.ReplaceAll(multi, "\r", "") + "a\n--x\n\nb\n--x--\n",
		"mixed line ends":   "Subject: a\nFrom: b@c\r\nContent-Type: multipart/mixed; boundary=x\n\r\n--x\n\na\r\n--x\r\n\nb\n--x--",
		"lone CR":           "Subject: a\rb\r\rTo: c\r\r\n\r\nx\ry\r",
		"NUL":               "Subject: a\x00b\r\nContent-Type: text/plain; name=\"\x00\"\r\n\r\nx\x00y\r\n",
		"megabyte line":     multi + mb + "\r\n--x\r\n\r\n" + mb,
		"megabyte header":   "Subject: " + mb + "\r\nTo: a@b\r\n\r\nx",
		"megabyte of colon": strings.Repeat("a:b\r\n", 200_000) + "\r\nx",
		"long delimiter":    multi + "a\r\n--x" + mb + "\r\n\r\nb\r\n--x--" + mb + "\r\nc",
		"long then CR":      multi + mb[:999] + "\r\n--x\r\n\r\n" + mb[:1000] + "\r\n--x\r\n\r\n" + mb[:1001] + "\r\n--x--",
		"delimiter at end":  multi + "a\r\n--x--",
		"half a delimiter":  multi + "a\r\n--",
		"header in header":  "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n--x\r\nContent-Type: multipart/mixed; boundary=y\r\n--x--",
		"long boundary":     "Content-Type: multipart/mixed; boundary=" + mb[:2000] + "\r\n\r\n--" + mb[:2000] + "\r\n\r\na\r\n",
		"same boundary":     strings.Repeat(multi, 3) + "a\r\n--x--\r\n--x--\r\n--x\r\n",
		"parameters":        "Content-Type: a/b" + strings.Repeat("; x*0=1; x*1=2", 5000) + "\r\n\r\n",
		"comments":          "Content-Type: " + strings.Repeat("(", 100_000) + "\r\nTo: " + strings.Repeat("(", 100_000) + "\r\n\r\n",
		"groups":            "To: " + strings.Repeat("a:", 100_000) + "\r\n\r\n",
		"angles":            "To: " + strings.Repeat("<@:", 50_000) + "\r\nCc: " + strings.Repeat("\"", 99_999) + "\r\n\r\n",
		"subjects":          "Subject: " + strings.Repeat("[a] ", 10_000) + strings.Repeat("re[b]: ", 10_000) + strings.Repeat("[fwd: ", 10_000) + strings.Repeat("]", 10_000) + "\r\n\r\n",
		"fwd trailers":      "Subject: " + strings.Repeat("[fwd:", 20_000) + strings.Repeat("]", 20_000) + strings.Repeat(" (fwd)", 20_000) + "\r\n\r\n",
		"continued nothing": " folded\r\n\tmore\r\nTo: a@b\r\n\r\n",
		"global":            "Content-Type: message/global\r\n\r\nSubject: \xc3\xa4\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/global\r\n\r\nTo: b\r\n\r\nx\r\n--x--",
	}
}

// Whatever arrives gives a sound record, the same one however it is cut, and
// all of its parts lie within each other and within the message.
func TestHostile(t *testing.T) {
	for name, msg := range hostile() {
		start := time.Now()
		rec := parse(msg)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%s: %d octets took %s", name, len(msg), d)
		} else if testing.Verbose() {
			t.Log(name, len(msg), d, len(rec))
		}
		if !rec.Valid() || rec.Size() != int64(len(msg)) {
			t.Errorf("%s: valid %v, size %d of %d", name, rec.Valid(), rec.Size(), len(msg))
		}
		checkRecord(t, name, rec)
		rnd := rand.New(rand.NewSource(1))
		for _, most := range []int{1, 2, 7, 1500, 70_000} {
			if most < 7 && len(msg) > 300_000 {
				continue
			}
			p := NewParser()
			for rest := []byte(msg); len(rest) > 0; {
				k := min(1+rnd.Intn(most), len(rest))
				_, _ = p.Write(rest[:k]) // never fails
				rest = rest[k:]
			}
			if !bytes.Equal(p.Finish(), rec) {
				t.Errorf("%s: another record in pieces of up to %d", name, most)
			}
		}
	}
}

// checkRecord reads all there is in a record, and looks whether its parts are
// in their order and its wire forms are balanced.
func checkRecord(t *testing.T, name string, rec Record) {
	t.Helper()
	last := int64(0)
	parts := 0
	rec.Parts(func(path []int, p Part) bool {
		parts++
		end := p.Offset + p.HeaderSize + p.BodySize
		if p.Offset < last || end > rec.Size() {
			t.Errorf("%s: part %v at %d..%d after %d of %d", name, path, p.Offset, end, last, rec.Size())
			return false
		}
		last = p.Offset
		if q, ok := rec.Part(path); len(path) < 5 && parts < 50 && (!ok || q != p) {
			t.Errorf("%s: part %v is %+v, then %+v", name, path, p, q)
		}
		return true
	})
	if parts > 2*maxParts {
		t.Errorf("%s: %d parts", name, parts)
	}
	for _, form := range [][]byte{rec.Envelope(), rec.AppendBodyStructure(nil, true, true), rec.AppendBodyStructure(nil, false, true), rec.AppendBodyStructure(nil, true, false), rec.AppendBodyStructure(nil, false, false)} {
		if rest, ok := skipForm(form); !ok || len(rest) > 0 {
			t.Errorf("%s: not a wire form: %.200q", name, form)
		}
	}
}

// skipForm passes over one value in wire form.
func skipForm(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch b[0] {
	case '(':
		for b = b[1:]; len(b) > 0 && b[0] != ')'; {
			if b, ok = skipForm(b); !ok {
				return nil, false
			}
			b = bytes.TrimPrefix(b, []byte(" "))
		}
		if len(b) == 0 {
			return nil, false
		}
		return b[1:], true
	case '"':
		for i := 1; i < len(b); i++ {
			switch c := b[i]; {
			case c == '\\':
				i++
			case c == '"':
				return b[i+1:], true
			case c < ' ' || c > '~':
				return nil, false
			}
		}
		return nil, false
	case '{':
		i := bytes.Index(b, []byte("}\r\n"))
		n, err := strconv.Atoi(string(b[1:max(1, i)]))
		if err != nil || i+3+n > len(b) || bytes.IndexByte(b[i+3:i+3+n], 0) >= 0 {
			return nil, false
		}
		return b[i+3+n:], true
	}
	i := 0
	for i < len(b) && b[i] != ' ' && b[i] != ')' && b[i] != '(' {
		i++
	}
	return b[i:], i > 0
}
