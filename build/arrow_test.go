package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows are the imports that are allowed within the module: data flow in one
// direction (docs/ARCHITECTURE.md §1). Tests may import what they need.
var arrows = map[string][]string{
	"nestbox":              {"cli"},
	"nestbox/cli":          {"imap", "admin", "tls", "auth", "storage", "config", "proxy", "cli/mailfile"},
	"nestbox/cli/mailfile": {"imap/wire"}, // modified UTF-7 only
	"nestbox/admin":        {"auth", "mail", "storage", "tls"},
	"nestbox/imap":         {"imap/wire", "imap/view", "mail", "storage", "auth"},
	"nestbox/imap/view":    {"storage"},
	"nestbox/imap/wire":    {},
	"nestbox/mail":         {},
	"nestbox/auth":         {"storage"},
	"nestbox/tls":          {"storage"},
	"nestbox/storage":      {"mail"},
	"nestbox/config":       {},
	"nestbox/proxy":        {},
	"nestbox/build":        {},
}

// outsiders may only be imported where they are wrapped.
var outsiders = map[string][]string{
	"go.etcd.io/bbolt":           {"nestbox/storage"},
	"github.com/caddyserver":     {"nestbox/tls", "nestbox/storage"}, // the latter for a test
	"go.uber.org/zap":            {"nestbox/tls"},
	"github.com/miekg/dns":       {}, // half a megabyte
	"github.com/spf13/pflag":     {"nestbox/cli", "nestbox/config"},
	"github.com/BurntSushi/toml": {"nestbox/config"},
}

// banned packages turn off the linker's dead code elimination: megabytes.
var banned = []string{"text/template", "html/template"}

type goPackage struct {
	ImportPath, Dir                            string
	Imports, TestImports, XTestImports, Deps   []string
	GoFiles, TestGoFiles, XTestGoFiles, Ignore []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestArrows(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		test := strings.HasPrefix(p.ImportPath, "nestbox/test/")
		allowed, known := arrows[p.ImportPath]
		if !known && !test {
			t.Errorf("%s: which packages may it import? Say so in arrows", p.ImportPath)
		}
		for _, im := range p.Imports {
			short, ours := strings.CutPrefix(im, "nestbox/")
			if ours && !test && !slices.Contains(allowed, short) {
				t.Errorf("%s imports %s, against the arrow", p.ImportPath, im)
			}
			if ours && !test && strings.HasPrefix(short, "test/") {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, im)
			}
		}
		for _, im := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for path, homes := range outsiders {
				if (im == path || strings.HasPrefix(im, path+"/")) && !slices.Contains(homes, p.ImportPath) && !test {
					t.Errorf("%s imports %s, which belongs to %v", p.ImportPath, im, homes)
				}
			}
		}
		if p.ImportPath == "nestbox" {
			for _, b := range banned {
				if slices.Contains(p.Deps, b) {
					t.Errorf("the program links %s, which turns off dead code elimination", b)
				}
			}
		}
	}
}

// rowReaders may touch the buckets of message rows and mailbox rows: the read
// functions, which put the flag journal on top; the writer's goroutine, which
// folds it first; opening, replay and check. Anything else would read past the
// journal.
var rowReaders = []string{
	"files.mailboxRow", "files.rowsFrom", "files.fillFlags",
	"txn.", "copyRequest.", "stageRequest.", "showRequest.", "check.",
	"files.readMeta", "Account.initIndex", "files.replayEntry", "files.sweepUnshown", "files.sumRows", "files.recountRows", "mailboxesBySpace", "Account.DeleteMailbox",
}

func TestOnlyReadFunctionsTouchRows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../storage/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				if !ok || id.Name != "bucketRows" && id.Name != "bucketMailboxes" {
					return true
				}
				seen++
				if name := funcName(fn); !slices.ContainsFunc(rowReaders, func(r string) bool {
					return name == r || strings.HasSuffix(r, ".") && strings.HasPrefix(name, r)
				}) {
					t.Errorf("%s: %s uses %s: only rowsFrom and mailboxRow may read it", path, name, id.Name)
				}
				return true
			})
		}
	}
	if seen == 0 {
		t.Error("the buckets have other names: this test sees nothing")
	}
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}
