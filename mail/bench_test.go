package mail

import (
	"bytes"
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

const benchHeader = "Return-Path: <announce-bounces@lists.example.org>\r\nReceived: from mail.example.org (mail.example.org [192.0.2.1])\r\n\tby mx.example.net (Postfix) with ESMTPS id 4F2D31A0\r\n\tfor <joerg@example.net>; Mon,  7 Feb 2022 21:52:25 +0100 (CET)\r\n" +
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;\r\n\ts=mail; t=1644267145; h=from:subject:date:message-id:to:mime-version;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n" +
	"Date: Mon, 7 Feb 2022 21:52:25 +0100\r\nFrom: \"Fred Foobar\" <foobar@example.org>\r\nTo: =?utf-8?q?J=C3=B6rg?= <joerg@example.net>, mooch@example.net\r\nCc: list@lists.example.org\r\n" +
	"Subject: Re: [announce] what was said at the meeting\r\nMessage-ID: <B27397-0100000@example.org>\r\nIn-Reply-To: <A27397-0100000@example.org>\r\nReferences: <A17397-0100000@example.org>\r\n <A27397-0100000@example.org>\r\nMIME-Version: 1.0\r\n"

func benchText() string {
	const words = "the quick brown fox jumps over a lazy dog while nobody looks and all is well "
	rnd := rand.New(rand.NewSource(1))
	var b strings.Builder
	for b.Len() < 256<<10 {
		k := rnd.Intn(len(words) - 20)
		b.WriteString(words[k:] + words[:rnd.Intn(20)] + "\r\n")
	}
	return b.String()
}

// benchMessages are of the kinds that arrive.
func benchMessages() map[string]string {
	text := benchText()
	var b64, html strings.Builder
	rnd := rand.New(rand.NewSource(1))
	for b64.Len() < 1<<20 {
		for range 76 {
			b64.WriteByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rnd.Intn(64)])
		}
		b64.WriteString("\r\n")
	}
	for i := 0; html.Len() < 256<<10; i++ {
		fmt.Fprintf(&html, "<tr><td class=\"cell\" style=\"padding:4px; color:#333333\"><a href=\"https://example.org/item?id=%d\">Item&nbsp;%d</a></td>\r\n<td>%s</td></tr>\r\n", i, i, text[i*60%100_000:][:120])
	}
	return map[string]string{
		"text":    benchHeader + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text,
		"small":   benchHeader + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text[:2000],
		"html":    benchHeader + "Content-Type: text/html; charset=utf-8\r\n\r\n" + html.String(),
		"qp html": benchHeader + "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.ReplaceAll(html.String(), "=", "=3D"),
		"base64": benchHeader + "Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\nContent-Type: text/plain\r\n\r\n" + text[:2000] +
			"\r\n--=_x\r\nContent-Type: image/jpeg; name=a.jpg\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64.String() + "--=_x--\r\n",
		"latin": benchHeader + "Content-Type: text/plain; charset=iso-8859-1\r\n\r\n" + strings.ReplaceAll(text, "o", "\xf6"),
		"utf-8": benchHeader + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.ReplaceAll(text, "o", "ö"),
	}
}

var benchNames = []string{"text", "small", "html", "qp html", "base64", "latin", "utf-8"}

func BenchmarkParse(b *testing.B) {
	messages := benchMessages()
	for _, name := range benchNames {
		b.Run(name, func(b *testing.B) {
			msg := []byte(messages[name])
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			p := NewParser()
			for b.Loop() {
				p.Reset()
				for rest := msg; len(rest) > 0; rest = rest[min(len(rest), 64<<10):] {
					_, _ = p.Write(rest[:min(len(rest), 64<<10)]) // never fails
				}
				p.Finish()
			}
		})
	}
}

func BenchmarkNormalText(b *testing.B) {
	messages := benchMessages()
	for _, name := range benchNames {
		b.Run(name, func(b *testing.B) {
			msg := messages[name]
			rec, r := parse(msg), strings.NewReader(msg)
			n := NewNeedle("NOT THERE")
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				n.Reset()
				err := NormalText(rec, r, ScopeText, func(piece []byte) bool { return !n.Feed(piece) })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Thunderbird's names.
var thunderbird = []string{"FROM", "TO", "CC", "BCC", "SUBJECT", "DATE", "MESSAGE-ID", "PRIORITY", "X-PRIORITY", "REFERENCES", "NEWSGROUPS", "IN-REPLY-TO", "CONTENT-TYPE", "REPLY-TO"}

func BenchmarkAppendHeaderFields(b *testing.B) {
	header := []byte(benchHeader + "\r\n")
	dst := make([]byte, 0, 4096)
	b.SetBytes(int64(len(header)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendHeaderFields(dst[:0], header, thunderbird, false)
	}
	if !bytes.Contains(dst, []byte("Subject: Re")) {
		b.Error(string(dst))
	}
}

func BenchmarkRecord(b *testing.B) {
	rec := parse(sample)
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = append(dst[:0], rec.Envelope()...)
		dst = rec.AppendBodyStructure(dst, true, true)
	}
}

func BenchmarkRange(b *testing.B) {
	rec := parse(sample)
	path := []int{3, 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := rec.Range(path, SectionBody); !ok {
			b.Fatal("no part")
		}
	}
}
