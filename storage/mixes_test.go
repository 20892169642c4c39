package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

var (
	mixRounds = flag.Int("mixes", 8, "how many data folders are put together of older and newer files; with 25 of more messages, too")
	mixSeed   = flag.Int64("mix-seed", 1, "where the dice of the mixes begin")
)

// mixText is message n: it says which it is, and every octet is known.
func mixText(n int) []byte {
	h := fnv.New32a()
	fmt.Fprint(h, n)
	r := rand.New(rand.NewSource(int64(h.Sum32())))
	size := 500 + r.Intn(20_000)
	switch r.Intn(20) {
	case 0:
		size = 600_000
	case 1, 2, 3:
		size = 30_000 + r.Intn(120_000)
	}
	b := fmt.Appendf(nil, "Subject: marker %d\r\nMessage-ID: <%d@mix.example>\r\n\r\n", n, n)
	body := make([]byte, size)
	r.Read(body)
	return append(b, body...)
}

func mixMarker(b []byte) (n int) {
	if _, err := fmt.Sscanf(string(b[:min(len(b), 40)]), "Subject: marker %d\r\n", &n); err != nil {
		return -1
	}
	return n
}

// sum is the SHA-256 of message n.
func (s *mixScene) sum(n int) [32]byte {
	sum, ok := s.sums[n]
	if !ok {
		sum = sha256.Sum256(mixText(n))
		s.sums[n] = sum
	}
	return sum
}

type mixUID struct {
	validity uint32
	uid      imap.UID
}

// A mixVersion is one file as it was at some time.
type mixVersion struct {
	path string // "" for not there
	torn bool   // copied while it was written to
}

// A mixScene is an account under load, and copies of its files.
type mixScene struct {
	t        *testing.T
	dir      string // the data folder
	kept     string // the copies
	id       AccountID
	opts     Options
	versions map[string][]mixVersion // by name in the account's folder, or "system.db"

	mu     sync.Mutex
	last   int // marker
	uids   map[mixUID]int
	emails map[EmailID]int
	owned  map[BlobID]bool // of messages that are there at the end
	sums   map[int][32]byte
}

// load works on the account like several busy clients.
func (s *mixScene) load(a *Account, r *rand.Rand, until time.Time) {
	for time.Now().Before(until) {
		boxes, err := a.Mailboxes()
		if err != nil {
			s.t.Error(err)
			return
		}
		m, to := boxes[r.Intn(len(boxes))], boxes[r.Intn(len(boxes))]
		var uids []imap.UID
		for range r.Intn(12) {
			if m.UIDNext > 1 {
				uids = append(uids, 1+imap.UID(r.Intn(int(m.UIDNext-1))))
			}
		}
		slices.Sort(uids)
		uids = slices.Compact(uids)
		switch r.Intn(12) {
		case 0, 1, 2, 3, 4, 5:
			s.append(a, m, 1+r.Intn(4))
		case 6, 7:
			_, err = a.StoreFlags(m.ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
		case 8:
			var res CopyResult
			move := r.Intn(2) == 0
			if m.ID == to.ID {
				move = false
			}
			if res, err = a.Copy(m.ID, uids, to.ID, move); err == nil {
				s.copied(m, to, res)
			}
		case 9:
			_, err = a.StoreFlags(m.ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}})
			if err == nil && r.Intn(3) == 0 {
				_, err = a.Expunge(m.ID, nil)
			}
		case 10:
			_, err = a.CreateMailbox(fmt.Sprint("box ", r.Intn(6)))
		case 11:
			err = a.RenameMailbox(fmt.Sprint("box ", r.Intn(6)), fmt.Sprint("box ", r.Intn(6)))
		}
		if err != nil && !errors.Is(err, ErrNoMailbox) && !errors.Is(err, ErrMailboxExists) && !errors.Is(err, ErrExpunged) {
			s.t.Error(err)
		}
	}
}

