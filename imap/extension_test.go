package imap

import (
	"bytes"
	"os"
	"testing"
)

// TestExtensionsDoc: docs/extensions.md is what the table says. Run with
// UPDATE=1 to print it anew.
func TestExtensionsDoc(t *testing.T) {
	const path = "../docs/extensions.md"
	var want bytes.Buffer
	must(t, WriteExtensions(&want))
	if os.Getenv("UPDATE") != "" {
		must(t, os.WriteFile(path, want.Bytes(), 0o644))
	}
	got, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the table says: go test ./imap -run ExtensionsDoc with UPDATE=1", path)
	}
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
