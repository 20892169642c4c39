package imap

import (
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// benchMessages is how many messages the benchmarks work on: those of a FETCH
// of a whole mailbox of some size.
const benchMessages = 20000

// A bench is a session without a connection.
type bench struct {
	s *session
	c *slowReader
}

// A slowReader gives the decoder one command after the other.
type slowReader struct{ strings.Reader }

func newBench(b *testing.B) *bench {
	b.Helper()
	r := newFetchRig(b)
	box := r.inbox()
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := 0; i < benchMessages; {
		var msgs []storage.NewMessage
		for ; i < benchMessages && len(msgs) < 500; i++ {
			msgs = append(msgs, storage.NewMessage{
				Upload: r.upload(benchMail(i)), Flags: []imap.Flag{imap.FlagSeen, "$Label1"}[:i%3], Date: start.Add(time.Duration(i) * time.Hour),
			})
		}
		if _, err := r.account.Append(box.ID, msgs); err != nil {
			b.Fatal(err)
		}
	}
	box, blocks, err := r.account.Snapshot(box.ID)
	if err != nil {
		b.Fatal(err)
	}
	srv := NewServer(Options{})
	w := &bench{c: new(slowReader)}
	w.s = &session{
		srv: srv, c: &conn{srv: srv}, d: wire.NewDecoder(w.c), w: wire.NewEncoder(io.Discard), account: r.account,
		log: slog.New(slog.DiscardHandler),
		sel: &selection{home: ownHome(r.account), rights: storage.AllRights, box: box, view: view.New(box, blocks), stop: func() {}, keywords: len(box.Keywords)},
	}
	return w
}

func benchMail(i int) string {
	return crlf(fmt.Sprintf(`Received: from mail.example.net (mail.example.net [192.0.2.7]) by mx.example.org
	with ESMTPS id %[1]x for <ann@example.org>; Mon, 1 Jan 2024 10:00:00 +0000
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=mail; bh=%064[1]x;
	b=%0128[1]x
From: "Person Number %[1]d" <person%[1]d@example.net>
To: Ann <ann@example.org>, "Bob B." <bob@example.com>
Subject: Message %[1]d about the usual things
Date: Mon, 1 Jan 2024 10:00:00 +0000
Message-ID: <%[1]d.msg@example.net>
References: <%[2]d.msg@example.net>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="b%[1]d"

--b%[1]d
Content-Type: text/plain; charset=utf-8

Hello, this is the text of message %[1]d. %[3]s
--b%[1]d
Content-Type: text/html; charset=utf-8

<p>Hello, this is the text of message %[1]d. %[3]s</p>
--b%[1]d--
`, i, i/2, strings.Repeat("It goes on for some lines. ", 20)))
}

// run runs a command b.N times and reports what it costs a message.
func (w *bench) run(b *testing.B, command string) {
	b.Helper()
	w.once(b, command)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		w.once(b, command)
		n++
	}
	runtime.ReadMemStats(&after)
	messages := float64(n) * benchMessages
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/messages, "ns/msg")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/messages, "allocs/msg")
}

func (w *bench) once(b *testing.B, command string) {
	w.c.Reader.Reset("t " + command + "\r\n")
	w.s.d.Reset(w.c)
	if err := w.s.command(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkFetch(b *testing.B) {
	w := newBench(b)
	for _, items := range []string{
		"UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "(UID FLAGS INTERNALDATE RFC822.SIZE)", "ENVELOPE", "BODYSTRUCTURE", "FULL",
		"BODY.PEEK[HEADER.FIELDS (From To Subject Date)]", "BODY.PEEK[HEADER]",
		"(UID RFC822.SIZE FLAGS BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])",
		"BODY.PEEK[]", "BODY.PEEK[1]",
	} {
		b.Run(items, func(b *testing.B) { w.run(b, "UID FETCH 1:* "+items) })
	}
}

func BenchmarkSearch(b *testing.B) {
	w := newBench(b)
	for _, keys := range []string{
		"ALL", "UNSEEN", "KEYWORD $Label1", "SINCE 1-Jan-2025", "LARGER 2000", "SENTSINCE 1-Jan-2025", "SUBJECT 777",
		"FROM person12345@", "TEXT zzyzx", "BODY usual", "RETURN (MAX) SEEN",
	} {
		b.Run(keys, func(b *testing.B) { w.run(b, "UID SEARCH "+keys) })
	}
}

func BenchmarkStore(b *testing.B) {
	w := newBench(b)
	b.Run("silent", func(b *testing.B) {
		n := 0
		for b.Loop() {
			w.once(b, "UID STORE 1:* "+[]string{"+", "-"}[n%2]+"FLAGS.SILENT (\\Flagged)")
			n++
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*benchMessages), "ns/msg")
	})
}