func (s *mixScene) append(a *Account, m Mailbox, n int) {
	var msgs []NewMessage
	var markers []int
	for range n {
		s.mu.Lock()
		s.last++
		n := s.last
		s.mu.Unlock()
		if n%9 == 0 {
			n-- // the same octets again
		}
		markers = append(markers, n)
		msgs = append(msgs, NewMessage{Upload: upload(s.t, a, string(mixText(n)))})
	}
	res, err := a.Append(m.ID, msgs)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, uid := range res.UIDs {
		s.uids[mixUID{m.UIDValidity, uid}] = markers[i]
		s.emails[msgs[i].Upload.EmailID()] = markers[i]
	}
}

func (s *mixScene) copied(from, to Mailbox, res CopyResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, uid := range res.From {
		if n, ok := s.uids[mixUID{from.UIDValidity, uid}]; ok {
			s.uids[mixUID{to.UIDValidity, res.To[i]}] = n
		}
	}
}

// keep copies a file as it is now. torn reads it as cp does, while it is
// written to.
func (s *mixScene) keep(a *Account, from string, torn bool, r *rand.Rand) {
	name := filepath.Base(from)
	to := filepath.Join(s.kept, fmt.Sprintf("%s.%d", name, len(s.versions[name])))
	work := func() error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(to)
		if err != nil {
			return err
		}
		for err == nil {
			_, err = io.CopyN(out, in, 64<<10)
			if torn && r.Intn(3) == 0 {
				time.Sleep(time.Duration(r.Intn(2000)) * time.Microsecond)
			}
		}
		if err == io.EOF {
			err = nil
		}
		return errors.Join(err, out.Close())
	}
	var err error
	if torn || a == nil {
		err = work()
	} else {
		err = a.exec(func(*files) error { return work() })
	}
	if err == nil {
		s.versions[name] = append(s.versions[name], mixVersion{to, torn})
	} else if !errors.Is(err, os.ErrNotExist) {
		s.t.Error(err)
	}
}

