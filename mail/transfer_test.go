package mail

import (
	"encoding/base64"
	"errors"
	"io"
	"math/rand"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

// Base64 as of RFC 2045 §6.8, quoted-printable of §6.7, and what programs make
// of them.
var transferTests = []struct{ encoding, in, want string }{
	{"base64", "", ""},
	{"base64", "QQ==", "A"},
	{"base64", "QUI=", "AB"},
	{"base64", "QUJD", "ABC"},
	{"BASE64", "QUJD\r\nREVG\r\n", "ABCDEF"},
	{"base64", "Q U\tJ\r\nD", "ABC"},
	{"base64", "Q!U*J-D", "ABC"},   // others "must be ignored"
	{"base64", "QQ==QUI=", "AAB"},  // padding in the middle: two put together
	{"base64", "QQ==\r\nQQ", "AA"}, // padding missing
	{"base64", "QUJDR", "ABC"},     // a digit too many
	{"base64", "=QUJD", "ABC"},     // padding before anything
	{"base64", "QQ=\r\n=QQ==", "AA"},
	{"quoted-printable", "", ""},
	{"quoted-printable", "a=3Db=3db", "a=b=b"},
	{"quoted-printable", "Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.", "Now's the time for all folk to come to the aid of their country."},
	{"quoted-printable", "soft= \t\r\nbreak=\nbare=\r\n", "softbreakbare"},
	{"quoted-printable", "trailing \t \r\nspace \nend  ", "trailing\r\nspace\nend"},
	{"quoted-printable", "kept=20\r\n in front", "kept \r\n in front"},
	{"quoted-printable", "=ZZ =4 =", "=ZZ =4 "},
	{"quoted-printable", "==3D=\r=41", "===\rA"},
	{"quoted-printable", "\xe4=E4\x00", "\xe4\xe4\x00"},
	{"7bit", " as = it QQ==\r\n", " as = it QQ==\r\n"},
	{"", "x", "x"},
	{"Binary", "x\x00", "x\x00"},
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func decodeAll(t testing.TB, encoding string, r io.Reader) string {
	t.Helper()
	d, err := NewTransferReader(encoding, r)
	if err != nil {
		t.Fatal(encoding, err)
	}
	out, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(encoding, err)
	}
	return string(out)
}

func TestTransfer(t *testing.T) {
	for _, c := range transferTests {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in)), iotest.DataErrReader(strings.NewReader(c.in))} {
			if got := decodeAll(t, c.encoding, r); got != c.want {
				t.Errorf("%s %q: %q, want %q", c.encoding, c.in, got, c.want)
			}
		}
		checkDecodedSize(t, c.encoding, c.in)
	}
	for n := maxLine - 2; n < maxLine+3; n++ { // lines around the length that is held
		checkDecodedSize(t, "quoted-printable", "a\r\n"+strings.Repeat("\xf4", n))
		checkDecodedSize(t, "base64", strings.Repeat("QUJD", n))
	}
	if _, err := NewTransferReader("x-uuencode", strings.NewReader("")); !errors.Is(err, ErrUnknownEncoding) {
		t.Error("x-uuencode:", err)
	}
	d, err := NewTransferReader("base64", iotest.ErrReader(io.ErrUnexpectedEOF))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadAll(d); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("a failing reader gives", err)
	}
}

// checkDecodedSize puts a body into a message, alone and as a part before a
// delimiter, whose line end is not the body's, and compares BINARY.SIZE with
// what BINARY gives (RFC 3516 §4.3).
func checkDecodedSize(t testing.TB, encoding, body string) {
	t.Helper()
	header := "Content-Transfer-Encoding: " + encoding + "\r\n\r\n"
	for _, msg := range []string{
		header + body,
		"Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\n" + header + body + "\r\n--=_x--\r\n",
		"Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\n" + header + body + "\n--=_x\n\n--=_x",
	} {
		for _, cut := range []int{1, 3, 1 << 20} {
			p := NewParser()
			for rest := []byte(msg); len(rest) > 0; rest = rest[min(cut, len(rest)):] {
				_, _ = p.Write(rest[:min(cut, len(rest))]) // never fails
			}
			part, ok := p.Finish().Part([]int{1})
			if !ok {
				t.Fatal("no part 1")
			}
			start := part.Offset + part.HeaderSize
			got := decodeAll(t, part.Encoding, strings.NewReader(msg[start:start+part.BodySize]))
			if int64(len(got)) != part.DecodedSize {
				t.Errorf("%s in pieces of %d: size %d, decoded %d octets %.60q of %.200q", encoding, cut, part.DecodedSize, len(got), got, msg)
			}
		}
	}
}

// What the standard library encodes is decoded to the same.
func TestTransferRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 300 {
		data := make([]byte, rnd.Intn(3000))
		rnd.Read(data)
		s := b64(string(data))
		for i := 76; i < len(s); i += 78 {
			s = s[:i] + "\r\n" + s[i:]
		}
		if got := decodeAll(t, "BASE64", strings.NewReader(s)); got != string(data) {
			t.Fatal("base64 differs")
		}
		for i := range data { // text with some line ends
			data[i] = " \tab=\xe4,."[rnd.Intn(8)]
		}
		var b strings.Builder
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write(data) // a strings.Builder takes all
		_ = w.Close()
		if got := decodeAll(t, "QUOTED-PRINTABLE", strings.NewReader(b.String())); got != string(data) {
			t.Fatalf("quoted-printable of %q: %q", data, got)
		}
		checkDecodedSize(t, "base64", s)
		checkDecodedSize(t, "quoted-printable", b.String())
	}
}

func FuzzTransfer(f *testing.F) {
	for _, c := range transferTests {
		f.Add(c.encoding == "quoted-printable", c.in)
	}
	f.Add(true, "a \r\n\r\n=\r")
	f.Fuzz(func(t *testing.T, qp bool, in string) {
		if strings.Contains(in, "--=_x") || len(in) > 4096 {
			return
		}
		if qp {
			checkDecodedSize(t, "quoted-printable", in)
		} else {
			checkDecodedSize(t, "base64", in)
		}
	})
}

// With each bare line feed of text made CRLF, as BINARY sends it (RFC 3516 §6),
// a part is BareLF octets longer.
func TestBareLineFeeds(t *testing.T) {
	for in, want := range map[string]int64{
		"\na\nb\r\nc\n": 2,
		"\na\r\nb\r\n":  0,
		"Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\nb\n--x--\n":              1,
		"Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\r\nb\r\n--x--\n":          0,
		"Content-Transfer-Encoding: base64\n\n" + b64("a\nb\r\n\r\r\n\n"):                2,
		"Content-Transfer-Encoding: quoted-printable\n\na=0A=\n=0D=0Ab\r\n=0A":           2,
		"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n" + b64("a\nb\n"): 0,
	} {
		for _, cut := range []int{1, 3, 1000} {
			p := NewParser()
			for rest := []byte(in); len(rest) > 0; rest = rest[min(cut, len(rest)):] {
				_, _ = p.Write(rest[:min(cut, len(rest))]) // never fails
			}
			if part, ok := p.Finish().Part([]int{1}); !ok || part.BareLF != want {
				t.Errorf("%q in pieces of %d: %d, want %d", in, cut, part.BareLF, want)
			}
		}
	}
}
