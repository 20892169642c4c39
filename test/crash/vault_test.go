package crash

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
	"nestbox/test/raw"
	"nestbox/test/tap"
)

// A vault takes backups of the data folder and restores from them. What was in
// its mailbox when a backup began that ended well is in the backup from then
// on, whatever becomes of later ones.
type vault struct {
	s      *scene
	dir    string // of the backup, and of what is restored
	random *rand.Rand
	serial int

	mu    sync.Mutex
	rests bool            // nothing is appended
	acked map[string]bool // sums of the messages that must be in the mailbox
	sent  map[string]bool // of all that may be
	floor map[string]bool // of those that must be in the backup; nil: there is none
}

const (
	vaultMailbox = "vault"
	// vaultMessages are appended in a round.
	vaultMessages = 8
)

func newVault(s *scene, dir string) *vault {
	return &vault{s: s, dir: dir, random: rand.New(rand.NewPCG(s.random.Uint64(), 6)), acked: map[string]bool{}, sent: map[string]bool{}}
}

func (v *vault) backup() string { return filepath.Join(v.dir, "backup") }

// work appends some messages.
func (v *vault) work(c *raw.Conn, stop <-chan struct{}) error {
	for range vaultMessages {
		if v.rests || closed(stop) {
			return nil
		}
		v.serial++
		body := makeMessage(v.random, fmt.Sprintf("vault.%d", v.serial), 200+v.random.IntN(20000))
		v.mu.Lock()
		v.sent[sum(body)] = true
		v.mu.Unlock()
		err := c.Append(vaultMailbox, "", body)
		var status *raw.StatusError
		if errors.As(err, &status) {
			return fmt.Errorf("vault: %w", err)
		}
		if err != nil {
			return nil
		}
		v.mu.Lock()
		v.acked[sum(body)] = true
		v.mu.Unlock()
	}
	return nil
}

// take takes one backup.
func (v *vault) take(ctx context.Context) error {
	v.mu.Lock()
	floor := maps.Clone(v.acked)
	v.mu.Unlock()
	v.s.board.begin("", "backup")
	defer v.s.board.end("", "backup")
	if _, err := v.s.tool.Run(ctx, "", "backup", v.backup()); err != nil {
		return err
	}
	v.floor = floor
	return nil
}

// backupLoad: backups are taken while the clients work.
func (s *scene) backupLoad(r *round) error {
	return s.toolLoad(r, s.vault.take)
}

// restoreMessagesLoad: messages are deleted, and brought back from the backup.
func (s *scene) restoreMessagesLoad(r *round) error {
	v := s.vault
	if err := s.firstBackup(r); err != nil {
		return s.unlessKilled(r, err)
	}
	// Its mailbox is emptied, and the backup brings back what it has.
	v.rests, v.acked = true, map[string]bool{}
	c, err := r.server.Connect(accounts[0], password)
	if err == nil {
		err = errors.Join(c.Recreate(vaultMailbox), c.Close())
	}
	if err != nil {
		return s.unlessKilled(r, err)
	}
	return s.toolLoad(r, func(ctx context.Context) error {
		if err := v.bringBack(ctx); err != nil {
			return err
		}
		c, err := r.server.Connect(accounts[0], password)
		if err != nil {
			return err
		}
		return errors.Join(c.Recreate(vaultMailbox), c.Close())
	})
}

func (v *vault) bringBack(ctx context.Context) error {
	v.s.board.begin("", "restore of messages")
	defer v.s.board.end("", "restore of messages")
	_, err := v.s.tool.Run(ctx, "", "restore", "--account", accounts[0], "--from", v.backup(), "--mailbox", vaultMailbox)
	return err
}

// restoreFolderLoad: a data folder is made of the backup.
func (s *scene) restoreFolderLoad(r *round) error {
	if err := s.firstBackup(r); err != nil {
		return s.unlessKilled(r, err)
	}
	return s.toolLoad(r, s.vault.restoreFolder)
}

// firstBackup makes sure that there is one; it isn't what is to be killed.
func (s *scene) firstBackup(r *round) error {
	if s.vault.floor != nil {
		return nil
	}
	go1, go2 := s.trigger.hold(), s.toolTrigger.hold()
	defer go1()
	defer go2()
	ctx, cancel := r.alive()
	defer cancel()
	return s.vault.take(ctx)
}

func (v *vault) restored() string { return filepath.Join(v.dir, "restored") }

