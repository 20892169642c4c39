package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpus writes messages in all the ways that lines can end, and returns the
// sums of those that an export with LF brings back, and of all.
func corpus(t *testing.T, dir string) (lf, all map[[32]byte]int) {
	t.Helper()
	lf, all = map[[32]byte]int{}, map[[32]byte]int{}
	for i, text := range []string{
		"Subject: one\n\nplain\n",
		"Subject: two\n\nno end",
		"Subject: three\n\nFrom here\n>From there\n\n\n",
		"Subject: four\r\n\r\nall CRLF\r\n",
		"Subject: five\n\na CR\r\nin LF\rlines\n",
		"Subject: six\r\n\r\nan LF\nin CRLF\r\n",
		"From x@y Mon Nov 23 01:31:00 2026\nSubject: seven\n\nx\n",
		"Status: RO\nSubject: eight\n\nx\n\x00\xff\n",
		"",
		"Subject: big\n\n" + strings.Repeat("a line of the big message\n", 40_000),
	} {
		writeText(t, filepath.Join(dir, fmt.Sprintf("%02d.eml", i)), text)
		sum := sha256.Sum256([]byte(text))
		all[sum]++
		if !strings.Contains(text, "all CRLF") {
			lf[sum]++
		}
	}
	return lf, all
}

// sums hashes the messages of a Maildir.
func sums(t *testing.T, dir string) map[[32]byte]int {
	t.Helper()
	got := map[[32]byte]int{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Base(filepath.Dir(path)) != "cur" {
			return err
		}
		b, err := os.ReadFile(path)
		got[sha256.Sum256(b)]++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// missing counts what want has and got lacks.
func missing(want, got map[[32]byte]int) (n int) {
	for sum, k := range want {
		n += max(0, k-got[sum])
	}
	return n
}

func TestImportExport(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("server=%v", running), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data, src := filepath.Join(dir, "data"), filepath.Join(dir, "src")
			if err := os.Mkdir(src, 0o700); err != nil {
				t.Fatal(err)
			}
			lf, all := corpus(t, src)
			must(t, "", "init", "--data", data)
			if running {
				startServer(t, data)
			}
			on := func(args ...string) []string { return append(args, "--data", data) }
			for _, name := range []string{"anna", "bob", "carl"} {
				must(t, "", on("account", "add", name, "--generate")...)
			}
			got := must(t, "", on("import", "--account", "anna", src)...)
			if !strings.HasPrefix(got, "10 messages imported") {
				t.Error(got)
			}
			got = must(t, "", on("import", "--account", "anna", src)...)
			if !strings.HasPrefix(got, "0 messages imported (0 bytes), 10 were there already") {
				t.Error(got)
			}
			// Each way out and in again.
			m1, m2, m3, box := filepath.Join(dir, "m1"), filepath.Join(dir, "m2"), filepath.Join(dir, "m3"), filepath.Join(dir, "box")
			must(t, "", on("export", "--account", "anna", m1)...)
			must(t, "", on("export", "--account", "anna", "--crlf", m3)...)
			must(t, "", on("export", "--account", "anna", "--format", "mbox", box)...)
			must(t, "", on("import", "--account", "bob", box)...)
			must(t, "", on("export", "--account", "bob", m2)...)
			for _, m := range []string{m1, m2} {
				if n := missing(lf, sums(t, m)); n > 0 {
					t.Errorf("%s: %d messages are not as they were", m, n)
				}
			}
			if n := missing(all, sums(t, m3)); n > 9 || missing(all, sums(t, m1)) != 1 {
				t.Errorf("with --crlf %d are different", n)
			}
			// An mbox through a pipe.
			text := must(t, "", on("export", "--account", "anna", "--mailbox", "inbox", "--format", "mbox", "-")...)
			must(t, text, on("import", "--account", "carl", "--mailbox", "A/B", "-")...)
			wantCode(t, 1, "is there already", on("export", "--account", "anna", "--format", "mbox", box)...)
			must(t, "", on("export", "--account", "anna", "--format", "mbox", "--overwrite", box)...)
		})
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, src := filepath.Join(dir, "data"), filepath.Join(dir, "src")
	must(t, "", "init", "--data", data)
	must(t, "", "account", "add", "anna", "--generate", "--data", data)
	for _, d := range []string{src, filepath.Join(src, "a\x01b")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeText(t, filepath.Join(src, "good.eml"), "A: 1\n\nx\n")
	writeText(t, filepath.Join(src, "big.eml"), "A: 2\n\n"+strings.Repeat("x", 70<<10))
	writeText(t, filepath.Join(src, "a\x01b", "bad.eml"), "A: 3\n\nx\n")
	small := writeText(t, filepath.Join(dir, "n.toml"), "max_message = \"64 KB\"\n")
	for _, running := range []bool{false, true} {
		if running {
			startServer(t, data, "--config", small)
		}
		r := nestbox(t, "", "import", "--account", "anna", "--data", data, "--config", small, src)
		if r.code != 1 || !strings.Contains(r.errout, "not imported: "+filepath.Join(src, "big.eml")) || !strings.Contains(r.out, "2 not taken") {
			t.Errorf("running %v: %d\n%s%s", running, r.code, r.out, r.errout)
		}
	}
	wantCode(t, 1, "no such account", "import", "--account", "nobody", "--data", data, src)
}

func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	must(t, "", "init", "--data", data)
	must(t, "", "account", "add", "anna", "--generate", "--data", data)
	path := writeText(t, filepath.Join(dir, "x.mbox"), "From x@y Mon Nov 23 01:31:00 2026\nA: 1\n\n")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := New()
	var out, errout syncBuffer
	m.Stdout, m.Stderr, m.Env = &out, &errout, nil
	if code := m.Run(ctx, []string{"import", "--account", "anna", "--data", data, path}); code != exitTryAgain {
		t.Errorf("exit code %d: %s", code, errout.String())
	}
}