func (s *mixScene) keepAll(a *Account, torn func() bool, r *rand.Rand) {
	all, err := filepath.Glob(filepath.Join(s.dir, accountsFolder, string(s.id), "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, from := range all {
		switch name := filepath.Base(from); {
		case name == "mail.db", name == "flags.journal", name == "search.db", strings.HasPrefix(name, "body-") && strings.HasSuffix(name, ".db"):
			if r.Intn(2) == 0 || a == nil {
				s.keep(a, from, torn(), r)
			}
		}
	}
}

// newMixScene runs the load, with a stop of the server now and then, and
// takes copies all the time.
func newMixScene(t *testing.T, r *rand.Rand) *mixScene {
	s := &mixScene{t: t, dir: t.TempDir(), kept: t.TempDir(), versions: map[string][]mixVersion{},
		uids: map[mixUID]int{}, emails: map[EmailID]int{}, owned: map[BlobID]bool{}, sums: map[int][32]byte{},
		opts: Options{NoSync: true, hooks: &hooks{volume: 4 << 20, firstBodies: 1 << 20}}}
	if err := Init(s.dir); err != nil {
		t.Fatal(err)
	}
	for phase := range 5 {
		st, err := Open(s.dir, s.opts)
		if err != nil {
			t.Fatal(err)
		}
		if phase == 0 {
			info, err := st.CreateAccount("ann", nil)
			if err != nil {
				t.Fatal(err)
			}
			s.id = info.ID
		}
		a, err := st.Account(s.id)
		if err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(min(time.Duration(*mixRounds)*20*time.Millisecond, 500*time.Millisecond))
		var clients sync.WaitGroup
		for range 2 {
			seed := r.Int63()
			clients.Go(func() { s.load(a, rand.New(rand.NewSource(seed)), until) })
		}
		for time.Now().Before(until) {
			s.keepAll(a, func() bool { return r.Intn(2) == 0 }, r)
		}
		clients.Wait()
		if phase == 4 {
			s.own(a)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		s.keepAll(nil, func() bool { return false }, r)
		s.keep(nil, filepath.Join(s.dir, systemFile), false, r)
	}
	return s
}

// own notes what must never be swept: the bytes of messages that are there.
func (s *mixScene) own(a *Account) {
	s.eachRow(a, func(_ Mailbox, row *Row) { s.owned[row.Blob] = true })
}

func (s *mixScene) eachRow(a *Account, f func(m Mailbox, row *Row)) (err error) {
	boxes, err := a.Mailboxes()
	if err != nil {
		return err
	}
	for _, m := range boxes {
		var uids []imap.UID
		for uid := imap.UID(1); uid < m.UIDNext; uid++ {
			uids = append(uids, uid)
		}
		for len(uids) > 0 {
			n := min(len(uids), ReadRows)
			rows, rowsErr := a.Rows(m.Space, uids[:n], nil)
			err = errors.Join(err, rowsErr)
			for i := range rows {
				f(m, &rows[i])
			}
			uids = uids[n:]
		}
	}
	return err
}

// A mix is a data folder of files of several times.
type mix struct {
	*mixScene
	dir    string
	what   []string // for who reads a failure
	torn   bool     // the index is
	blobs  map[string]map[BlobID]bool
	opened bool
	read   int // messages that could be read, and not
	failed int
}

func (s *mixScene) mix(r *rand.Rand, foreign string) *mix {
	x := &mix{mixScene: s, dir: s.t.TempDir(), blobs: map[string]map[BlobID]bool{}}
	account := filepath.Join(x.dir, accountsFolder, string(s.id))
	if err := os.MkdirAll(account, 0o700); err != nil {
		s.t.Fatal(err)
	}
	putFile(s.t, filepath.Join(x.dir, idFile), filepath.Join(s.dir, idFile))
	onlyQuiet := r.Intn(2) == 0
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range s.versions {
			if !yield(name) {
				return
			}
		}
	}) {
		v := s.versions[name][r.Intn(len(s.versions[name]))]
		for onlyQuiet && v.torn {
			v = s.versions[name][r.Intn(len(s.versions[name]))]
		}
		to := filepath.Join(account, name)
		switch {
		case name == systemFile:
			to = filepath.Join(x.dir, name)
		case r.Intn(15) == 0 && name != "mail.db":
			x.what = append(x.what, name+" missing")
			continue
		case r.Intn(40) == 0:
			v = mixVersion{filepath.Join(foreign, name), false}
			if _, err := os.Stat(v.path); err != nil {
				continue
			}
		}
		putFile(s.t, to, v.path)
		x.what = append(x.what, strings.Trim(fmt.Sprintf("%s torn=%v", v.path[strings.LastIndex(v.path, "/")+1:], v.torn), "/"))
		x.torn = x.torn || v.torn && name == "mail.db"
		if strings.HasPrefix(name, "body-") && !v.torn && strings.HasPrefix(v.path, s.kept) {
			x.blobs[to] = s.blobsIn(to)
		}
	}
	return x
}

// blobsIn lists the owned blobs that a volume holds.
func (s *mixScene) blobsIn(path string) map[BlobID]bool {
	all := map[BlobID]bool{}
	db, err := openMap(path, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		s.t.Fatal(path, err)
	}
	defer db.Close()
	if err := db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketHeads).ForEach(func(k, _ []byte) error {
			var id BlobID
			for _, c := range k {
				id = id<<8 | BlobID(c)
			}
			if s.owned[id] {
				all[id] = true
			}
			return nil
		})
	}); err != nil {
		s.t.Fatal(path, err)
	}
	return all
}

// verify reads all messages: each is what it was, or an error.
func (x *mix) verify(a *Account, below map[MailboxID]imap.UID) error {
	return x.eachRow(a, func(m Mailbox, row *Row) {
		if next, ok := below[m.ID]; below != nil && (!ok || row.UID >= next) {
			return // new, and no part of this
		}
		b, err := a.OpenBlob(row.Blob)
		var got bytes.Buffer
		if err == nil {
			_, err = b.WriteRange(&got, 0, b.Size())
			b.Close()
		}
		if err != nil {
			x.failed++
			if !x.torn && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrCorrupt) {
				x.t.Errorf("%s UID %d: %v\n%q", m.Name, row.UID, err, x.what)
			}
			return
		}
		x.read++
		n := mixMarker(got.Bytes())
		want, known := x.uids[mixUID{m.UIDValidity, row.UID}]
		switch {
		case sha256.Sum256(got.Bytes()) != x.sum(n):
			x.t.Errorf("%s UID %d: octets that are no message\n%q", m.Name, row.UID, x.what)
		case x.emails[row.Email] != n:
			x.t.Errorf("%s UID %d: message %d under the EMAILID of %d\n%q", m.Name, row.UID, n, x.emails[row.Email], x.what)
		case known && want != n:
			x.t.Errorf("%s UID %d: message %d, it was %d\n%q", m.Name, row.UID, n, want, x.what)
		}
	})
}

