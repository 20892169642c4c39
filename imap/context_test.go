package imap

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var contextSeed = flag.Uint64("context-seed", 0, "seed of TestContextsFollow; 0: one of its own")

// TestContextsFollow: a client that applies ADDTO and REMOVEFROM has, after
// whatever other sessions and it did, what a new search finds, in its order.
func TestContextsFollow(t *testing.T) {
	t.Parallel()
	seed := *contextSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-context-seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	box := newTestBox(t, nil)
	c, other := box.login(), box.login()
	message := func() string {
		return fmt.Sprintf("From: %c@example.org\r\nSubject: s%d\r\n\r\n%s\r\n", 'a'+rune(random.IntN(5)), random.IntN(3), []string{"red", "green", "blue"}[random.IntN(3)])
	}
	for range 20 {
		other.append("INBOX", "", message())
	}
	other.ok("SELECT INBOX")
	c.ok("SELECT INBOX")
	f := &contextFollower{t: t}
	commands := []string{
		"UID SEARCH RETURN (UPDATE ALL) UNSEEN",
		"SEARCH RETURN (UPDATE ALL) FLAGGED",
		"UID SEARCH RETURN (UPDATE ALL) OR BODY green KEYWORD k",
		"SEARCH RETURN (UPDATE ALL) NOT SEEN NOT DELETED",
		"UID SORT RETURN (UPDATE ALL) (FROM) UTF-8 UNSEEN",
		"SORT RETURN (UPDATE ALL) (REVERSE SUBJECT ARRIVAL) UTF-8 NOT KEYWORD k",
		"UID SORT RETURN (UPDATE ALL) (REVERSE ARRIVAL) UTF-8 OR FLAGGED BODY red",
	}
	for _, command := range commands {
		tag := c.start(command)
		f.all = append(f.all, &followed{tag: tag, uid: strings.HasPrefix(command, "UID")})
		lines, status := c.finish(tag)
		if !strings.HasPrefix(status, "OK") {
			t.Fatalf("%s: %s", command, status)
		}
		f.take(lines)
	}
	flags := []string{`\Seen`, `\Flagged`, `\Deleted`, "k"}
	store := func(who *testClient) []string {
		n := random.IntN(30) + 1
		return who.ok(fmt.Sprintf("UID STORE %d:%d %cFLAGS (%s)", n, n+random.IntN(6), "+-"[random.IntN(2)], flags[random.IntN(len(flags))]))
	}
	for round := range 150 {
		for range 1 + random.IntN(4) {
			switch random.IntN(6) {
			case 0:
				other.append("INBOX", "", message())
			case 1:
				other.ok("EXPUNGE")
			case 2:
				f.take(store(c))
			default:
				store(other)
			}
		}
		f.take(c.ok("NOOP"))
		if round%5 != 0 {
			continue
		}
		for i, x := range f.all {
			again := strings.Replace(commands[i], "UPDATE ", "", 1)
			lines := c.ok(again)
			want := &followed{}
			if at := strings.Index(lines[0], " ALL "); at >= 0 {
				want.numbers = expandSet(t, lines[0][at+len(" ALL "):])
			}
			if !slices.Equal(x.numbers, want.numbers) {
				t.Fatalf("round %d, %s: followed %v, a search finds %v", round, commands[i], x.numbers, want.numbers)
			}
		}
	}
}

// A contextFollower is a client that keeps results as it is told.
type contextFollower struct {
	t   *testing.T
	all []*followed
}

type followed struct {
	tag     string
	uid     bool
	numbers []int
}

var contextChange = regexp.MustCompile(`(ADDTO|REMOVEFROM) \((\d+) ([\d:,]+)\)`)

func (f *contextFollower) take(lines []string) {
	for _, line := range lines {
		var n int
		if _, err := fmt.Sscanf(line, "* %d EXPUNGE", &n); err == nil && strings.HasSuffix(line, "EXPUNGE") {
			for _, x := range f.all {
				x.expunge(f.t, n)
			}
		}
		for _, x := range f.all {
			if !strings.HasPrefix(line, `* ESEARCH (TAG "`+x.tag+`")`) {
				continue
			}
			if at := strings.Index(line, " ALL "); at >= 0 {
				x.numbers = expandSet(f.t, line[at+len(" ALL "):])
			}
			for _, m := range contextChange.FindAllStringSubmatch(line, -1) {
				at, _ := strconv.Atoi(m[2])
				x.change(f.t, m[1] == "ADDTO", at, expandSet(f.t, m[3]))
			}
		}
	}
}

// expunge shifts sequence numbers; the message itself was taken out before.
func (x *followed) expunge(t *testing.T, n int) {
	for i, at := range x.numbers {
		switch {
		case x.uid:
		case at == n:
			t.Errorf("%d was expunged before it was removed", n)
		case at > n:
			x.numbers[i]--
		}
	}
}

func (x *followed) change(t *testing.T, add bool, at int, numbers []int) {
	switch {
	case add && at == 0:
		x.numbers = append(x.numbers, numbers...)
		slices.Sort(x.numbers)
	case add:
		x.numbers = slices.Insert(x.numbers, at-1, numbers...)
	case at == 0:
		x.numbers = slices.DeleteFunc(x.numbers, func(n int) bool { return slices.Contains(numbers, n) })
	default:
		if got := x.numbers[at-1 : at-1+len(numbers)]; !slices.Equal(got, numbers) {
			t.Errorf("%v is to be removed at %d, where %v is", numbers, at, got)
		}
		x.numbers = slices.Delete(x.numbers, at-1, at-1+len(numbers))
	}
}

func expandSet(t *testing.T, set string) (numbers []int) {
	for part := range strings.SplitSeq(set, ",") {
		lo, hi, ok := strings.Cut(part, ":")
		first, err := strconv.Atoi(lo)
		last := first
		if ok && err == nil {
			last, err = strconv.Atoi(hi)
		}
		if err != nil || last < first {
			t.Fatalf("set %q", set)
		}
		for n := first; n <= last; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
