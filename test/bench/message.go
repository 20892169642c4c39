package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand"
	"mime/quotedprintable"
	"strings"
	"time"
)

// The words that the searches look for: each is in one message of 1000, one in
// the Subject, the other in the body of another message.
const (
	rareSubject = "quokkaphone"
	rareBody    = "xylotomous"
)

var (
	vocabulary = strings.Fields(`meeting report budget server release customer invoice project
deadline review schedule contract shipping network storage mailbox filter update version build
deploy failure success summary agenda minutes travel hotel flight please thanks regards attached
document question answer proposal option decision plan quarter sales market support ticket issue
priority database index cache memory latency throughput window kernel patch branch merge commit`)

	people = []string{"Alice Smith", "Bob Jones", "Carol White", `"O'Neil, Dave"`, "Eve Black",
		"=?utf-8?q?J=C3=BCrgen_M=C3=BCller?=", "=?utf-8?b?5bGx55Sw5aSq6YOO?=", "=?iso-8859-1?q?Fran=E7ois?="}
)

// A writer makes one message of the corpus.
type writer struct {
	bytes.Buffer
	*rand.Rand
	number int
}

// message is the i-th message of the corpus, the same in every run: half of
// them plain text, a third text and HTML, a tenth with an attachment, some
// non-ASCII, some with a message inside. The mean size is 12.5 KB.
func message(i int) []byte {
	w := &writer{Rand: rand.New(rand.NewSource(int64(i)*7919 + 1)), number: i}
	w.header()
	switch kind := w.Intn(100); {
	case kind < 50:
		w.field("Content-Type", "text/plain; charset=utf-8")
		w.field("Content-Transfer-Encoding", "7bit")
		w.WriteString("\r\n" + w.text(500+w.Intn(4000)))
	case kind < 58:
		w.field("Content-Type", "text/plain; charset=utf-8")
		w.field("Content-Transfer-Encoding", "base64")
		w.WriteString("\r\n" + lines64([]byte("Grüße, 会議 – "+w.text(500+w.Intn(3000)))))
	case kind < 88:
		w.alternative("=_alternative", 500+w.Intn(4000), 4000+w.Intn(8000))
	case kind < 98:
		w.attachment()
	default:
		w.forwarded()
	}
	return w.Bytes()
}

func (w *writer) header() {
	date := time.Date(2020, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(w.number) * 97 * time.Minute).Format(time.RFC1123Z)
	for j := range 3 {
		w.field("Received", fmt.Sprintf("from mx%d.example.net (mx%d.example.net [192.0.2.%d])\r\n\tby mail.example.com with ESMTPS id %012x\r\n\tfor <user@example.com>; %s",
			j, j, w.Intn(250), w.Int63n(1<<47), date))
	}
	w.field("DKIM-Signature", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=sel;\r\n\th=from:to:subject:date:message-id; bh="+
		base64.StdEncoding.EncodeToString(w.random(32))+";\r\n\tb="+base64.StdEncoding.EncodeToString(w.random(96)))
	w.field("From", w.address())
	to := w.address()
	for w.Intn(3) == 0 {
		to += ",\r\n " + w.address()
	}
	w.field("To", to)
	if w.Intn(4) == 0 {
		w.field("Cc", w.address())
	}
	w.field("Subject", w.subject())
	w.field("Date", date)
	w.field("Message-ID", fmt.Sprintf("<%d.%x@example.com>", w.number, w.Int63()))
	if w.number > 10 && w.Intn(2) == 0 {
		w.field("In-Reply-To", fmt.Sprintf("<%d.parent@example.com>", w.number-1-w.Intn(10)))
		w.field("References", fmt.Sprintf("<%d.root@example.com>\r\n <%d.parent@example.com>", w.number/10, w.number-1))
	}
	w.field("MIME-Version", "1.0")
}

func (w *writer) subject() string {
	s := w.words(3 + w.Intn(5))
	if w.number%1000 == 250 {
		s += " " + rareSubject
	}
	if w.Intn(10) == 0 {
		s += " =?utf-8?q?gr=C3=B6=C3=9Fere_=C3=84nderung?="
	}
	return s
}

func (w *writer) alternative(boundary string, plain, html int) {
	w.field("Content-Type", `multipart/alternative; boundary="`+boundary+`"`)
	w.WriteString("\r\n")
	w.part(boundary, "text/plain; charset=utf-8", "7bit", w.text(plain))
	w.part(boundary, "text/html; charset=utf-8", "quoted-printable", w.html(html))
	w.WriteString("--" + boundary + "--\r\n")
}

