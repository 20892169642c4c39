package mail

import (
	"bytes"
	"fmt"
	"math/rand"
	"runtime"
	"strings"
	"testing"
	"time"
)

const sample = "Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\nFrom: Fred Foobar <foobar@Blurdybloop.example>\r\nSubject: Re: [list] afternoon meeting (fwd)\r\n" +
	"To: mooch@owatagu.siam.edu.example, x@y\r\nCc: \"=?utf-8?q?J=C3=B6rg?=\" <joerg@example.org>\r\nMessage-Id: <B27397-0100000@Blurdybloop.example>\r\n" +
	"In-Reply-To: Your mail of today <a@b> <c@d>\r\nReferences: <r1@x>\r\n <r2@x> junk <a@b>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
	"--x\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=FC=DFe,\r\n<b>Fred</b>\r\n" +
	"--x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: BASE64\r\n\r\nAAECAwQ=\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n" +
	"--x\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin\r\n--x--\r\n"

// RFC 9051 §7.5.2 gives the envelope of a message like this.
func TestRecord(t *testing.T) {
	rec := parse(sample)
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("valid", rec.Valid(), true)
	check("version", rec.Version(), uint8(Version))
	check("size", rec.Size(), int64(len(sample)))
	check("header", rec.HeaderSize(), int64(strings.Index(sample, "\r\n\r\n")+4))
	check("eight bit", rec.EightBitHeader(), false)
	check("eight bit", parse("Subject: \xe4\r\n\r\n").EightBitHeader(), true)
	check("eight bit body", parse("Subject: a\r\n\r\n\xe4").EightBitHeader(), false)
	date, ok := rec.SentDate()
	check("date", fmt.Sprint(date.Format(time.RFC3339), ok), "1994-02-07T21:52:25-08:00true")
	check("subject", string(rec.BaseSubject()), "AFTERNOON MEETING")
	check("reply", rec.IsReply(), true)
	check("from", string(rec.From()), "FOOBAR")
	check("to", string(rec.To()), "MOOCH")
	check("cc", string(rec.Cc()), "JOERG")
	check("display from", string(rec.DisplayFrom()), "FRED FOOBAR")
	check("display to", string(rec.DisplayTo()), "MOOCH@OWATAGU.SIAM.EDU.EXAMPLE")
	id, ok := rec.MessageID()
	check("id", ok && id == hashOf("B27397-0100000@Blurdybloop.example"), true)
	id, ok = rec.InReplyTo()
	check("in reply to", ok && id == hashOf("a@b"), true)
	var refs []Hash
	rec.References(func(h Hash) bool { refs = append(refs, h); return true })
	check("references", len(refs) == 3 && refs[0] == hashOf("r1@x") && refs[2] == hashOf("a@b"), true)
	check("preview", string(rec.Preview()), "Grüße, Fred")
	p, ok := rec.Part([]int{1})
	check("part 1", fmt.Sprint(ok, p.Type, p.Subtype, p.Encoding, p.Charset, p.DecodedSize), fmt.Sprint(true, "TEXT", "HTML", "QUOTED-PRINTABLE", "ISO-8859-1", len("<p>Gr..e,\r\n<b>Fred</b>")))
	p, _ = rec.Part([]int{2})
	check("part 2", p.DecodedSize, int64(5))
	p, _ = rec.Part([]int{3})
	check("part 3", fmt.Sprint(p.Message, p.DecodedSize, p.BodySize), "true 16 16")
	p, _ = rec.Part([]int{4})
	check("part 4", p.DecodedSize, int64(-1))
	for _, path := range [][]int{{0}, {5}, {-1}, {1, 1}, {3, 2}, {3, 1, 1}, {1 << 30}} {
		if _, ok := rec.Part(path); ok {
			t.Errorf("there is a part %v", path)
		}
	}
}

func hashOf(id string) Hash { return hashID([]byte(id)) }

// An empty record, as of a message that is lost, answers with nothing.
func TestEmptyRecord(t *testing.T) {
	touch(nil)
	touch(Record{1})
	if Record(nil).Valid() || Record(nil).Version() != 0 || len(Record(nil).Envelope()) != 0 {
		t.Error("an empty record is valid")
	}
}

