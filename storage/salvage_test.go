package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A wreck is an account with something of everything, before it is damaged.
type wreck struct {
	data, id string
	// mail is the bytes of each message, by mailbox and UID.
	mail    map[string]map[imap.UID][]byte
	flags   map[string]map[imap.UID]string
	dates   map[string]map[imap.UID]int64
	bodies  map[string]bool // of expunged ones too
	deleted int             // messages that are expunged
	// expunged are their bytes, as an older state of mail.db has them in place.
	expunged map[string]map[imap.UID][]byte
	disk     func(name string, r io.ReaderAt) io.ReaderAt
}

func sortedFlags(names []imap.Flag) string {
	var all []string
	for _, f := range names {
		all = append(all, string(f))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// makeWreck makes the account. Some messages are in mail.db, most in volumes.
func makeWreck(t testing.TB) *wreck {
	dir := t.TempDir()
	must(t, Init(dir))
	st, err := Open(dir, Options{NoSync: true, MaxMessage: 4 << 20, hooks: &hooks{volume: 8 << 20, firstBodies: 400 << 10}})
	must(t, err)
	info, err := st.CreateAccount("ann", nil)
	must(t, err)
	a, err := st.Account(info.ID)
	must(t, err)
	w := &wreck{data: dir, id: string(info.ID), mail: map[string]map[imap.UID][]byte{}, flags: map[string]map[imap.UID]string{},
		dates: map[string]map[imap.UID]int64{}, bodies: map[string]bool{}}
	ids := map[string]MailboxID{"INBOX": inbox(t, a).ID}
	for i := range 12 {
		name := fmt.Sprintf("Box/%d", i)
		m, err := a.CreateMailbox(name)
		must(t, err)
		ids[name] = m.ID
	}
	names := []string{"INBOX", "Box/1", "Box/2", "Box/3"}
	for i := range 400 {
		size := 300 + i*7
		switch {
		case i%40 == 39:
			size = 900 << 10
		case i%10 == 9:
			size = 100 << 10
		}
		text := fmt.Sprintf("From: a@example.com\r\nSubject: number %d\r\nMessage-ID: <%d@x>\r\nDate: Mon, 2 Jan 2023 10:00:00 +0000\r\n\r\n", i, i)
		body := make([]byte, size/2)
		r := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
		_, _ = r.Read(body)
		text += fmt.Sprintf("%x\r\n", body)
		flags := []imap.Flag{}
		if i%3 == 0 {
			flags = append(flags, imap.FlagSeen, "work")
		}
		appendTo(t, a, ids[names[i%len(names)]], text, flags...)
	}
	m, rows := liveRows(t, a, ids["Box/1"])
	w.expunged = map[string]map[imap.UID][]byte{"Box/1": {}}
	for _, n := range []int{3, 20, 21} {
		w.expunged["Box/1"][rows[n].UID] = []byte(blobText(t, a, rows[n].Blob))
	}
	expungeAll(t, a, m.ID, rows[3].UID, rows[20].UID, rows[21].UID)
	w.deleted = 3
	_, err = a.Copy(ids["Box/2"], []imap.UID{2, 3, 4}, ids["INBOX"], false)
	must(t, err)
	_, err = a.StoreFlags(ids["Box/3"], StoreRequest{UIDs: []imap.UID{1, 2, 5}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagAnswered}})
	must(t, err)
	for _, name := range names {
		m, rows := liveRows(t, a, ids[name])
		w.mail[name], w.flags[name], w.dates[name] = map[imap.UID][]byte{}, map[imap.UID]string{}, map[imap.UID]int64{}
		for _, r := range rows {
			b, err := a.OpenBlob(r.Blob)
			must(t, err)
			var out bytes.Buffer
			_, err = b.WriteRange(&out, 0, b.Size())
			must(t, err)
			must(t, b.Close())
			w.mail[name][r.UID], w.flags[name][r.UID], w.dates[name][r.UID] = out.Bytes(), sortedFlags(m.FlagNames(r.Flags)), r.Date
			w.bodies[out.String()] = true
		}
	}
	must(t, st.Close())
	return w
}

// copy copies the data, for damage.
func (w *wreck) copy(t testing.TB) string {
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.CopyFS(dir, os.DirFS(w.data)))
	return dir
}

