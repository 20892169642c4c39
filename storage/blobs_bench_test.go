package storage

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/mail"
)

// words are for text that compresses about as mail does.
var words = strings.Fields(`the of and to in a is that for it as was with be by on not he his but at are this
have from or had an they which one you were her all their there would we him been has when who will more no if out
so said what up its about into than them can only other new some could time these two may then do first any my now
such like our over man me even most made after also did many before must through back years where much your way
well down should because each just those people mr how too little state good very make world still own see men work
long get here between both life being under never day same another know while last might us great old year off come
since against go came right used take three house meeting invoice attached regards thanks please order delivery`)

// mailText is a message with a header as mail has it and about size octets of
// text.
func mailText(n, size int) []byte {
	r := rand.New(rand.NewSource(int64(n)))
	hex := func(k int) string {
		b := make([]byte, k)
		r.Read(b)
		return fmt.Sprintf("%x", b)
	}
	var m bytes.Buffer
	host := fmt.Sprintf("mail%d.example%d.org", n%37, n%11)
	fmt.Fprintf(&m, "Return-Path: <bounce-%s@%s>\r\n", hex(6), host)
	for hop := range 4 {
		fmt.Fprintf(&m, "Received: from mx%d.%s (mx%d.%s [192.0.2.%d])\r\n\tby relay%d.example.net (Postfix) with ESMTPS id %s\r\n\tfor <ann@example.net>; Tue, %d Mar 2024 %02d:%02d:%02d +0100 (CET)\r\n",
			hop, host, hop, host, r.Intn(255), hop, strings.ToUpper(hex(6)), 1+n%28, r.Intn(24), r.Intn(60), r.Intn(60))
	}
	fmt.Fprintf(&m, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=s%d;\r\n\th=from:to:subject:date:message-id:mime-version:content-type; bh=%s;\r\n\tb=%s\r\n", host, n%3, hex(22), hex(86))
	fmt.Fprintf(&m, "Authentication-Results: mx.example.net; dkim=pass header.d=%s; spf=pass smtp.mailfrom=%s; dmarc=pass\r\n", host, host)
	fmt.Fprintf(&m, "Date: Tue, %d Mar 2024 %02d:%02d:%02d +0100\r\nFrom: \"Some Person %d\" <person%d@%s>\r\nTo: ann@example.net\r\nMessage-ID: <%s@%s>\r\n",
		1+n%28, r.Intn(24), r.Intn(60), r.Intn(60), n%100, n%100, host, hex(12), host)
	fmt.Fprintf(&m, "Subject: %s %s %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nX-Mailer: Bench %d\r\nList-Unsubscribe: <https://%s/u/%s>\r\n\r\n",
		words[r.Intn(len(words))], words[r.Intn(len(words))], words[r.Intn(len(words))], n%7, host, hex(20))
	for col := 0; size > 0; {
		w := words[int(float64(len(words))*r.Float64()*r.Float64())]
		m.WriteString(w)
		if col += len(w) + 1; col > 70 {
			m.WriteString("\r\n")
			col = 0
		} else {
			m.WriteByte(' ')
		}
		size -= len(w) + 1
	}
	m.WriteString("\r\n")
	return m.Bytes()
}

// fillBlobs appends n messages and returns their blobs.
func fillBlobs(t testing.TB, a *Account, n, size int) (blobs []BlobID) {
	t.Helper()
	box := inbox(t, a)
	for len(blobs) < n {
		var msgs []NewMessage
		for len(msgs) < 200 && len(blobs)+len(msgs) < n {
			msgs = append(msgs, NewMessage{Upload: upload(t, a, string(mailText(len(blobs)+len(msgs), size)))})
		}
		res, err := a.Append(box.ID, msgs)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := a.Rows(box.Space, res.UIDs, nil)
		if err != nil || len(rows) != len(msgs) {
			t.Fatal(len(rows), err)
		}
		for i := range rows {
			blobs = append(blobs, rows[i].Blob)
		}
	}
	return blobs
}

const benchBlobs = 20000

// inBatches calls f with ReadRows blobs at a time.
func inBatches(blobs []BlobID, f func(part []BlobID) error) error {
	for ; len(blobs) > 0; blobs = blobs[min(ReadRows, len(blobs)):] {
		if err := f(blobs[:min(ReadRows, len(blobs))]); err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkRecords20000(b *testing.B) {
	_, a := openTest(b)
	blobs := fillBlobs(b, a, benchBlobs, 500)
	build(b, a) // not in the background meanwhile
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for range b.N {
		n := 0
		if err := inBatches(blobs, func(part []BlobID) error {
			return a.Records(part, func(_ int, rec mail.Record) bool { n += len(rec.Envelope()); return true })
		}); err != nil || n == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeaders20000(b *testing.B) {
	_, a := openTest(b)
	blobs := fillBlobs(b, a, benchBlobs, 500)
	build(b, a) // not in the background meanwhile
	n := 0
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for range b.N {
		n = 0
		if err := inBatches(blobs, func(part []BlobID) error {
			return a.Headers(part, func(_ int, header []byte) bool { n += len(header); return true })
		}); err != nil || n == 0 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/float64(len(blobs)), "octets/header")
}

func BenchmarkWriteRange(b *testing.B) {
	for _, kind := range []string{"text", "random", "newsletter"} {
		b.Run(kind, func(b *testing.B) {
			_, a := openTest(b)
			msg := mailText(1, 8<<20)
			switch kind {
			case "random":
				rand.New(rand.NewSource(1)).Read(msg[4096:])
			case "newsletter":
				row := `<tr><td style="padding:0 12px;font-family:Arial,Helvetica,sans-serif;font-size:14px"><a href="https://example.org/c/`
				for i := 4096; i+len(row)+60 < len(msg); i += copy(msg[i:], fmt.Sprintf("%s%x\">%s</a></td></tr>\r\n", row, sha256.Sum224(msg[i-9:i]), words[i%len(words)])) {
				}
			}
			id := appendBlob(b, a, msg)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			b.ResetTimer()
			defer reportCPU(b)()
			for range b.N {
				blob, err := a.OpenBlob(id)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := blob.WriteRange(io.Discard, 0, blob.Size()); err != nil {
					b.Fatal(err)
				}
				blob.Close()
			}
		})
	}
}

func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{2 << 10, 50 << 10, 4 << 20} {
		b.Run(fmt.Sprint(size>>10, "KB"), func(b *testing.B) {
			_, a := openTest(b)
			box := inbox(b, a)
			msg := mailText(1, size)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			b.ResetTimer()
			defer reportCPU(b)()
			for i := range b.N {
				copy(msg, fmt.Sprintf("Return-Path: %010d", i))
				u, err := a.NewUpload(int64(len(msg)))
				if err != nil {
					b.Fatal(err)
				}
				for rest := msg; len(rest) > 0 && err == nil; rest = rest[min(16384, len(rest)):] {
					_, err = u.Write(rest[:min(16384, len(rest))])
				}
				if err == nil {
					err = u.Close()
				}
				if err == nil {
					_, err = a.Append(box.ID, []NewMessage{{Upload: u}})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// appendBlob stores a message and returns its blob.
func appendBlob(t testing.TB, a *Account, msg []byte) BlobID {
	t.Helper()
	box := inbox(t, a)
	uid := appendTo(t, a, box.ID, string(msg))
	rows, err := a.Rows(box.Space, []imap.UID{uid}, nil)
	if err != nil || len(rows) != 1 {
		t.Fatal(len(rows), err)
	}
	return rows[0].Blob
}
