package storage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A powerState is what a worker's mailboxes hold: by name and UID, what a
// message is and its flags.
type powerState map[string]map[imap.UID]powerMessage

type powerMessage struct{ sum, flags string }

func (s powerState) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s:", name)
		for _, uid := range slices.Sorted(maps.Keys(s[name])) {
			fmt.Fprintf(&b, " %d=%s[%s]", uid, s[name][uid].sum, s[name][uid].flags)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (s powerState) uids(name string) []imap.UID { return slices.Sorted(maps.Keys(s[name])) }

// readPowerStates reads all mailboxes and messages, by worker, as text.
func readPowerStates(a *Account, workers int) (texts []string, err error) {
	states, err := loadPowerStates(a, workers)
	for _, s := range states {
		texts = append(texts, s.text())
	}
	return texts, err
}

func loadPowerStates(a *Account, workers int) ([]powerState, error) {
	boxes, err := a.Mailboxes()
	if err != nil {
		return nil, err
	}
	states := make([]powerState, workers)
	for i := range states {
		states[i] = powerState{}
	}
	for _, m := range boxes {
		var number int
		if n, _ := fmt.Sscanf(m.Name, "w%d/", &number); n != 1 {
			continue
		}
		if states[number][m.Name], err = readPowerBox(a, m); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return states, nil
}

// loadKept reads what can be restored of a worker's mailboxes.
func (w *powerWorker) loadKept() error {
	for name := range w.now {
		err := w.a.Kept(context.Background(), KeptFilter{Mailbox: name}, func(page []KeptMessage) error {
			for i := range page {
				m := &page[i]
				sum, err := blobSum(w.a, &m.Row)
				if err != nil {
					return err
				}
				if w.kept[name] == nil {
					w.kept[name] = map[imap.UID]powerMessage{}
				}
				flags := slices.DeleteFunc(slices.Clone(m.Flags), func(f imap.Flag) bool { return f == imap.FlagDeleted })
				w.kept[name][m.UID] = powerMessage{sum, flagText(flags)}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func readPowerBox(a *Account, m Mailbox) (map[imap.UID]powerMessage, error) {
	box := map[imap.UID]powerMessage{}
	uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 1000))
	if err != nil {
		return nil, err
	}
	rows, err := a.Rows(m.Space, uids, nil)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		sum, err := blobSum(a, &row)
		if err != nil {
			return nil, err
		}
		box[row.UID] = powerMessage{sum, flagText(m.FlagNames(row.Flags))}
	}
	return box, nil
}

// blobSum reads a message's bytes.
func blobSum(a *Account, row *Row) (string, error) {
	b, err := a.OpenBlob(row.Blob)
	if err != nil {
		return "", err
	}
	defer b.Close()
	h := sha256.New()
	n, err := b.WriteRange(h, 0, b.Size())
	if err == nil && n != row.Size {
		err = ErrCorrupt
	}
	if err != nil {
		return "", fmt.Errorf("UID %d: %d bytes of %d: %w", row.UID, n, row.Size, err)
	}
	return shortSum(h.Sum(nil)), nil
}

func shortSum(b []byte) string { return fmt.Sprintf("%x", b[:4]) }

func flagText(flags []imap.Flag) string {
	words := make([]string, len(flags))
	for i, f := range flags {
		words[i] = string(f)
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

// A powerWorker takes steps, one after the other, in mailboxes of its own.
type powerWorker struct {
	number int
	a      *Account
	note   func(eventKind) // tells that a step begins, or is done
	random *rand.Rand
	now    powerState
	kept   powerState // what was expunged, and can be restored
	after  []string   // the state after each step begun
	serial int
}

const powerSteps = 150

func (w *powerWorker) box(name string) string { return fmt.Sprintf("w%d/%s", w.number, name) }

func (w *powerWorker) work() error {
	for step := range powerSteps {
		what, do := w.step(step)
		w.after = append(w.after, w.now.text())
		w.note(eventBegin)
		if err := do(); err != nil {
			return fmt.Errorf("worker %d, step %d: %s: %w", w.number, step, what, err)
		}
		w.note(eventDone)
	}
	return nil
}

// step changes the state as the next step will, and returns how to do it.
func (w *powerWorker) step(number int) (what string, do func() error) {
	first, second := w.box("first"), w.box("second")
	switch {
	case w.now[first] == nil:
		return w.create(first)
	case w.now[second] == nil:
		return w.create(second)
	case number == powerSteps/2 && w.number == 0:
		return "fill volume 0", w.fillFirstVolume
	}
	from, to := first, second
	if w.random.IntN(2) == 0 {
		from, to = second, first
	}
	n := len(w.now[from])
	switch dice := w.random.IntN(100); {
	case n < 3 || dice < 25:
		return w.append(from)
	case dice < 60:
		return w.store(from)
	case dice < 68 && len(w.now[to]) < 30:
		return w.copy(from, to, false)
	case dice < 78 && len(w.now[to]) < 30:
		return w.copy(from, to, true)
	case dice < 88:
		return w.expunge(from)
	case dice < 90:
		return "fold", w.a.fold
	case dice < 91:
		return "rest", w.rest
	case dice < 92:
		return "compact", func() error { return w.a.Compact(context.Background(), true) }
	case dice < 95 && len(w.kept[from]) > 0:
		return w.restore(from)
	case dice < 97:
		return w.purge(from)
	}
	return w.names()
}

func (w *powerWorker) create(name string) (string, func() error) {
	w.now[name] = map[imap.UID]powerMessage{}
	return "create " + name, func() error { _, err := w.a.CreateMailbox(name); return err }
}

// fillFirstVolume sends all further bodies to volumes of their own.
func (w *powerWorker) fillFirstVolume() error {
	return w.a.exec(func(f *files) error { f.blobs.bodies = firstBodies(&Options{}); return nil })
}

// rest closes the account's files if nobody uses them just now.
func (w *powerWorker) rest() error {
	w.a.closeAtRest()
	return nil
}

// next is the UID that the next message of a mailbox gets: only this worker
// writes there.
func (w *powerWorker) nextUID(name string) (imap.UID, error) {
	m, err := w.a.MailboxByName(name)
	return m.UIDNext, err
}

func (w *powerWorker) some(name string) []imap.UID {
	uids := w.now.uids(name)
	w.random.Shuffle(len(uids), func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
	uids = uids[:1+w.random.IntN(min(5, len(uids)))]
	slices.Sort(uids)
	return uids
}

// append adds one to three messages in one request.
func (w *powerWorker) append(name string) (string, func() error) {
	next, err := w.nextUID(name)
	var texts []string
	var flags [][]imap.Flag
	for range 1 + w.random.IntN(3) {
		w.serial++
		size := 100 + w.random.IntN(3000)
		if w.random.IntN(20) == 0 {
			size = stagedMax + w.random.IntN(stagedMax/4) // goes to the disk before Append
		}
		texts = append(texts, w.text(size))
		flags = append(flags, [][]imap.Flag{nil, {imap.FlagSeen}, {"kw1", imap.FlagFlagged}}[w.random.IntN(3)])
	}
	for i, text := range texts {
		sum := sha256.Sum256([]byte(text))
		w.now[name][next+imap.UID(i)] = powerMessage{shortSum(sum[:]), flagText(flags[i])}
	}
	return "append", func() error {
		if err != nil {
			return err
		}
		m, err := w.a.MailboxByName(name)
		if err != nil {
			return err
		}
		var msgs []NewMessage
		for i, text := range texts {
			u, err := w.a.NewUpload(-1)
			if err != nil {
				return err
			}
			if _, err := u.Write([]byte(text)); err != nil {
				return err
			}
			if err := u.Close(); err != nil {
				return err
			}
			msgs = append(msgs, NewMessage{Upload: u, Flags: flags[i], Date: time.Unix(1e9, 0)})
		}
		res, err := w.a.Append(m.ID, msgs)
		if err == nil && res.UIDs[0] != next {
			err = fmt.Errorf("UID %d, not %d", res.UIDs[0], next)
		}
		return err
	}
}

// text makes a message of about size bytes that do not compress.
func (w *powerWorker) text(size int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: %d of %d\r\nMessage-ID: <%d.%d@example.org>\r\n\r\n", w.serial, w.number, w.serial, w.number)
	for b.Len() < size {
		fmt.Fprintf(&b, "%016x%016x%016x\r\n", w.random.Uint64(), w.random.Uint64(), w.random.Uint64())
	}
	return b.String()
}

func (w *powerWorker) store(name string) (string, func() error) {
	uids := w.some(name)
	flag := []imap.Flag{imap.FlagSeen, imap.FlagFlagged, imap.FlagDeleted, "kw1", "kw2"}[w.random.IntN(5)]
	mode := []StoreMode{StoreAdd, StoreAdd, StoreRemove}[w.random.IntN(3)]
	for _, uid := range uids {
		m := w.now[name][uid]
		flags := slices.DeleteFunc(strings.Fields(m.flags), func(f string) bool { return f == string(flag) })
		if mode == StoreAdd {
			flags = append(flags, string(flag))
		}
		slices.Sort(flags)
		w.now[name][uid] = powerMessage{m.sum, strings.Join(flags, " ")}
	}
	return "store", func() error {
		m, err := w.a.MailboxByName(name)
		if err == nil {
			_, err = w.a.StoreFlags(m.ID, StoreRequest{UIDs: uids, Mode: mode, Flags: []imap.Flag{flag}})
		}
		return err
	}
}

func (w *powerWorker) copy(from, to string, move bool) (string, func() error) {
	uids := w.some(from)
	next, err := w.nextUID(to)
	for i, uid := range uids {
		w.now[to][next+imap.UID(i)] = w.now[from][uid]
		if move {
			delete(w.now[from], uid)
		}
	}
	return "copy", func() error {
		if err != nil {
			return err
		}
		src, err1 := w.a.MailboxByName(from)
		dst, err2 := w.a.MailboxByName(to)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		_, err := w.a.Copy(src.ID, uids, dst.ID, move)
		return err
	}
}

func (w *powerWorker) expunge(name string) (string, func() error) {
	for uid, m := range w.now[name] {
		if slices.Contains(strings.Fields(m.flags), string(imap.FlagDeleted)) {
			delete(w.now[name], uid)
			m.flags = strings.TrimSpace(strings.ReplaceAll(m.flags, string(imap.FlagDeleted), ""))
			m.flags = strings.Join(strings.Fields(m.flags), " ")
			if w.kept[name] == nil {
				w.kept[name] = map[imap.UID]powerMessage{}
			}
			w.kept[name][uid] = m
		}
	}
	return "expunge", func() error {
		m, err := w.a.MailboxByName(name)
		if err == nil {
			_, err = w.a.Expunge(m.ID, nil)
		}
		return err
	}
}

// purge erases some messages.
func (w *powerWorker) purge(name string) (string, func() error) {
	uids := w.some(name)
	for _, uid := range uids {
		delete(w.now[name], uid)
	}
	return "purge", func() error {
		_, err := w.a.Purge(context.Background(), Criteria{Mailbox: name, UIDs: imap.UIDSetNum(uids...)}, false)
		return err
	}
}

// restore brings back all that was expunged in a mailbox.
func (w *powerWorker) restore(name string) (string, func() error) {
	next, err := w.nextUID(name)
	for _, uid := range w.kept.uids(name) {
		w.now[name][next] = w.kept[name][uid]
		next++
	}
	n := int64(len(w.kept[name]))
	delete(w.kept, name)
	return "restore", func() error {
		if err != nil {
			return err
		}
		res, err := w.a.RestoreKept(context.Background(), KeptFilter{Mailbox: name})
		if err == nil && res.Messages != n {
			err = fmt.Errorf("%d messages restored, not %d", res.Messages, n)
		}
		return err
	}
}

// names makes, renames and deletes a mailbox, with messages in it.
func (w *powerWorker) names() (string, func() error) {
	x, y := w.box("x"), w.box("tree/y")
	switch {
	case w.now[x] == nil && w.now[y] == nil:
		return w.create(x)
	case w.now[x] != nil && (len(w.now[x]) == 0 || w.random.IntN(2) == 0):
		return w.append(x)
	case w.now[x] != nil && w.now[y] == nil:
		w.now[y] = w.now[x]
		delete(w.now, x)
		return "rename", func() error { return w.a.RenameMailbox(x, y) }
	}
	delete(w.now, y)
	return "delete", func() error { return w.a.DeleteMailbox(y) }
}