func (w *wreck) account(data string) string { return filepath.Join(data, accountsFolder, w.id) }

// A saved is what Salvage gave out.
type saved struct {
	t        testing.TB
	w        *wreck
	boxes    []string
	whole    map[string]map[imap.UID]bool
	partial  int
	findings []SalvageFinding
	strict   bool
	stray    int // whole messages in Recovered
	revived  int // expunged ones in their old place
}

func (s *saved) Account(string) error { return nil }

func (s *saved) Mailbox(name string) error {
	s.boxes = append(s.boxes, name)
	return nil
}

func (s *saved) Finding(f SalvageFinding) error {
	s.findings = append(s.findings, f)
	if f.Why == "" || f.String() == "" {
		s.t.Errorf("a finding without a reason: %+v", f)
	}
	return nil
}

func (s *saved) Message(m *SalvagedMessage) error {
	b, err := io.ReadAll(m.Body())
	if err != nil {
		s.t.Errorf("%s, UID %d: %v", m.Mailbox, m.UID, err)
		return err
	}
	if m.Damage != "" {
		s.partial++
		if !bytes.Contains(b, []byte("X-Nestbox-Salvage: ")) || !slices.Contains(m.Flags, "$Damaged") {
			s.t.Errorf("%s, UID %d: a damaged message isn't marked", m.Mailbox, m.UID)
		}
		return nil
	}
	if m.Mailbox == "Recovered" || strings.HasPrefix(m.Mailbox, "Recovered/") {
		// Expunged ones can be among them when their rows are lost.
		if !s.w.bodies[string(b)] && !bytes.Contains(b, []byte("Subject: number ")) {
			s.t.Errorf("recovered %d octets of no message", len(b))
		}
		s.stray++
		if m.Mailbox == "Recovered" {
			return nil
		}
	}
	for name, mail := range s.w.mail {
		if name == m.Mailbox || strings.HasPrefix(m.Mailbox, "Recovered/") {
			if bytes.Equal(mail[m.UID], b) {
				if s.whole[name] == nil {
					s.whole[name] = map[imap.UID]bool{}
				}
				s.whole[name][m.UID] = true
				if s.strict && (sortedFlags(m.Flags) != s.w.flags[name][m.UID] || m.Date.Unix() != s.w.dates[name][m.UID]) {
					s.t.Errorf("%s, UID %d: flags %v, date %s", name, m.UID, m.Flags, m.Date)
				}
				return nil
			}
		}
	}
	if was, ok := s.w.expunged[m.Mailbox][m.UID]; ok && bytes.Equal(was, b) {
		s.revived++
		return nil
	}
	if _, is := s.w.mail[m.Mailbox]; is {
		s.t.Errorf("%s, UID %d has the bytes of another message, or was expunged: %d octets", m.Mailbox, m.UID, len(b))
	}
	return nil
}

// listed reports whether a finding names a message.
func (s *saved) listed(name string, uid imap.UID) bool {
	return slices.ContainsFunc(s.findings, func(f SalvageFinding) bool {
		return f.Mailbox == name && f.UID <= uid && uid <= max(f.UID, f.Last)
	})
}

// salvage brings out what is left in path, and sees that nothing that is not
// there goes without a word.
func (w *wreck) salvage(t testing.TB, path string, strict bool) (*saved, SalvageCounts) {
	t.Helper()
	s := &saved{t: t, w: w, whole: map[string]map[imap.UID]bool{}, strict: strict}
	all, err := Salvage(context.Background(), path, SalvageOptions{Temp: t.TempDir(), disk: w.disk}, s)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	c := all[0]
	counted := 0
	for _, f := range s.findings {
		if f.UID == 0 && f.Kind == SalvageLost {
			counted += f.Messages
		}
	}
	silent, total := 0, 0
	for name, mail := range w.mail {
		for uid := range mail {
			total++
			if !s.whole[name][uid] && !s.listed(name, uid) {
				silent++
			}
		}
	}
	got := 0
	for _, uids := range s.whole {
		got += len(uids)
	}
	t.Logf("%d of %d whole in place, %d in part, %d in Recovered, %d damaged pages, %d lost", got, total, s.partial, s.stray, c.Pages, c.Lost)
	warned := slices.ContainsFunc(s.findings, func(f SalvageFinding) bool { return strings.HasPrefix(f.Why, "its newest state") })
	if silent > counted+s.stray && len(s.boxes) >= 4 && !(warned && silent < 10) {
		t.Errorf("%d messages are missing without a word; %d counted, %d recovered", silent, counted, s.stray)
	}
	if s.revived > 0 && !c.Missing {
		t.Errorf("%d expunged messages are back, and nothing is said to be missing", s.revived)
	}
	if got < total && !c.Missing {
		t.Errorf("%d of %d are there, and nothing is said to be missing", got, total)
	}
	return s, c
}

