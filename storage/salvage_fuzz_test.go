package storage

import (
	"os"
	"path/filepath"
	"testing"
)

// wreckFiles are the account's files that a fuzz input can damage.
func (w *wreck) files(t testing.TB, data string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.account(data), "*.db"))
	must(t, err)
	paths = append(paths, filepath.Join(w.account(data), flagsFile))
	var all []string
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 && filepath.Base(path) != "search.db" {
			all = append(all, path)
		}
	}
	return all
}

// damageBy does what six octets of a fuzz input say: which file, what, where
// (two octets: a fraction of the file), and how much, or with what.
func damageBy(t testing.TB, paths []string, op []byte) {
	t.Helper()
	path := paths[int(op[0])%len(paths)]
	b, err := os.ReadFile(path)
	must(t, err)
	if len(b) == 0 {
		return
	}
	at := len(b) * (int(op[2])<<8 | int(op[3])) >> 16
	page := at / pageBytes * pageBytes
	end := min(page+pageBytes, len(b))
	from := len(b) * int(op[4]) >> 8 / pageBytes * pageBytes
	switch op[1] % 8 {
	case 0: // a bit
		b[at] ^= 1 << (op[4] % 8)
	case 1: // a page of nothing
		clear(b[page:end])
	case 2: // a page of noise
		copy(b[page:end], garbage(op[5], pageBytes))
	case 3: // a page's head
		copy(b[page:min(page+16, end)], garbage(op[5], 16))
	case 4: // a page of another place
		copy(b[page:end], b[from:min(from+pageBytes, len(b))])
	case 5: // a page number or count somewhere in a page
		copy(b[page+int(op[4])%(end-page):end], []byte{op[5], 0, 0, 0, 0, 0, 0, 0})
	case 6: // several pages
		copy(b[page:min(page+(1+int(op[4]%16))*pageBytes, len(b))], garbage(op[5], 16*pageBytes))
	case 7: // the end is gone
		b = b[:at]
	}
	must(t, os.WriteFile(path, b, 0o600))
}

// FuzzSalvageDamage damages a real account's files, and salvages what is left:
// no panic, no other message's bytes in a message's place, and nothing that is
// missing goes without a word.
func FuzzSalvageDamage(f *testing.F) {
	w := makeWreck(f)
	for _, seed := range [][]byte{
		{},
		{0, 1, 0, 0, 0, 0},
		{0, 2, 0, 0, 0, 1, 0, 2, 0, 40, 0, 2},
		{0, 4, 0x20, 0, 0x80, 0, 0, 4, 0x50, 0, 0xc0, 0},
		{0, 5, 0x30, 0, 10, 200, 0, 3, 0x70, 0, 0, 9, 1, 2, 0x60, 0, 0, 3},
		{0, 6, 0x10, 0, 8, 4, 1, 6, 0x90, 0, 15, 5},
		{0, 7, 0x80, 0, 0, 0},
		{1, 7, 0x40, 0, 0, 0, 0, 0, 0x33, 0x33, 3, 0},
		{255, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		data := w.copy(t)
		paths := w.files(t, data)
		for n := 0; len(ops) >= 6 && n < 12; n++ {
			damageBy(t, paths, ops[:6])
			ops = ops[6:]
		}
		w.salvage(t, data, false)
	})
}