func (w *writer) attachment() {
	w.field("Content-Type", `multipart/mixed; boundary="=_mixed"`)
	w.WriteString("\r\n--=_mixed\r\n")
	w.alternative("=_alternative", 500+w.Intn(2000), 2000+w.Intn(4000))
	w.part("=_mixed", "application/pdf; name=\"report.pdf\"\r\nContent-Disposition: attachment; filename=\"report.pdf\"", "base64",
		lines64(w.random(20000+w.Intn(40000))))
	w.WriteString("--=_mixed--\r\n")
}

func (w *writer) forwarded() {
	w.field("Content-Type", `multipart/mixed; boundary="=_mixed"`)
	w.WriteString("\r\n")
	w.part("=_mixed", "text/plain", "7bit", w.text(300))
	w.WriteString("--=_mixed\r\nContent-Type: message/rfc822\r\n\r\n")
	w.field("From", w.address())
	w.field("Subject", w.words(4))
	w.field("Message-ID", fmt.Sprintf("<inner%d@example.org>", w.number))
	w.WriteString("\r\n" + w.text(1500) + "\r\n--=_mixed--\r\n")
}

func (w *writer) field(name, value string) { fmt.Fprintf(w, "%s: %s\r\n", name, value) }

func (w *writer) part(boundary, mediaType, encoding, body string) {
	fmt.Fprintf(w, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s\r\n", boundary, mediaType, encoding, body)
}

func (w *writer) address() string {
	return fmt.Sprintf("%s <%s%d@example.com>", people[w.Intn(len(people))], vocabulary[w.Intn(len(vocabulary))], w.Intn(100))
}

func (w *writer) words(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = vocabulary[w.Intn(len(vocabulary))]
	}
	return strings.Join(all, " ")
}

func (w *writer) text(size int) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(w.words(6+w.Intn(6)) + "\r\n")
		if w.Intn(7) == 0 {
			b.WriteString("\r\n")
		}
	}
	if w.number%1000 == 500 {
		b.WriteString("the " + rareBody + " part\r\n")
	}
	return b.String()
}

func (w *writer) html(size int) string {
	var b strings.Builder
	q := quotedprintable.NewWriter(&b)
	fmt.Fprintf(q, "<html><body><p style=\"color:#333\">%s</p></body></html>\r\n", strings.ReplaceAll(w.text(size), "\r\n", "<br>=\r\n"))
	_ = q.Close() // into memory
	return b.String()
}

func (w *writer) random(n int) []byte { return randomBytes(w.Rand, n) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	r.Read(b)
	return b
}

// lines64 is base64 in lines of 76.
func lines64(b []byte) string {
	s := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	out.Grow(len(s) + len(s)/38 + 2)
	for len(s) > 76 {
		out.WriteString(s[:76])
		out.WriteString("\r\n")
		s = s[76:]
	}
	out.WriteString(s)
	return out.String()
}

// sized makes a message of exactly size bytes: a short text and an attachment
// that does not compress.
func sized(size int, seed int64) []byte {
	head := fmt.Sprintf("From: Alice Smith <alice@example.com>\r\nTo: Bob Jones <bob@example.com>\r\nSubject: sized message %016d\r\n"+
		"Date: Wed, 01 Jan 2020 08:00:00 +0000\r\nMessage-ID: <sized.%016d@example.com>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=\"=_sized\"\r\n\r\n--=_sized\r\nContent-Type: text/plain\r\n\r\nhello\r\n"+
		"--=_sized\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n", 0, 0)
	tail := "\r\n--=_sized--\r\n"
	body := []byte(lines64(randomBytes(rand.New(rand.NewSource(seed)), size)))[:size-len(head)-len(tail)]
	body[len(body)-1], body[len(body)-2] = 'A', 'A' // never half a CRLF
	return append(append([]byte(head), body...), tail...)
}

// stamp writes a number over the zeros in a sized message's Subject and
// Message-ID and at the start of its attachment, so that no two are alike.
func stamp(msg []byte, n int64) {
	digits := fmt.Appendf(nil, "%016d", n)
	for _, mark := range []string{"sized message ", "<sized.", "base64\r\n\r\n"} {
		if i := bytes.Index(msg, []byte(mark)); i >= 0 {
			copy(msg[i+len(mark):], digits)
		}
	}
}
