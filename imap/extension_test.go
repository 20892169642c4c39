package imap

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExtensionsDoc: docs/extensions.md is what the table says. Run with
// UPDATE=1 to print it anew.
func TestExtensionsDoc(t *testing.T) {
	const path = "../docs/extensions.md"
	var want bytes.Buffer
	must(t, WriteExtensions(&want, documented(t)))
	if os.Getenv("UPDATE") != "" {
		must(t, os.WriteFile(path, want.Bytes(), 0o644))
	}
	got, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the table says: go test ./imap -run ExtensionsDoc with UPDATE=1", path)
	}
}

var (
	extensionStart = regexp.MustCompile(`(?s)var ext\w+ = extension\{\s*name: "([^"]+)"`)
	rfcNumber      = regexp.MustCompile(`RFC \d+`)
)

// documented are the extensions, with their files and transcripts. There is
// none without a transcript.
func documented(t *testing.T) []ExtensionInfo {
	t.Helper()
	file := map[string]string{}
	transcripts := map[string][]string{} // by RFC
	each := func(pattern string, f func(name, text string)) {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			must(t, err)
			f(filepath.Base(path), string(text))
		}
	}
	each("*.go", func(name, text string) {
		for _, m := range extensionStart.FindAllStringSubmatch(text, -1) {
			file[m[1]] = name
		}
	})
	each("testdata/script/*.txt", func(name, text string) {
		seen := map[string]bool{}
		for line := range strings.Lines(text) {
			for _, rfc := range rfcNumber.FindAllString(line, -1) {
				if strings.HasPrefix(line, "#") && !seen[rfc] {
					seen[rfc] = true
					transcripts[rfc] = append(transcripts[rfc], strings.TrimSuffix(name, ".txt"))
				}
			}
		}
	})
	all := Extensions()
	for i := range all {
		x := &all[i]
		x.File = file[x.Name]
		for _, rfc := range rfcNumber.FindAllString(x.RFC, -1) {
			x.Transcripts = append(x.Transcripts, transcripts[rfc]...)
		}
		if x.File == "" || len(x.Transcripts) == 0 {
			t.Errorf("%s: file %q, transcripts %q: a comment in one has to name %s", x.Name, x.File, x.Transcripts, x.RFC)
		}
	}
	return all
}

// TestTablesComplete: no name is in a table twice, and every extension has a
// name and a specification.
func TestTablesComplete(t *testing.T) {
	seen := make(map[string]string)
	for _, x := range protocol() {
		if x.name == "" || x.rfc == "" || len(x.caps) == 0 && x.home == nil {
			t.Errorf("%q lacks name, specification or capability", x.name)
		}
		var names []string
		for _, v := range x.commands {
			names = append(names, "command "+v.name)
			if v.state == 0 || v.parse == nil {
				t.Errorf("command %s has no state or no parse", v.name)
			}
		}
		for _, v := range x.fetchItems {
			names = append(names, "FETCH item "+v.name)
		}
		for _, v := range x.searchKeys {
			names = append(names, "SEARCH key "+v.name)
		}
		for _, v := range x.searchReturns {
			names = append(names, "SEARCH return option "+v.name)
		}
		for _, v := range x.statusItems {
			names = append(names, "STATUS item "+v.name)
		}
		for _, name := range names {
			if other, ok := seen[name]; ok {
				t.Errorf("%s is in %s and in %s", name, other, x.name)
			}
			seen[name] = x.name
		}
	}
}
