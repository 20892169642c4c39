package storage

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

func annotate(t testing.TB, a *Account, id MailboxID, set ...Annotation) ModSeq {
	t.Helper()
	r := &AnnotationRequest{Mailbox: id, Set: set}
	if err := a.SetAnnotations(r); err != nil {
		t.Fatal(err)
	}
	return r.ModSeq
}

// annotationsOf is all that a mailbox has, of every login of the store.
func annotationsOf(t testing.TB, a *Account, id MailboxID) string {
	t.Helper()
	accounts, err := a.st.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, info := range accounts {
		found, err := a.Annotations(id, info.ID, func(string, int) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		for _, an := range found {
			fmt.Fprintf(&b, "%s:%s:%s=%q ", info.Name, an.Login, an.Entry, an.Value)
		}
	}
	return b.String()
}

// TestAnnotationsModel compares random changes with a map, over reopenings and
// compactions.
func TestAnnotationsModel(t *testing.T) {
	t.Parallel()
	_, a := openTest(t)
	random := rand.New(rand.NewSource(5))
	other := AccountID("bbbbbbbbbbbbbbbb")
	names := []string{"INBOX", "Sent", "Trash"}
	type key struct {
		box, entry string
		login      AccountID
	}
	model := map[key]string{}
	at, err := a.AnnotationsAt()
	if err != nil || at != 0 {
		t.Fatal(at, err)
	}
	for step := range 3000 {
		name := names[random.Intn(3)]
		m, err := a.MailboxByName(name)
		if err != nil {
			t.Fatal(err)
		}
		r := &AnnotationRequest{Mailbox: m.ID}
		var changed []string
		for range 1 + random.Intn(3) {
			entry := fmt.Sprintf("/private/e%d", random.Intn(40))
			k := key{name, entry, []AccountID{a.id, other, ""}[random.Intn(3)]}
			an := Annotation{Entry: strings.ToUpper(entry), Login: k.login}
			if value, had := model[k]; random.Intn(3) == 0 {
				delete(model, k)
				if had && k.login != other {
					changed = append(changed, entry)
				}
			} else {
				an.Value = []byte(fmt.Sprint(step))
				if model[k] = fmt.Sprint(step); value != fmt.Sprint(step) && k.login != other {
					changed = append(changed, entry)
				}
			}
			r.Set = append(r.Set, an)
			if slices.ContainsFunc(r.Set[:len(r.Set)-1], func(b Annotation) bool { return b.Entry == an.Entry && b.Login == an.Login }) {
				changed = nil // who knows
			}
		}
		if err := a.SetAnnotations(r); err != nil {
			t.Fatal(err)
		}
		news, upTo, more, err := a.AnnotationChanges(at, a.id)
		if err != nil || more || r.ModSeq != 0 && upTo != r.ModSeq {
			t.Fatal(upTo, r.ModSeq, more, err)
		}
		at = upTo
		for _, entry := range changed {
			if !slices.ContainsFunc(news, func(c AnnotationChange) bool {
				return c.Mailbox == m.ID && strings.EqualFold(c.Entry, entry) && c.ModSeq == r.ModSeq
			}) {
				t.Fatalf("step %d: %s of %s changed, and %v was told", step, entry, name, news)
			}
		}
		switch random.Intn(300) {
		case 0:
			sound(t, a)
		case 1:
			if err := a.Compact(t.Context(), true); err != nil {
				t.Fatal(err)
			}
		}
	}
	sound(t, a)
	count := 0
	for _, name := range names {
		m, _ := a.MailboxByName(name)
		for _, login := range []AccountID{a.id, other} {
			found, err := a.Annotations(m.ID, login, func(string, int) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			for _, an := range found {
				if want := model[key{name, strings.ToLower(an.Entry), an.Login}]; want != string(an.Value) {
					t.Errorf("%s %s %s is %s, not %s", name, an.Login, an.Entry, an.Value, want)
				}
				if an.Login != "" || login == other {
					count++
				}
			}
		}
	}
	if count != len(model) {
		t.Errorf("%d annotations, not %d", count, len(model))
	}
	// They go with their mailbox.
	if err := a.DeleteMailbox("Trash"); err != nil {
		t.Fatal(err)
	}
	sound(t, a)
}

func TestAnnotationsAreBounded(t *testing.T) {
	st, a := openTest(t)
	box := inbox(t, a)
	var limit *LimitError
	for _, an := range []Annotation{{Entry: "/private/x", Value: make([]byte, MaxAnnotation+1)}, {Entry: strings.Repeat("x", MaxAnnotationEntry+1)}} {
		if err := a.SetAnnotations(&AnnotationRequest{Mailbox: box.ID, Set: []Annotation{an}}); !errors.As(err, &limit) {
			t.Error(err)
		}
	}
	big := func(n int) Annotation {
		return Annotation{Entry: fmt.Sprintf("/private/n%d", n), Value: make([]byte, 60<<10)}
	}
	for n := range 17 {
		annotate(t, a, box.ID, big(n))
	}
	if err := a.SetAnnotations(&AnnotationRequest{Mailbox: box.ID, Set: []Annotation{big(17)}}); !errors.Is(err, ErrTooManyAnnotations) {
		t.Error(err)
	}
	annotate(t, a, box.ID, Annotation{Entry: "/private/n3"})
	annotate(t, a, box.ID, big(17))
	// The account as a whole: other logins are others' work, the limit is one.
	var err error
	n := 0
	for ; err == nil && n < 30; n++ {
		var m Mailbox
		if m, err = a.CreateMailbox(fmt.Sprint("box", n)); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 17 && err == nil; i++ {
			err = a.SetAnnotations(&AnnotationRequest{Mailbox: m.ID, Set: []Annotation{big(i)}})
		}
	}
	if !errors.Is(err, ErrOverQuota) || n != 16 {
		t.Errorf("mailbox %d: %v", n, err)
	}
	sound(t, a)
	if err := st.SetSetting("kept_days", "1"); err != nil {
		t.Fatal(err)
	}
}

func TestSpecialUseMoves(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	r := &AnnotationRequest{Mailbox: box.ID, SetUses: true, Uses: []imap.MailboxAttr{imap.MailboxAttrSent, imap.MailboxAttrJunk}}
	if err := a.SetAnnotations(r); err != nil || len(r.Lost) != 2 {
		t.Fatal(err, r.Lost)
	}
	if got := inbox(t, a); got.HighestModSeq <= box.HighestModSeq || !slices.Equal(got.SpecialUse, r.Uses) {
		t.Errorf("%+v", got)
	}
	at := r.ModSeq
	if err := a.SetAnnotations(r); err != nil || r.ModSeq != 0 || len(r.Lost) != 0 {
		t.Errorf("the same again: %v %+v", err, r)
	}
	news, upTo, _, err := a.AnnotationChanges(at-1, a.id)
	if err != nil || upTo != at || len(news) != 3 {
		t.Errorf("%v %v %v", news, upTo, err)
	}
	if news, _, _, err := a.AnnotationChanges(at-1, "another"); err != nil || len(news) != 0 {
		t.Errorf("another login was told %v, %v", news, err)
	}
	sound(t, a)
}

// A damaged row is neither shown nor overlooked.
func TestAnnotationDamaged(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	annotate(t, a, box.ID, Annotation{Entry: "/shared/comment", Value: []byte("sound")})
	change := func(with func(v []byte)) {
		t.Helper()
		if err := a.exec(func(f *files) error {
			return f.mail.Update(func(tx *bolt.Tx) error {
				rows := tx.Bucket(bucketAnnotations)
				key := annotationKey(box.ID, "", "/shared/comment")
				v := append([]byte(nil), rows.Get(key)...)
				with(v)
				return rows.Put(key, v)
			})
		}); err != nil {
			t.Fatal(err)
		}
	}
	change(func(v []byte) { v[len(v)-6] ^= 1 })
	if _, err := a.Annotations(box.ID, "", func(string, int) bool { return true }); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if findings, err := a.Check(); err != nil || len(findings) != 1 {
		t.Error(findings, err)
	}
	change(func(v []byte) { v[len(v)-6] ^= 1 })
	sound(t, a)
}