func (s *saved) all(t testing.TB) {
	t.Helper()
	for name, mail := range s.w.mail {
		for uid := range mail {
			if !s.whole[name][uid] {
				t.Errorf("%s, UID %d is not there", name, uid)
				return
			}
		}
	}
}

// destroy changes a file's octets from off on.
func destroy(t testing.TB, path string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(b, off)
	must(t, err)
	must(t, f.Close())
}

func garbage(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// pagesOf lists the pages with a flag that the state of a file uses.
func pagesOf(t testing.TB, path string, flag uint16) (ids []uint64) {
	t.Helper()
	f, err := openRaw(path, filepath.Base(path), nil)
	must(t, err)
	defer f.close()
	volume := uint16(0)
	if filepath.Base(path) != "mail.db" {
		volume = 1
	}
	w := &rawWalk{ctx: context.Background(), f: f.raw, names: bucketNamesOf(volume)}
	s, err := w.run()
	must(t, err)
	if len(s.holes) > 0 {
		t.Fatal(s.holes)
	}
	for id := uint64(2); id < f.raw.pages(); id++ {
		if p, _, err := f.raw.page(nil, id); err == nil && w.live.has(id) && p.flags == flag {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestSalvage(t *testing.T) {
	w := makeWreck(t)
	mailDB := func(data string) string { return filepath.Join(w.account(data), "mail.db") }
	t.Run("undamaged", func(t *testing.T) {
		data := w.copy(t)
		s, c := w.salvage(t, data, true)
		s.all(t)
		if c.Missing || len(s.findings) > 0 || c.Account != "ann" || len(s.boxes) < 13 || c.Damaged+c.Lost+c.Recovered > 0 {
			t.Errorf("%+v, %v, %d mailboxes", c, s.findings, len(s.boxes))
		}
		must(t, os.Remove(filepath.Join(data, systemFile)))
		s, c = w.salvage(t, w.account(data), true)
		if s.all(t); c.Missing || c.Account != "ann" {
			t.Errorf("%+v, %v", c, s.findings)
		}
		same := w.copy(t)
		must(t, os.Remove(filepath.Join(same, systemFile)))
		if diff := compareFolders(t, same, data); diff != "" {
			t.Errorf("salvage changed the data: %s", diff)
		}
	})
	t.Run("one meta page", func(t *testing.T) {
		for n := range int64(2) {
			data := w.copy(t)
			destroy(t, mailDB(data), n*pageBytes+metaTx, []byte{0xEE})
			s, c := w.salvage(t, data, true)
			s.all(t)
			if c.Missing || c.Pages != 1 {
				t.Errorf("meta page %d: %+v, %v", n, c, s.findings)
			}
		}
	})
	t.Run("both meta pages of all files", func(t *testing.T) {
		data := w.copy(t)
		paths, _ := filepath.Glob(filepath.Join(w.account(data), "*.db"))
		for _, path := range paths {
			destroy(t, path, 0, make([]byte, 2*pageBytes))
		}
		s, c := w.salvage(t, data, true)
		s.all(t)
		if c.Missing {
			t.Errorf("%+v, %v", c, s.findings)
		}
	})
	t.Run("all branch pages", func(t *testing.T) {
		data := w.copy(t)
		branches := pagesOf(t, mailDB(data), pageBranch)
		if len(branches) < 3 {
			t.Fatalf("%d branch pages", len(branches))
		}
		for _, id := range branches {
			destroy(t, mailDB(data), int64(id)*pageBytes, garbage(byte(id), pageBytes))
		}
		s, c := w.salvage(t, data, true)
		s.all(t)
		if c.Pages == 0 || !c.Missing {
			t.Errorf("%+v, %v", c, s.findings)
		}
		// And of the volumes, and no meta page.
		paths, _ := filepath.Glob(filepath.Join(w.account(data), "body*.db"))
		for _, path := range paths {
			for _, id := range pagesOf(t, path, pageBranch) {
				destroy(t, path, int64(id)*pageBytes, make([]byte, pageBytes))
			}
			destroy(t, path, 0, make([]byte, 2*pageBytes))
		}
		destroy(t, mailDB(data), 0, make([]byte, 2*pageBytes))
		s, _ = w.salvage(t, data, false)
		s.all(t)
	})
	t.Run("system.db and the profile", func(t *testing.T) {
		data := w.copy(t)
		must(t, os.WriteFile(filepath.Join(data, systemFile), garbage(1, 9000), 0o600))
		s, _ := w.salvage(t, data, true)
		s.all(t)
	})
	t.Run("a missing volume", func(t *testing.T) {
		data := w.copy(t)
		must(t, os.Remove(filepath.Join(w.account(data), "body-0001.db")))
		_, c := w.salvage(t, data, false)
		if !c.Missing || c.Lost == 0 || c.Exported == 0 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("no mail.db", func(t *testing.T) {
		data := w.copy(t)
		must(t, os.Remove(mailDB(data)))
		s, c := w.salvage(t, data, false)
		if !c.Missing || s.stray < 100 || c.Account != "ann" {
			t.Errorf("%+v, %d in Recovered", c, s.stray)
		}
	})
	t.Run("mixed volumes", func(t *testing.T) {
		other := makeWreckWith(t, 5)
		data := w.copy(t)
		src, err := os.ReadFile(filepath.Join(other.account(other.data), "body-0001.db"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(w.account(data), "body-0001.db"), src, 0o600))
		if _, c := w.salvage(t, data, false); !c.Missing {
			t.Errorf("%+v", c)
		}
	})
}

// makeWreckWith makes another account, with large messages.
func makeWreckWith(t testing.TB, n int) *wreck {
	dir := t.TempDir()
	must(t, Init(dir))
	st, err := Open(dir, Options{NoSync: true, MaxMessage: 4 << 20, hooks: &hooks{volume: 8 << 20, firstBodies: 1}})
	must(t, err)
	info, err := st.CreateAccount("bob", nil)
	must(t, err)
	a, err := st.Account(info.ID)
	must(t, err)
	for i := range n {
		appendTo(t, a, inbox(t, a).ID, fmt.Sprintf("Subject: bob's %d\r\n\r\n%x", i, garbage(byte(i), 100<<10)))
	}
	must(t, st.Close())
	return &wreck{data: dir, id: string(info.ID)}
}

// compareFolders says in what two folders differ.
func compareFolders(t testing.TB, a, b string) string {
	t.Helper()
	read := func(dir string) map[string]string {
		all := map[string]string{}
		must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			rel, _ := filepath.Rel(dir, path)
			all[rel] = string(data)
			return err
		}))
		return all
	}
	was, is := read(a), read(b)
	for name, data := range was {
		if is[name] != data {
			return name
		}
	}
	if len(is) != len(was) {
		return "more files"
	}
	return ""
}

// TestSalvageRandomDamage destroys what chance wants.
func TestSalvageRandomDamage(t *testing.T) {
	t.Parallel()
	w := makeWreck(t)
	rounds := 25
	if testing.Short() {
		rounds = 6
	}
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			data := w.copy(t)
			rnd := rand.New(rand.NewPCG(uint64(round), 1))
			paths, _ := filepath.Glob(filepath.Join(w.account(data), "*.db"))
			paths = append(paths, filepath.Join(w.account(data), "mail.db"), filepath.Join(w.account(data), "mail.db"))
			for range 1 + rnd.IntN(6) {
				path := paths[rnd.IntN(len(paths))]
				if strings.HasSuffix(path, "search.db") {
					continue
				}
				info, err := os.Stat(path)
				must(t, err)
				off := rnd.Int64N(info.Size())
				n := 1 + rnd.IntN(60_000)
				switch rnd.IntN(6) {
				case 0:
					must(t, os.Truncate(path, off))
				case 1:
					destroy(t, path, off, make([]byte, n))
				case 2:
					destroy(t, path, off, garbage(byte(round), n))
				case 3: // a leaf page
					destroy(t, path, off/pageBytes*pageBytes, garbage(byte(round), pageBytes))
				case 4: // a sector
					destroy(t, path, off/512*512, make([]byte, 512))
				case 5: // a page of another place
					b := make([]byte, pageBytes)
					f, err := os.Open(path)
					must(t, err)
					_, err = f.ReadAt(b, rnd.Int64N(info.Size()/pageBytes-1)*pageBytes)
					must(t, err)
					must(t, f.Close())
					destroy(t, path, off/pageBytes*pageBytes, b)
				}
			}
			start := time.Now()
			w.salvage(t, data, false)
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("it took %s", d)
			}
		})
	}
}