func (v *vault) restoreFolder(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(v.restored(), "nestbox.id")); err == nil { // it is complete
		if err := os.RemoveAll(v.restored()); err != nil {
			return err
		}
	}
	n := *v.s.tool
	n.Data = v.restored()
	if _, err := n.Run(ctx, "", "restore", v.backup()); err != nil {
		return err
	}
	return v.holds(v.restored())
}

// toolLoad does something again and again while the clients work. It may fail
// when it, or the server, was killed.
func (s *scene) toolLoad(r *round, do func(ctx context.Context) error) error {
	if err := s.begin(r); err != nil {
		return s.unlessKilled(r, err)
	}
	ctx, cancel := r.alive()
	defer cancel()
	for ctx.Err() == nil && !s.toolTrigger.hit() {
		if err := do(ctx); err != nil {
			if s.toolTrigger.hit() {
				break
			}
			return s.unlessKilled(r, err)
		}
	}
	if !s.toolTrigger.hit() {
		return nil
	}
	select { // the server lives on for a moment
	case <-r.server.Done():
		return nil
	case <-time.After(time.Duration(s.random.IntN(100)) * time.Millisecond):
		return r.server.Kill()
	}
}

// verify looks at the backup as a kill has left it, and at what is made of it.
func (v *vault) verify() error {
	if v.floor == nil {
		return nil
	}
	to := v.restored() + ".again"
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	_, err := storage.RestoreDir(context.Background(), v.backup(), to, storage.Options{Version: "test", NoSync: true})
	if err != nil {
		return fmt.Errorf("the backup %s: %w", v.backup(), err)
	}
	return errors.Join(v.holds(to), os.RemoveAll(to))
}

// holds looks whether a restored data folder is sound and has what it must.
func (v *vault) holds(dir string) error {
	if err := check(dir); err != nil {
		return err
	}
	st, err := storage.Open(dir, storage.Options{Version: "test", NoSync: true})
	if err != nil {
		return err
	}
	times, err := sumsOf(st, accounts[0], vaultMailbox)
	if err := errors.Join(err, st.Close()); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for m := range v.floor {
		if times[m] != 1 {
			return fmt.Errorf("%s: a message of the backup is there %d times", dir, times[m])
		}
	}
	for m := range times {
		if !v.sent[m] {
			return fmt.Errorf("%s: a message that nobody sent", dir)
		}
	}
	return nil
}

// sumsOf reads all messages of a mailbox.
func sumsOf(st *storage.Store, account, name string) (times map[string]int, err error) {
	info, err := st.FindAccount(account)
	if err != nil {
		return nil, err
	}
	a, err := st.Account(info.ID)
	if err != nil {
		return nil, err
	}
	m, err := a.MailboxByName(name)
	if err != nil {
		return nil, err
	}
	times = map[string]int{}
	uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 5000))
	if err != nil {
		return nil, err
	}
	for len(uids) > 0 {
		n := min(len(uids), 500)
		rows, err := a.Rows(m.Space, uids[:n], nil)
		if err != nil {
			return nil, err
		}
		uids = uids[n:]
		for _, row := range rows {
			b, err := a.OpenBlob(row.Blob)
			if err != nil {
				return nil, err
			}
			h := sha256.New()
			_, err = b.WriteRange(h, 0, b.Size())
			b.Close()
			if err != nil {
				return nil, err
			}
			times[fmt.Sprintf("%x", h.Sum(nil)[:8])]++
		}
	}
	return times, nil
}

// settle looks whether what was acknowledged is in the mailbox, after all of
// the backup was brought back.
func (v *vault) settle(c *raw.Conn) error {
	if v.floor != nil {
		if err := v.bringBack(context.Background()); err != nil {
			return err
		}
		maps.Copy(v.acked, v.floor)
	}
	box, err := readMailbox(c, vaultMailbox, true)
	if err != nil {
		return err
	}
	times := map[string]int{}
	for _, m := range box.messages {
		times[m.sum]++
	}
	for m := range v.acked {
		if times[m] != 1 {
			return fmt.Errorf("vault: an acknowledged message is there %d times", times[m])
		}
	}
	for m := range times {
		if !v.sent[m] {
			return errors.New("vault: a message that nobody sent")
		}
		v.acked[m] = true
	}
	return nil
}

// toolOptions let the trigger of the commands see what they write.
func (s *scene) toolOptions(dir string) *tap.Options {
	return &tap.Options{Root: dir, NoSync: true, Before: s.toolTrigger.before, After: s.toolTrigger.done}
}
