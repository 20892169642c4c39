package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A file or function over these has two subjects: split it by noun. Tests and
// tables may be longer.
const (
	maxFileLines = 400
	maxFuncLines = 60
)

// badNames hold anything, and so nothing.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}

// unfinished are marks that must not be handed in.
var unfinished = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "not imple" + "mented", "unimple" + "mented"}

func TestAlarms(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); strings.HasPrefix(name, ".") && name != ".." || name == "testdata" || name == "node_modules" {
				return filepath.SkipDir
			}
			for _, bad := range badNames {
				if d.Name() == bad {
					t.Errorf("%s: a package of that name has no subject", path)
				}
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, mark := range unfinished {
			if bytes.Contains(text, []byte(mark)) {
				t.Errorf("%s: holds %q", path, mark)
			}
		}
		if !strings.HasSuffix(path, "_test.go") {
			checkLengths(t, path, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkLengths(t *testing.T, path string, text []byte) {
	if n := bytes.Count(text, []byte("\n")); n > maxFileLines {
		t.Errorf("%s: %d lines, more than %d", path, n, maxFileLines)
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		t.Error(err)
		return
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line; n > maxFuncLines {
			t.Errorf("%s: %s has %d lines, more than %d", path, fn.Name.Name, n, maxFuncLines)
		}
	}
}

// Generated documents are what the program prints. docs/config.md and
// docs/extensions.md are held by the tests of config and imap.
func TestGeneratedDocs(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "run", ".", "docs", "markdown")
	cmd.Dir = ".."
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../docs/cli.md")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/cli.md is not what `go run . docs markdown` prints (%v): make docs", err)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, x := range targets {
		if seen[x.file()] {
			t.Errorf("two targets write %s", x.file())
		}
		seen[x.file()] = true
	}
	if _, err := choose([]string{"linux/vax"}); err == nil {
		t.Error("an unknown target was taken")
	}
}

// TestEventsAreListed: each event that the program logs stands in docs/logs.md.
func TestEventsAreListed(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "test" || d.Name() == "testdata" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if event := loggedEvent(n); event != "" {
				seen++
				if !bytes.Contains(doc, []byte("`"+event+"`")) {
					t.Errorf("%s logs %q, which docs/logs.md doesn't list", path, event)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || seen < 30 {
		t.Errorf("%d events, %v", seen, err)
	}
}

// loggedEvent is the event of a call such as s.log.Info("event", ...).
func loggedEvent(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return ""
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !strings.Contains(" Debug Info Warn Error ", " "+method.Sel.Name+" ") {
		return ""
	}
	on, ok := method.X.(*ast.SelectorExpr)
	if !ok || !strings.EqualFold(on.Sel.Name, "log") {
		return ""
	}
	text, ok := call.Args[0].(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return ""
	}
	return strings.Trim(text.Value, `"`)
}
