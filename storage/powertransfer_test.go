package storage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/test/tap"
)

// transferSteps is how many steps a team takes.
const transferSteps = 60

// A teamState is two accounts that exchange messages, each with a mailbox
// "Team": what a message is by account and UID, and what else a step sets.
type teamState struct {
	boxes [2]map[imap.UID]string // "12 \Seen": which message, and flags
	uid   [2]imap.UID            // that the next message gets
	step  int
	set   int               // the last step that set what is not mail
	seen  map[imap.UID]bool // in the first's mailbox, by the second
}

func (s *teamState) clone() *teamState {
	c := *s
	for i := range c.boxes {
		c.boxes[i] = maps.Clone(s.boxes[i])
	}
	c.seen = maps.Clone(s.seen)
	return &c
}

// A teamPlan is the same steps in the process that takes them and in the test.
type teamPlan struct {
	random *rand.Rand
	now    *teamState
	serial int
}

func newTeamPlan(seed uint64) *teamPlan {
	s := &teamState{uid: [2]imap.UID{1, 1}, seen: map[imap.UID]bool{}}
	for i := range s.boxes {
		s.boxes[i] = map[imap.UID]string{}
	}
	return &teamPlan{random: rand.New(rand.NewPCG(seed, 21)), now: s}
}

// teamMessage is message number n, some of which are bodies of their own.
func teamMessage(n int) string {
	return fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", n, strings.Repeat(fmt.Sprintf("%d,", n*7919), 20+n%7*900))
}

