package storage

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/mail"
)

var (
	flipsEach = flag.Int("flips", 2, "flipped bytes in each kind of page")
	flipSeed  = flag.Int64("flip-seed", 1, "where their dice begin")
)

// pageKinds sorts the pages of a bbolt file by what they are.
func pageKinds(t *testing.T, path string) map[string][]uint64 {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	ne, kinds := binary.NativeEndian, map[string][]uint64{"meta": {0, 1}}
	meta := b[:pageBytes]
	if second := b[pageBytes : 2*pageBytes]; ne.Uint64(second[metaTx:]) > ne.Uint64(meta[metaTx:]) {
		meta = second
	}
	seen := map[uint64]bool{0: true, 1: true}
	var tree func(id uint64, name string)
	note := func(id uint64, kind string) []byte {
		p := b[id*pageBytes:]
		kinds[kind] = append(kinds[kind], id)
		seen[id] = true
		more := uint64(ne.Uint32(p[12:]))
		for n := id + 1; n <= id+more; n++ {
			kinds["overflow of "+kind] = append(kinds["overflow of "+kind], n)
			seen[n] = true
		}
		return p[:(more+1)*pageBytes]
	}
	tree = func(id uint64, name string) {
		if isBranch(b[id*pageBytes:]) {
			p := note(id, "branch of "+name)
			for i := range elementsOf(p) {
				tree(childOf(p, i), name)
			}
			return
		}
		p := note(id, "leaf of "+name)
		for i := range elementsOf(p) {
			e, _ := pageElement(p, i, len(p))
			if root := uint64(0); e.flags == 1 {
				if root = ne.Uint64(e.value); root == 0 {
					continue
				}
				if sub := string(e.key); name == "the file" {
					tree(root, sub)
				} else {
					tree(root, "a bucket in "+name)
				}
			}
		}
	}
	tree(ne.Uint64(meta[metaRoot:]), "the file")
	note(ne.Uint64(meta[metaFreelist:]), "list of free pages")
	for id := uint64(2); id < ne.Uint64(meta[metaPages:]); id++ {
		if !seen[id] {
			kinds["free"] = append(kinds["free"], id)
		}
	}
	return kinds
}

// everything is what a client can see of an account, and of its owner.
func everything(st *Store, id AccountID) (seen, texts map[string]string) {
	seen, texts = map[string]string{}, map[string]string{}
	info, err := st.AccountInfo(id)
	seen["account"] = fmt.Sprint(info.Name, info.Settings, info.Disabled, err)
	addresses, err := st.Addresses(id)
	seen["addresses"] = fmt.Sprint(addresses, err)
	cred, err := st.Credential(id)
	seen["credential"] = fmt.Sprint(string(cred), err)
	a, err := st.Account(id)
	if err != nil {
		seen["open"] = err.Error()
		return seen, texts
	}
	boxes, err := a.Mailboxes()
	seen["mailboxes"] = fmt.Sprint(len(boxes), err)
	for _, m := range boxes {
		m.HighestModSeq = 0
		seen["mailbox "+m.Name] = fmt.Sprintf("%+v", m)
		for uid := imap.UID(1); uid < m.UIDNext; uid++ {
			key := fmt.Sprint(m.Name, " ", uid)
			rows, err := a.Rows(m.Space, []imap.UID{uid}, nil)
			seen[key] = fmt.Sprintf("%+v %v", rows, err)
			if len(rows) != 1 || err != nil {
				continue
			}
			b, err := a.OpenBlob(rows[0].Blob)
			var w strings.Builder
			if err == nil {
				_, err = b.WriteRange(&w, 0, b.Size())
				b.Close()
			}
			if err != nil {
				seen["text of "+key] = err.Error()
				continue
			}
			texts[key] = w.String()
			err = a.Records([]BlobID{rows[0].Blob}, func(_ int, rec mail.Record) bool { seen["record of "+key] = string(rec); return true })
			if err != nil {
				seen["record of "+key] = err.Error()
			}
		}
	}
	count, err := a.KeptCount()
	seen["kept"] = fmt.Sprint(count, err)
	return seen, texts
}

// warned is a log that says whether there was a warning.
type warned struct {
	slog.Handler
	lines *[]string
}

func (w warned) Enabled(context.Context, slog.Level) bool { return true }
func (w warned) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		*w.lines = append(*w.lines, r.Message)
	}
	return nil
}
func (w warned) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w warned) WithGroup(string) slog.Handler      { return w }

// A flipScene is a data folder at rest, and what is seen in it.
type flipScene struct {
	t           *testing.T
	base        string
	id          AccountID
	seen, texts map[string]string
	silent      map[string]int // flips without an effect
	found       map[string]int
}

func (s *flipScene) options(lines *[]string) Options {
	return Options{Version: "test", NoSync: true, Log: slog.New(warned{slog.DiscardHandler, lines}), hooks: &hooks{volume: 1 << 20, firstBodies: 40 << 10}}
}

