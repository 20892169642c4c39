package storage

import (
	"sync"
	"testing"
)

// TestCompactTwice: several compactions at a time, as of the upkeep and of who
// erases mail, each make a whole file; none gives another's half the name.
func TestCompactTwice(t *testing.T) {
	t.Parallel()
	_, a := openTest(t)
	m := inbox(t, a)
	for i := range 200 {
		appendTo(t, a, m.ID, message(i))
	}
	setFlag(t, a, "\\Deleted", 1, 50, 100)
	if _, err := a.Expunge(m.ID, nil); err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 6)
	var running sync.WaitGroup
	for i := range errs {
		running.Go(func() { errs[i] = a.Compact(t.Context(), true) })
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	sound(t, a)
	if m := inbox(t, a); m.Messages != 197 {
		t.Errorf("%d messages", m.Messages)
	}
}