// next changes the state as the next step will, and returns how to do it.
func (p *teamPlan) next() (do func(team [2]*Account) error) {
	s := p.now
	s.step++
	step, at := s.step, p.random.IntN(2)
	to := 1 - at
	uids := slices.Sorted(maps.Keys(s.boxes[at]))
	switch dice := p.random.IntN(10); {
	case len(uids) < 3 || dice < 2:
		p.serial++
		n := p.serial
		s.boxes[at][s.uid[at]] = fmt.Sprint(n, " ", imap.FlagFlagged)
		s.uid[at]++
		return func(team [2]*Account) error { return appendTeam(team[at], n) }
	case dice == 7:
		p.serial++
		return s.replace(at, uids[p.random.IntN(len(uids))], p.serial)
	case dice < 7:
		p.random.Shuffle(len(uids), func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
		uids = uids[:1+p.random.IntN(min(4, len(uids)))]
		slices.Sort(uids)
		move := dice < 5
		for _, uid := range uids {
			s.boxes[to][s.uid[to]] = s.boxes[at][uid]
			s.uid[to]++
			if move {
				delete(s.boxes[at], uid)
			}
		}
		return func(team [2]*Account) error {
			src, err1 := team[at].MailboxByName("Team")
			dst, err2 := team[to].MailboxByName("Team")
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			_, err := team[to].CopyFrom(team[at], src.ID, uids, dst.ID, move, AllRights, func() error { return nil })
			return err
		}
	}
	seen := imap.UID(0)
	if keys := slices.Sorted(maps.Keys(s.boxes[0])); len(keys) > 0 {
		seen = keys[p.random.IntN(len(keys))]
		s.seen[seen] = true
	}
	s.set = step
	return func(team [2]*Account) error { return setTeam(team, step, seen) }
}

// replace puts message n into the other's mailbox and takes another one out of
// the one at: REPLACE between two accounts.
func (s *teamState) replace(at int, uid imap.UID, n int) (do func(team [2]*Account) error) {
	to := 1 - at
	s.boxes[to][s.uid[to]] = fmt.Sprint(n, " ", imap.FlagFlagged)
	s.uid[to]++
	delete(s.boxes[at], uid)
	return func(team [2]*Account) error {
		m, err := team[at].MailboxByName("Team")
		if err == nil {
			err = appendTeam(team[to], n)
		}
		if err != nil {
			return err
		}
		return team[at].Remove(m.ID, []imap.UID{uid})
	}
}

func appendTeam(a *Account, n int) error {
	m, err := a.MailboxByName("Team")
	if err != nil {
		return err
	}
	u, err := a.NewUpload(-1)
	if err != nil {
		return err
	}
	if _, err := u.Write([]byte(teamMessage(n))); err != nil {
		return err
	}
	if err := u.Close(); err != nil {
		return err
	}
	_, err = a.Append(m.ID, []NewMessage{{Upload: u, Flags: []imap.Flag{imap.FlagFlagged}, Date: time.Unix(1e9, 0)}})
	return err
}

// setTeam sets what is not mail: an annotation, an entry of an ACL, a key for
// URLs, and the second's own \Seen in the first's mailbox.
func setTeam(team [2]*Account, step int, seen imap.UID) error {
	m, err := team[0].MailboxByName("Team")
	if err != nil {
		return err
	}
	_, err = team[1].MakeURLKey(m.ID, true)
	err = errors.Join(err,
		team[0].SetAnnotations(&AnnotationRequest{Mailbox: m.ID, Set: []Annotation{
			{Entry: "/shared/comment", Value: fmt.Append(nil, step)}, {Entry: "/private/comment", Login: team[1].id, Value: fmt.Append(nil, step)}}}),
		team[0].ChangeACL(m.ID, ACLChange{Who: AccountIdentifier(team[1].id), Mode: StoreReplace, Rights: teamRights(step)}))
	if err == nil && seen != 0 {
		_, err = team[0].ByLogin(team[1].id).StoreFlags(m.ID, StoreRequest{UIDs: []imap.UID{seen}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
	}
	return err
}

func teamRights(step int) Rights {
	if step%2 == 0 {
		return AllRights
	}
	return RightLookup
}

func openTeam(st *Store) (team [2]*Account, err error) {
	for i, name := range []string{"ann", "ben"} {
		info, err := st.FindAccount(name)
		if err != nil {
			return team, err
		}
		if team[i], err = st.Account(info.ID); err != nil {
			return team, err
		}
	}
	return team, nil
}

// transfer takes the steps.
func (p powerTask) transfer(marks *os.File) error {
	st, err := Open(p.Dir, Options{Version: "test", hooks: &hooks{volume: 4 << 20, firstBodies: 1 << 16}})
	if err != nil {
		return err
	}
	defer st.Close()
	team, err := openTeam(st)
	if err != nil {
		return err
	}
	for plan := newTeamPlan(p.Seed); plan.now.step < transferSteps; {
		do := plan.next()
		if err := do(team); err != nil {
			return fmt.Errorf("step %d: %w", plan.now.step, err)
		}
		if _, err := fmt.Fprintln(marks, "done 0"); err != nil {
			return err
		}
	}
	return nil
}

// TestPowerLossTransfer: two accounts copy and move messages to each other,
// replace one's by new ones of the other's, and set annotations, ACLs, keys and a \Seen of their own, until the power is cut.
// Of a step that was done all is there; of one that was begun a message is in
// one place or in both, never in none, and nothing half.
func TestPowerLossTransfer(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	root := newPowerFolder(t)
	prepareTeam(t, root)
	disk, err := tap.NewDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	r := &powerRecord{disk: disk, begun: []int{0}, done: []int{0}}
	r.record(t, root, powerTask{Work: "transfer", Dir: root, Marks: filepath.Join(t.TempDir(), "marks"), Seed: seed})
	plan := newTeamPlan(seed)
	states := []*teamState{plan.now.clone()}
	for plan.now.step < transferSteps {
		plan.next()
		states = append(states, plan.now.clone())
	}
	random := rand.New(rand.NewPCG(seed, 5))
	moments := r.moments(random, 40+powerCuts()/5)
	next := 0
	for _, moment := range moments {
		for ; next < moment; next++ {
			r.happen(t, r.events[next])
		}
		cut, c := memoryDir(t), tap.RandomCut(random)
		if err := disk.Cut(cut, c, random, skipReserve); err != nil {
			t.Fatal(err)
		}
		done := r.done[0]
		if teamCut(t, cut, states[done], states[min(done+1, transferSteps)]); t.Failed() {
			t.Fatalf("seed %d, after %d steps and %v; cut: %v", seed, done, r.events[max(0, moment-5):moment], c)
		}
		if err := os.RemoveAll(cut); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d, %d states of %d events", seed, len(moments), len(r.events))
}

func prepareTeam(t *testing.T, dir string) {
	t.Helper()
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	must(t, err)
	_, err = st.CreateAccount("ben", nil)
	must(t, err)
	team, err := openTeam(st)
	must(t, err)
	for _, a := range team {
		_, err := a.CreateMailbox("Team")
		must(t, err)
	}
	must(t, team[0].SetPrivateSeen("Team", true))
	must(t, st.Close())
}

// teamCut opens what a cut left, twice: what is finished at the first open
// stays so.
func teamCut(t *testing.T, dir string, was, is *teamState) {
	t.Helper()
	for range 2 {
		st, err := Open(dir, Options{Version: "test", NoSync: true})
		must(t, err)
		team, err := openTeam(st)
		must(t, err)
		storeSound(t, st)
		var got [2]map[imap.UID]bool
		for i, a := range team {
			got[i] = wantTeamBox(t, i, a, was, is)
		}
		wantTeamMove(t, got, was, is)
		wantTeamSettings(t, team, was, is)
		must(t, st.Close())
	}
}

// wantTeamBox: a mailbox has what both states have of it, of what one of them
// has as much as may be, and nothing else.
func wantTeamBox(t *testing.T, i int, a *Account, was, is *teamState) (got map[imap.UID]bool) {
	t.Helper()
	m, err := a.MailboxByName("Team")
	must(t, err)
	uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 1000))
	must(t, err)
	rows, err := a.Rows(m.Space, uids, nil)
	must(t, err)
	got = map[imap.UID]bool{}
	for _, row := range rows {
		got[row.UID] = true
		want, ok := was.boxes[i][row.UID]
		if !ok {
			want, ok = is.boxes[i][row.UID]
		}
		var n int
		_, _ = fmt.Sscan(want, &n)
		sum, err := blobSum(a, &row)
		must(t, err)
		flags := m.FlagNames(row.Flags &^ FlagSeen)
		if !ok || sum != shortSum(teamSum(n)) || fmt.Sprint(n, " ", flagText(flags)) != want {
			t.Errorf("account %d: UID %d is %q %v, want %q", i, row.UID, sum, flags, want)
		}
	}
	for uid := range was.boxes[i] {
		if _, stays := is.boxes[i][uid]; stays && !got[uid] {
			t.Errorf("account %d: UID %d is gone", i, uid)
		}
	}
	return got
}

// wantTeamMove: what left a mailbox is in the other one, and a step's messages
// came all or not at all.
func wantTeamMove(t *testing.T, got [2]map[imap.UID]bool, was, is *teamState) {
	t.Helper()
	for i := range got {
		came, new := 0, 0
		for uid := range is.boxes[i] {
			if _, before := was.boxes[i][uid]; !before {
				if new++; got[i][uid] {
					came++
				}
			}
		}
		if came != 0 && came != new {
			t.Errorf("account %d: %d of %d messages came", i, came, new)
		}
		left := 0
		for uid := range was.boxes[1-i] {
			if _, stays := is.boxes[1-i][uid]; !stays && !got[1-i][uid] {
				left++
			}
		}
		if left > 0 && came == 0 {
			t.Errorf("account %d: %d messages left, and are nowhere", 1-i, left)
		}
	}
}

// wantTeamSettings: each is as before the step or after it, an annotation as its
// neighbour in the same request.
func wantTeamSettings(t *testing.T, team [2]*Account, was, is *teamState) {
	t.Helper()
	m, err := team[0].MailboxByName("Team")
	must(t, err)
	all, err := team[0].Annotations(m.ID, team[1].id, func(string, int) bool { return true })
	must(t, err)
	values := map[string]string{}
	for _, an := range all {
		values[an.Entry] = string(an.Value)
	}
	may := []string{fmt.Sprint(was.set), fmt.Sprint(is.set)}
	if was.set == 0 {
		may[0] = ""
	}
	if is.set == 0 {
		may[1] = ""
	}
	if v := values["/shared/comment"]; !slices.Contains(may, v) || values["/private/comment"] != v {
		t.Errorf("annotations %q, want one of %q", values, may)
	}
	if was.set == 0 {
		return
	}
	rights := m.ACL.Get(AccountIdentifier(team[1].id))
	if rights != teamRights(was.set) && rights != teamRights(is.set) {
		t.Errorf("rights %v after step %d", rights, was.set)
	}
	if key, err := team[1].URLKey(m.ID); err != nil || len(key) != URLKeySize {
		t.Errorf("the key is %x, %v", key, err)
	}
	for uid := range was.seen {
		if _, stays := is.boxes[0][uid]; !stays {
			continue
		}
		rows, err := team[0].ByLogin(team[1].id).Rows(m.Space, []imap.UID{uid}, nil)
		if err != nil || len(rows) != 1 || rows[0].Flags&FlagSeen == 0 {
			t.Errorf("UID %d is not \\Seen: %+v, %v", uid, rows, err)
		}
	}
}

func teamSum(n int) []byte {
	sum := sha256.Sum256([]byte(teamMessage(n)))
	return sum[:]
}
