package storage

import (
	"bytes"
	"testing"
)

// TestURLKeys: keys stay until they are changed, or their mailbox is deleted.
func TestURLKeys(t *testing.T) {
	t.Parallel()
	_, a := openTest(t)
	inbox := inbox(t, a)
	other, err := a.CreateMailbox("Other")
	must(t, err)
	key := func(id MailboxID) []byte {
		t.Helper()
		k, err := a.URLKey(id)
		must(t, err)
		return k
	}
	if k := key(inbox.ID); k != nil {
		t.Fatalf("a key that nobody made: %x", k)
	}
	must(t, a.DropURLKeys()) // there is not even a bucket
	first, err := a.MakeURLKey(inbox.ID, false)
	must(t, err)
	again, err := a.MakeURLKey(inbox.ID, false)
	must(t, err)
	if len(first) != URLKeySize || !bytes.Equal(first, again) {
		t.Errorf("%x, then %x", first, again)
	}
	fresh, err := a.MakeURLKey(inbox.ID, true)
	must(t, err)
	if bytes.Equal(fresh, first) || !bytes.Equal(key(inbox.ID), fresh) || a.URLKeyChanges(inbox.ID) != 1 {
		t.Errorf("%x, then %x; %d changes", first, fresh, a.URLKeyChanges(inbox.ID))
	}
	_, err = a.MakeURLKey(other.ID, false)
	must(t, err)
	must(t, a.DeleteMailbox("Other"))
	if k := key(other.ID); k != nil {
		t.Errorf("the deleted mailbox has a key: %x", k)
	}
	a.closeAtRest()
	must(t, a.Compact(t.Context(), true)) // keys are copied
	if !bytes.Equal(key(inbox.ID), fresh) {
		t.Error("another key after a compaction")
	}
	must(t, a.DropURLKeys())
	if k := key(inbox.ID); k != nil {
		t.Errorf("a key after all were dropped: %x", k)
	}
	sound(t, a)
}