// swapOrder writes a bbolt file as a machine of the other byte order would.
func swapOrder(t testing.TB, path string) {
	t.Helper()
	f, err := openRaw(path, filepath.Base(path), nil)
	must(t, err)
	defer f.close()
	all, err := os.ReadFile(path)
	must(t, err)
	from := f.raw.order
	to := binary.ByteOrder(binary.BigEndian)
	if from == to {
		to = binary.LittleEndian
	}
	w := &rawWalk{ctx: context.Background(), f: f.raw, names: bucketNamesOf(0)}
	_, err = w.run()
	must(t, err)
	s := swapper{from, to}
	for id := uint64(2); id < f.raw.pages(); id++ {
		if p, _, err := f.raw.page(nil, id); err == nil && w.live.has(id) && p.flags != pageFree {
			s.page(all[int(id)*pageBytes : int(id)*pageBytes+len(p.b)])
		}
	}
	for n := range 2 {
		p := all[n*pageBytes : (n+1)*pageBytes]
		s.head(p)
		for at := pageHeader; at < pageHeader+16; at += 4 {
			s.u32(p[at:])
		}
		for at := metaRoot; at < metaEnd-8; at += 8 {
			s.u64(p[at:])
		}
		to.PutUint64(p[metaEnd-8:], fnvSum(p[pageHeader:metaEnd-8]))
	}
	must(t, os.WriteFile(path, all, 0o600))
}

