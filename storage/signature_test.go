package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// normalText is the whole normal text of a blob.
func normalText(t testing.TB, a *Account, id BlobID) string {
	t.Helper()
	b, err := a.OpenBlob(id)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var rec mail.Record
	if err := a.Records([]BlobID{id}, func(_ int, r mail.Record) bool { rec = bytes.Clone(r); return true }); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := mail.NormalText(rec, b, mail.ScopeText, func(piece []byte) bool { text.Write(piece); return true }); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestEveryPieceOfTextIsFound: no string that a message holds is ever denied,
// and most that it doesn't hold are.
func TestEveryPieceOfTextIsFound(t *testing.T) {
	t.Parallel()
	_, a := openHooks(t, hooks{})
	blobs := fillBlobs(t, a, 520, 3000)
	html := "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= \r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>caf=E9 &amp; cr=E8me br=FBl=E9e</p>" + strings.Repeat("<b>x</b> y ", 3000)
	blobs = append(blobs, appendBlob(t, a, []byte(html)))
	long := appendBlob(t, a, mailText(7, signatureText+50_000))
	blobs = append(blobs, long)
	for i := range 250 {
		blobs = append(blobs, appendBlob(t, a, noise(int64(i), 50)))
	}
	build(t, a)
	r := rand.New(rand.NewSource(1))
	denied, asked := 0, 0
	for range 60 {
		n := r.Intn(len(blobs))
		text := normalText(t, a, blobs[n])
		for range 5 {
			k := 3 + r.Intn(30)
			if len(text) < k {
				continue
			}
			off := r.Intn(len(text) - k + 1)
			needle := text[off : off+k]
			maybe, err := a.Candidates(blobs, needle)
			if err != nil {
				t.Fatal(err)
			}
			if !maybe[n] && !strings.Contains(needle, "\n") {
				t.Fatalf("blob %d holds %q and is denied", blobs[n], needle)
			}
		}
		maybe, err := a.Candidates(blobs, "zqxjkvbw"+fmt.Sprint(r.Intn(1000)))
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range maybe[:500] {
			asked++
			if !m {
				denied++
			}
			if blobs[i] == long && !m {
				t.Error("a message without a signature is denied")
			}
		}
	}
	if denied*100 < asked*98 {
		t.Errorf("only %d of %d denied", denied, asked)
	}
	for _, needle := range []string{"", "a", "ab", "ü"} {
		maybe, err := a.Candidates(blobs, needle)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range maybe {
			if !m {
				t.Fatalf("blob %d is denied to %q", blobs[i], needle)
			}
		}
	}
}

// TestBlockIsBuiltInSteps: work that is interrupted goes on where it was.
func TestBlockIsBuiltInSteps(t *testing.T) {
	t.Parallel()
	_, a := openHooks(t, hooks{})
	blobs := fillBlobs(t, a, 300, 100)
	for range 10 {
		left := 30
		more, err := a.index.step(func() bool { left--; return left >= 0 })
		if err != nil {
			t.Fatal(err)
		}
		if more {
			break
		}
	}
	a.index.busy.Lock()
	next := a.index.next
	a.index.busy.Unlock()
	if next != 1 {
		t.Errorf("the next block is %d", next)
	}
	a.closeAtRest()
	build(t, a)
	maybe, err := a.Candidates(blobs, "zqxjkvbw")
	if err != nil || maybe[0] || !maybe[299] {
		t.Error(err)
	}
}

// TestDamagedIndex: a damaged index denies nothing, and is made anew.
func TestDamagedIndex(t *testing.T) {
	t.Parallel()
	st, a := openHooks(t, hooks{})
	_ = st
	blobs := fillBlobs(t, a, 300, 500)
	build(t, a)
	r := rand.New(rand.NewSource(1))
	good, err := os.ReadFile(a.index.path())
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, 10)
	for i := range texts {
		texts[i] = normalText(t, a, blobs[20*i])
	}
	for round := range 20 {
		s := blobScene{t: t, a: a}
		s.reopen(func(string) {
			bad := bytes.Clone(good)
			switch round % 3 {
			case 0:
				bad = bad[:r.Intn(len(bad))]
			case 1:
				for range 300 {
					bad[r.Intn(len(bad))] ^= byte(1 + r.Intn(255))
				}
			default:
				for page := 0; page < len(bad); page += 4096 * (1 + r.Intn(20)) {
					bad[page+r.Intn(64)] ^= byte(1 + r.Intn(255))
				}
			}
			if err := os.WriteFile(a.index.path(), bad, 0o600); err != nil {
				t.Fatal(err)
			}
		})
		for i, text := range texts {
			for range 5 {
				off := r.Intn(len(text) - 12)
				if strings.Contains(text[off:off+12], "\n") {
					continue
				}
				maybe, err := a.Candidates(blobs, text[off:off+12])
				if err != nil || !maybe[20*i] {
					t.Fatalf("round %d: %v, denied: %v", round, err, !maybe[20*i])
				}
			}
		}
	}
	for range 3 { // who meets the damage gives the file up, and the next step makes it anew
		if _, err := a.index.step(func() bool { return true }); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		if _, err := a.Candidates(blobs, "zqxjkvbw"); err != nil {
			t.Fatal(err)
		}
	}
	build(t, a)
	if maybe, err := a.Candidates(blobs, "zqxjkvbw"); err != nil || maybe[0] {
		t.Error("not made anew", err)
	}
	size := 0
	a.index.use(a.f, func(db *boltFile) error {
		return db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketSignatures).Bucket(make([]byte, 8)).ForEach(func(_, v []byte) error { size += len(v); return nil })
		})
	})
	t.Logf("%d octets a message", size/signatureBlobs)
}

func BenchmarkCandidates20000(b *testing.B) {
	_, a := openTest(b)
	blobs := fillBlobs(b, a, benchBlobs, 1500)
	build(b, a)
	needles := []string{"zqxjkvbw", "delivery", "invoice meeting", "example7"}
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	yes := 0
	for i := range b.N {
		yes = 0
		if err := inBatches(blobs, func(part []BlobID) error {
			maybe, err := a.Candidates(part, needles[i%len(needles)])
			for _, m := range maybe {
				if m {
					yes++
				}
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(yes), "candidates")
}

func BenchmarkBuildBlock(b *testing.B) {
	_, a := openTest(b)
	fillBlobs(b, a, signatureBlobs, 6000)
	f, err := a.acquire()
	if err != nil {
		b.Fatal(err)
	}
	defer f.release()
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for range b.N {
		s := newSignatureBlock(0)
		for s.next < signatureBlobs {
			if err := a.index.add(f, s); err != nil {
				b.Fatal(err)
			}
		}
		if err := a.index.write(f, s); err != nil {
			b.Fatal(err)
		}
	}
}
