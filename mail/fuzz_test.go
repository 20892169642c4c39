package mail

import (
	"bytes"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func addMessages(f *testing.F) {
	files, err := filepath.Glob("testdata/structure/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for i, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(crlf(string(raw))), int64(i))
	}
	f.Add([]byte(sample), int64(0))
}

// Whatever arrives, however cut: the same sound record, whose text can be read.
func FuzzParser(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, msg []byte, seed int64) {
		rec := parse(string(msg))
		if !rec.Valid() || rec.Size() != int64(len(msg)) {
			t.Errorf("valid %v, size %d of %d", rec.Valid(), rec.Size(), len(msg))
		}
		checkRecord(t, "message", rec)
		rnd := rand.New(rand.NewSource(seed))
		p := NewParser()
		for rest := msg; len(rest) > 0; {
			k := min(1+rnd.Intn(1+rnd.Intn(100)), len(rest))
			_, _ = p.Write(rest[:k]) // never fails
			rest = rest[k:]
		}
		if !bytes.Equal(p.Finish(), rec) {
			t.Error("another record in pieces")
		}
		rec.Parts(func(path []int, q Part) bool {
			body := string(msg[q.Offset+q.HeaderSize:][:q.BodySize])
			if q.DecodedSize >= 0 && !q.Multipart && !q.Message && int64(len(decodeAll(t, q.Encoding, strings.NewReader(body)))) != q.DecodedSize {
				t.Errorf("part %v: decoded size %d", path, q.DecodedSize)
			}
			return true
		})
		text := textOf(t, string(msg), ScopeText)
		header := msg[:rec.HeaderSize()]
		for _, name := range []string{"SUBJECT", "FROM", "TO"} {
			HeaderField(header, name, func(v []byte) bool {
				if s := string(AppendNormalHeader(nil, v)); !strings.Contains(text, s) {
					t.Errorf("%s: %q is not in %q", name, s, text)
				}
				return true
			})
		}
		out := AppendHeaderFields(nil, header, nil, true)
		if !bytes.Equal(out, header) {
			t.Errorf("header fields %q of %q", out, header)
		}
	})
}

// No accessor panics on what is no record at all.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(parse(sample)))
	f.Add([]byte(parse(crlf("Content-Type: message/global\n\nSubject: x\n\ny"))))
	f.Fuzz(func(t *testing.T, b []byte) { touch(b) })
}