// touch reads everything in a record.
func touch(rec Record) {
	rec.Valid()
	rec.Version()
	rec.Envelope()
	for i := range 4 {
		rec.AppendBodyStructure(nil, i&1 == 0, i&2 == 0)
	}
	rec.SentDate()
	rec.MessageID()
	rec.InReplyTo()
	rec.References(func(Hash) bool { return true })
	for _, key := range [][]byte{rec.BaseSubject(), rec.From(), rec.To(), rec.Cc(), rec.DisplayFrom(), rec.DisplayTo(), rec.Preview()} {
		if len(key) > len(rec) {
			panic("key")
		}
	}
	size := rec.Size()
	if h := rec.HeaderSize(); h < 0 || h > size {
		panic("header size")
	}
	visit := func(path []int) {
		for kind := SectionBody; kind <= SectionMIME; kind++ {
			if off, n, ok := rec.Range(path, kind); ok && (off < 0 || n < 0 || off > size || n > size-off) {
				panic(fmt.Sprint("range ", path, kind, off, n, size))
			}
		}
		rec.Part(path)
	}
	for _, path := range [][]int{nil, {1}, {2}, {3, 1}, {1, 1, 1}, {5000}} {
		visit(path)
	}
	n := 0
	rec.Parts(func(path []int, p Part) bool {
		if p.Offset < 0 || p.HeaderSize < 0 || p.BodySize < 0 || p.Offset+p.HeaderSize+p.BodySize > size {
			panic("part")
		}
		if n++; n < 20 {
			visit(path)
		}
		return true
	})
	_ = NormalText(rec, strings.NewReader("a: b\r\n\r\ntext"), ScopeText, func([]byte) bool { return true })
}

// No accessor panics or leaves the message, whatever the record is.
func TestDamagedRecords(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	good := parse(sample)
	for range 20_000 {
		bad := Record(bytes.Clone(good))
		for range 1 + rnd.Intn(5) {
			switch i := rnd.Intn(len(bad)); rnd.Intn(4) {
			case 0:
				bad = bad[:i+1]
			case 1:
				bad[i] = 0xff
			case 2:
				bad[rnd.Intn(min(len(bad), 40))] ^= 1 << rnd.Intn(8)
			default:
				bad[i] = byte(rnd.Intn(256))
			}
		}
		touch(bad)
	}
}

// The parser's memory does not grow with the message.
func TestParserMemory(t *testing.T) {
	header := []byte("\r\n--x\r\n")
	for i := range 300 {
		header = fmt.Appendf(header, "Content-Id%d: %s\r\nContent-Description: %s\r\n", i, strings.Repeat("y", 50), strings.Repeat("\"", 50))
	}
	for name, piece := range map[string][]byte{
		"parts":   append(header, "\r\n"...),
		"line":    bytes.Repeat([]byte("x"), 1<<16),
		"lines":   bytes.Repeat([]byte("some text\r\n"), 1<<12),
		"headers": bytes.Repeat([]byte("To: a@b\r\n"), 1<<12),
	} {
		p := NewParser()
		if name != "headers" {
			_, _ = p.Write([]byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n"))
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for n := 0; n < 100<<20; n += len(piece) {
			_, _ = p.Write(piece)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		rec := p.Finish()
		t.Logf("%s: %d KB held, record of %d KB", name, held>>10, len(rec)>>10)
		if held > 3<<20 || len(rec) > 2<<20 {
			t.Errorf("%s: %d octets held, record of %d", name, held, len(rec))
		}
	}
}

// Fields count however much comes before them, and a field that is too long is
// cut, not lost.
func TestLargeHeader(t *testing.T) {
	junk := strings.Repeat("X-Junk: "+strings.Repeat("y", 70)+"\r\n", 10_000)
	rec := parse(junk + "Subject: late\r\nTo: " + strings.Repeat("a@b, ", 1000) + "c@d\r\n\r\nx")
	if !bytes.Contains(rec.Envelope(), []byte(`"late"`)) || bytes.Count(rec.Envelope(), []byte(`(NIL NIL "a" "b")`)) != 1000 {
		t.Errorf("%.200s", rec.Envelope())
	}
	rec = parse("Subject: " + strings.Repeat("y", maxField+100) + "\r\n more\r\nTo: a@b\r\n\r\nx")
	if !bytes.Contains(rec.Envelope(), []byte("yyyy")) || !bytes.Contains(rec.Envelope(), []byte(`((NIL NIL "a" "b"))`)) || bytes.Contains(rec.Envelope(), []byte("more")) {
		t.Errorf("%.200s", rec.Envelope())
	}
}

// Accessors take no memory.
func TestRecordAllocations(t *testing.T) {
	rec := parse(sample)
	path := []int{3, 1}
	dst := make([]byte, 0, 8192)
	n := testing.AllocsPerRun(100, func() {
		dst = append(dst[:0], rec.Envelope()...)
		dst = rec.AppendBodyStructure(dst, true, true)
		dst = rec.AppendBodyStructure(dst, false, false)
		dst = append(append(dst, rec.BaseSubject()...), rec.Preview()...)
		dst = AppendHeaderFields(dst, []byte(sample)[:0], []string{"TO"}, false)
		_, _ = rec.MessageID()
		_, _, _ = rec.Range(path, SectionMIME)
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A typical record is small: it is read for each line of a message list.
func TestRecordSize(t *testing.T) {
	msg := benchMessages()["small"]
	if rec := parse(msg); len(rec) > 900 {
		t.Errorf("%d octets", len(rec))
	}
}