func newFlipScene(t *testing.T) *flipScene {
	s := &flipScene{t: t, base: filepath.Join(t.TempDir(), "data"), silent: map[string]int{}, found: map[string]int{}}
	st, a, _ := repairScene(t, s.base)
	s.id = a.id
	must(t, st.AddAddress(a.id, "ann@example.org"))
	box := inbox(t, a)
	for i := range 230 {
		appendTo(t, a, box.ID, bigMessage(1000+i, 600), imap.FlagAnswered)
	}
	must(t, a.exec(func(f *files) error { f.blobs.next = 600; return nil }))
	appendTo(t, a, box.ID, bigMessage(5000, 300_000))
	must(t, a.index.build(t))
	must(t, a.fold())
	_, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{10, 11, 12, 13}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDraft}})
	must(t, err)
	frozen := filepath.Join(t.TempDir(), "data") // with the journal as a kill leaves it
	must(t, a.exec(func(*files) error { return os.CopyFS(frozen, os.DirFS(s.base)) }))
	must(t, st.Close())
	s.base = frozen
	os.Remove(filepath.Join(frozen, "nestbox.lock"))
	st = s.open(s.copyOf(), new([]string))
	s.seen, s.texts = everything(st, s.id)
	must(t, st.Close())
	return s
}

func (s *flipScene) copyOf() string {
	dir := filepath.Join(s.t.TempDir(), "data")
	must(s.t, os.CopyFS(dir, os.DirFS(s.base)))
	return dir
}

func (s *flipScene) open(dir string, lines *[]string) *Store {
	st, err := Open(dir, s.options(lines))
	must(s.t, err)
	return st
}

// flip changes one byte of a file, and looks what comes of it.
func (s *flipScene) flip(file, kind string, at int64, mask byte) {
	what := fmt.Sprintf("%s, %s, octet %d of page %d ^ %#x", file, kind, at%pageBytes, at/pageBytes, mask)
	watch := time.AfterFunc(time.Minute, func() { panic("it doesn't end: " + what) })
	defer watch.Stop()
	dir := s.copyOf()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	must(s.t, err)
	b[at] ^= mask
	must(s.t, os.WriteFile(path, b, 0o600))
	var lines []string
	st, err := Open(dir, s.options(&lines))
	if err != nil {
		s.found[file+": "+kind]++
		return
	}
	defer st.Close()
	var findings []string
	left, err := st.CheckEach(context.Background(), CheckOptions{}, func(f Finding) error { findings = append(findings, f.String()); return nil })
	if err != nil {
		findings = append(findings, err.Error())
		left++
	}
	seen, texts := everything(st, s.id)
	for key, text := range texts {
		if want, ok := s.texts[key]; ok && text != want {
			s.t.Errorf("%s: %s is served otherwise", what, key)
		}
	}
	var effects []string
	for key, want := range s.seen {
		if seen[key] != want {
			effects = append(effects, fmt.Sprintf("%s is %.150q, was %.150q", key, seen[key], want))
		}
	}
	if len(effects) > 0 && left == 0 && len(lines) == 0 {
		s.t.Errorf("%s: no finding, and %d effects: %s", what, len(effects), effects[0])
	}
	if left > 0 || len(lines) > 0 {
		s.found[file+": "+kind]++
	} else {
		s.silent[file+": "+kind]++
	}
	if a, err := st.Account(s.id); err == nil { // and mail goes on, or is refused
		if box, err := a.MailboxByName("INBOX"); err == nil {
			u := upload(s.t, a, bigMessage(9000, 50_000))
			_, _ = a.Append(box.ID, []NewMessage{{Upload: u}})
			u.Abort()
		}
	}
	for key, text := range second(everything(st, s.id)) {
		if want, ok := s.texts[key]; ok && text != want {
			s.t.Errorf("%s: %s is served otherwise after a commit", what, key)
		}
	}
}

func second(_, texts map[string]string) map[string]string { return texts }

// TestFlippedBytes: a byte that changes anywhere in a file is found, or has no
// effect; it is never served as mail, ends nothing, and nobody waits for ever.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	s := newFlipScene(t)
	r := rand.New(rand.NewSource(*flipSeed))
	account := filepath.Join(accountsFolder, string(s.id))
	files := []string{systemFile, filepath.Join(account, "mail.db"), filepath.Join(account, "search.db"),
		filepath.Join(account, "body-0001.db"), filepath.Join(account, "body-0002.db")}
	for _, file := range files {
		kinds := pageKinds(t, filepath.Join(s.base, file))
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			pages := kinds[kind]
			for range *flipsEach {
				page := pages[r.Intn(len(pages))]
				at := int64(page)*pageBytes + int64(r.Intn(pageBytes))
				if r.Intn(2) == 0 && kind != "free" { // where numbers and keys are
					at = int64(page)*pageBytes + int64(r.Intn(200))
				}
				s.flip(file, kind, at, 1<<r.Intn(8))
			}
		}
	}
	journal := filepath.Join(account, "flags.journal")
	for range *flipsEach * 10 {
		s.flip(journal, "journal", int64(r.Intn(400)), 1<<r.Intn(8))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.silent)) {
		t.Logf("%-70s %d found, %d without effect", strings.ReplaceAll(kind, string(s.id), "ID"), s.found[kind], s.silent[kind])
		delete(s.found, kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.found)) {
		t.Logf("%-70s %d found", strings.ReplaceAll(kind, string(s.id), "ID"), s.found[kind])
	}
}