type swapper struct{ from, to binary.ByteOrder }

func (s swapper) u16(b []byte) { s.to.PutUint16(b, s.from.Uint16(b)) }
func (s swapper) u32(b []byte) { s.to.PutUint32(b, s.from.Uint32(b)) }
func (s swapper) u64(b []byte) { s.to.PutUint64(b, s.from.Uint64(b)) }

func (s swapper) head(p []byte) {
	s.u64(p)
	s.u16(p[8:])
	s.u16(p[10:])
	s.u32(p[12:])
}

func (s swapper) page(b []byte) {
	p := rawPage{order: s.from, flags: s.from.Uint16(b[8:]), count: int(s.from.Uint16(b[10:])), b: b}
	for i := range p.count {
		e, ok := p.item(i)
		if ok && e.bucket {
			root := s.from.Uint64(e.value)
			s.u64(e.value)
			s.u64(e.value[8:])
			if root == 0 {
				s.page(e.value[16:])
			}
		}
	}
	for i := range p.count {
		at := b[pageHeader+i*16:]
		s.u32(at)
		s.u32(at[4:])
		if p.flags == pageBranch {
			s.u64(at[8:])
		} else {
			s.u32(at[8:])
			s.u32(at[12:])
		}
	}
	s.head(b)
}

func TestSalvageOtherByteOrder(t *testing.T) {
	w := makeWreck(t)
	data := w.copy(t)
	for _, pattern := range []string{"mail.db", "body*.db"} {
		paths, _ := filepath.Glob(filepath.Join(w.account(data), pattern))
		for _, path := range paths {
			swapOrder(t, path)
		}
	}
	s, c := w.salvage(t, data, true)
	if s.all(t); c.Missing {
		t.Errorf("%+v, %v", c, s.findings)
	}
}