// run opens the folder, uses it for a while, and looks what became of it.
func (x *mix) run() {
	named := func(what string, err error) {
		if !strings.Contains(err.Error(), x.dir) && !strings.Contains(err.Error(), "mail.db") {
			x.t.Errorf("%s: no file is named: %v\n%q", what, err, x.what)
		}
	}
	st, err := Open(x.dir, x.opts)
	if err != nil {
		named("open", err)
		return
	}
	defer func() {
		if err := st.Close(); err != nil && !x.torn {
			x.t.Errorf("close: %v\n%q", err, x.what)
		}
		for path, before := range x.blobs {
			if now := x.blobsIn(path); !x.torn {
				for id := range before {
					if !now[id] {
						x.t.Errorf("blob %d was swept from %s\n%q", id, filepath.Base(path), x.what)
					}
				}
			}
		}
	}()
	a, err := st.Account(x.id)
	if err != nil {
		named("account", err)
		return
	}
	boxes, err := a.Mailboxes()
	if err != nil {
		named("mailboxes", err)
		return
	}
	x.opened = true
	below := map[MailboxID]imap.UID{}
	for _, m := range boxes {
		below[m.ID] = m.UIDNext
	}
	if err := x.verify(a, nil); err != nil && !x.torn {
		x.t.Errorf("%v\n%q", err, x.what)
	}
	if len(boxes) == 0 { // their rows are damaged
		if !x.torn {
			x.t.Errorf("no mailboxes\n%q", x.what)
		}
		return
	}
	for i := range 8 { // new mail finds its place
		n := 1_000_000 + i
		u, err := a.NewUpload(-1)
		if err != nil {
			x.t.Error(err)
			return
		}
		_, err = u.Write(mixText(n))
		if err == nil {
			err = u.Close()
		}
		if err == nil {
			_, err = a.Append(boxes[i%len(boxes)].ID, []NewMessage{{Upload: u}})
		}
		u.Abort()
		if err != nil && !x.torn {
			x.t.Errorf("new mail: %v\n%q", err, x.what)
		}
	}
	for more := true; more && err == nil; {
		more, err = a.quietStep()
	}
	if err != nil && !x.torn {
		x.t.Errorf("quiet work: %v\n%q", err, x.what)
	}
	if err := x.verify(a, below); err != nil && !x.torn {
		x.t.Errorf("%v\n%q", err, x.what)
	}
	if _, err := a.Check(); err != nil && !x.torn {
		x.t.Errorf("check: %v\n%q", err, x.what)
	}
}

// TestMixesOfFiles: data folders of files of different times, as a copy of a
// folder in use makes them, or somebody's hand. Each opens or names the wrong
// file, no message ever shows another's bytes, nothing is swept.
func TestMixesOfFiles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewSource(*mixSeed))
	s := newMixScene(t, r)
	other := newMixScene(t, r)
	foreign := filepath.Join(other.dir, accountsFolder, string(other.id))
	opened, refused, read, failed := 0, 0, 0, 0
	rounds := *mixRounds
	if testing.Short() {
		rounds = min(rounds, 4)
	}
	for range rounds {
		x := s.mix(r, foreign)
		watch := time.AfterFunc(2*time.Minute, func() { panic(fmt.Sprintf("this mix doesn't end: %q", x.what)) })
		x.run()
		watch.Stop()
		if x.opened {
			opened++
		} else {
			refused++
		}
		read, failed = read+x.read, failed+x.failed
		if err := os.RemoveAll(x.dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d messages, %d files; %d mixes opened, %d refused; messages read %d times, not available %d times",
		len(s.emails), len(s.versions), opened, refused, read, failed)
	if rounds >= 20 && (opened == 0 || read == 0 || failed == 0) { // a few can all be good luck, or all bad
		t.Error("the mixes show nothing")
	}
}
