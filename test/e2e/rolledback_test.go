package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// A rollback is a server with an account whose files are put back to what they
// were at an earlier time: one of them by hand, or all by a backup that was
// taken then.
type rollback struct {
	*testing.T
	n      *rig.Nestbox
	l      login
	server *rig.Server
	kept   string
	backup bool
}

func newRollback(t *testing.T, backup bool) *rollback {
	n, l := oneAccount(t)
	r := &rollback{T: t, n: n, l: l, kept: t.TempDir(), backup: backup}
	r.start()
	return r
}

// bothWays runs a test with an index that is put back by hand, and with a
// data folder that is restored as a whole.
func bothWays(t *testing.T, test func(t *testing.T, r *rollback)) {
	t.Parallel()
	for name, backup := range map[string]bool{"index put back": false, "folder restored": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newRollback(t, backup))
		})
	}
}

func (r *rollback) start() {
	r.Helper()
	r.server = start(r.T, r.n)
	r.l = r.l.at(r.server)
}

func (r *rollback) stop() {
	r.Helper()
	if _, err := r.server.Stop(); err != nil {
		r.Fatal(err)
	}
}

// index is the file that comes from an earlier time.
func (r *rollback) index() string {
	r.Helper()
	all, err := filepath.Glob(filepath.Join(r.n.Data, "accounts", "*", "mail.db"))
	if err != nil || len(all) != 1 {
		r.Fatal(all, err)
	}
	return all[0]
}

func (r *rollback) copy(to, from string) {
	r.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// keep keeps the files as they are now.
func (r *rollback) keep() {
	r.Helper()
	if r.backup {
		takeBackup(r.T, r.n, filepath.Join(r.kept, "backup"))
		return
	}
	r.stop()
	r.copy(filepath.Join(r.kept, "mail.db"), r.index())
	r.start()
}

// back puts them back.
func (r *rollback) back() {
	r.Helper()
	r.stop()
	if r.backup {
		r.n.Data = filepath.Join(r.kept, "restored")
		command(r.T, r.n, "", "restore", filepath.Join(r.kept, "backup"))
	} else {
		r.copy(r.index(), filepath.Join(r.kept, "mail.db"))
	}
	r.start()
}

// later is what happens between keep and back: an expunge, flags, a mailbox
// and new messages, of which one takes the place of others' UIDs afterwards.
func (r *rollback) later(c *raw.Conn, news [][]byte) {
	r.Helper()
	if _, err := c.Select("INBOX"); err != nil {
		r.Fatal(err)
	}
	for _, cmd := range []string{`STORE 1 +FLAGS (\Flagged)`, `STORE 2 +FLAGS (\Deleted)`, "EXPUNGE", "CREATE Later"} {
		if err := c.Do(cmd, nil); err != nil {
			r.Fatal(err)
		}
	}
	appendAll(r.T, c, "INBOX", news[:2])
	appendAll(r.T, c, "Later", news[2:])
}

// TestRolledBackForImapflow: a client that goes by UIDVALIDITY, UIDs and
// MODSEQ sees exactly what the restored account has.
func TestRolledBackForImapflow(t *testing.T) {
	need(t, "node", "npm")
	bothWays(t, rolledBackForImapflow)
}

func rolledBackForImapflow(t *testing.T, r *rollback) {
	dir := imapflow(t)
	script := imapflowScript(t, dir, "imapflow_cache.mjs")
	cache := filepath.Join(r.kept, "cache.json")
	type message struct {
		SHA256 string   `json:"sha256"`
		Flags  []string `json:"flags"`
	}
	type box struct {
		UIDValidity string             `json:"uidValidity"`
		Messages    map[string]message `json:"messages"`
	}
	// sync has the client bring its cache up to date, and compares it with
	// what a plain connection sees.
	sync := func(when string) map[string]box {
		t.Helper()
		run(t, dir, "node", script, r.l.host(), r.l.tlsPort(), r.l.user, r.l.password, cache)
		b, err := os.ReadFile(cache)
		all := map[string]box{}
		if err == nil {
			err = json.Unmarshal(b, &all)
		}
		if err != nil {
			t.Fatal(err)
		}
		c := r.l.connect(t)
		for name, b := range all {
			var got, want []string
			for uid, m := range b.Messages {
				got = append(got, fmt.Sprint(uid, " ", m.SHA256, " ", m.Flags))
			}
			want = messageStates(t, c, name)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: the client has of %s\n%s\nthe server has\n%s", when, name, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		return all
	}
	all := mails()
	appendAll(t, r.l.connect(t), "INBOX", all[:3])
	first := sync("at first")
	r.keep()
	r.later(r.l.connect(t), all[3:])
	later := sync("later")
	if len(later["INBOX"].Messages) != 4 || len(later["Later"].Messages) != 2 {
		t.Fatalf("%v", later)
	}
	r.back()
	restored := sync("after the rollback")
	if !r.backup && !strings.Contains(r.server.Log(), "account_rolled_back") {
		t.Error("the log says nothing")
	}
	if restored["INBOX"].UIDValidity == first["INBOX"].UIDValidity || !maps.EqualFunc(restored["INBOX"].Messages, first["INBOX"].Messages,
		func(a, b message) bool { return a.SHA256 == b.SHA256 && slices.Equal(a.Flags, b.Flags) }) {
		t.Errorf("restored: %v, at first it was %v", restored["INBOX"], first["INBOX"])
	}
	if _, ok := restored["Later"]; ok {
		t.Error("a mailbox of the lost time is still there")
	}
	// New mail takes UIDs that the client has known as other messages.
	appendAll(t, r.l.connect(t), "INBOX", all[5:])
	sync("after new mail")
}

// messageStates lists UID, SHA-256 and flags of the messages of a mailbox.
func messageStates(t *testing.T, c *raw.Conn, mailbox string) (all []string) {
	t.Helper()
	n, err := c.Select(mailbox)
	if err != nil || n == 0 {
		if err != nil {
			t.Fatal(err)
		}
		return nil
	}
	if err := c.DoWhole("FETCH 1:* (UID FLAGS BODY.PEEK[])", func(r raw.Response) {
		var seq, uid int
		if _, err := fmt.Sscanf(r.Text, "* %d FETCH (UID %d", &seq, &uid); err != nil || len(r.Literals) != 1 {
			return
		}
		_, list, _ := strings.Cut(r.Text, "FLAGS (")
		list, _, _ = strings.Cut(list, ")")
		words := slices.DeleteFunc(strings.Fields(list), func(w string) bool { return w == `\Recent` })
		slices.Sort(words)
		sum := sha256.Sum256([]byte(r.Literals[0]))
		all = append(all, fmt.Sprint(uid, " ", hex.EncodeToString(sum[:]), " ", words))
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRolledBackForMbsync: what mbsync does when UIDVALIDITY has changed, and
// what its user does then (docs/restored-accounts.md).
func TestRolledBackForMbsync(t *testing.T) {
	need(t, "mbsync")
	bothWays(t, rolledBackForMbsync)
}

func rolledBackForMbsync(t *testing.T, r *rollback) {
	dir := t.TempDir()
	near := filepath.Join(dir, "mail")
	rc := mbsyncConfig(t, r.l, dir, near)
	sync := func() (string, error) {
		// The port is another one after each start.
		text, err := os.ReadFile(rc)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for i := range lines {
			if strings.HasPrefix(lines[i], "Port ") {
				lines[i] = "Port " + r.l.tlsPort()
			}
		}
		write(t, rc, "%s", strings.Join(lines, "\n"))
		return try(t, dir, "mbsync", "-c", rc, "-V", "-a")
	}
	must := func() {
		t.Helper()
		if out, err := sync(); err != nil {
			t.Fatalf("mbsync: %v\n%s", err, out)
		}
	}
	all := mails()
	appendAll(t, r.l.connect(t), "INBOX", all[:3])
	must()
	r.keep()
	r.later(r.l.connect(t), all[3:])
	must()
	got, names := maildir(t, filepath.Join(near, "INBOX"))
	sameTexts(t, "INBOX later", got, [][]byte{all[0], all[2], all[3], all[4]})
	r.back()
	nearBefore, farBefore := contentsBelow(t, near), states(t, r.l.connect(t), "INBOX", "Trash")
	out, err := sync()
	if err == nil || !strings.Contains(out, "far side box INBOX: Unable to recover from UIDVALIDITY change") {
		t.Errorf("mbsync: %v\n%s", err, out)
	}
	if after := contentsBelow(t, near); !maps.Equal(after, nearBefore) {
		t.Errorf("mbsync changed the Maildir from\n%v\nto\n%v", slices.Sorted(maps.Keys(nearBefore)), slices.Sorted(maps.Keys(after)))
	}
	if after := states(t, r.l.connect(t), "INBOX", "Trash"); after != farBefore {
		t.Errorf("mbsync changed the server from\n%s\nto\n%s", farBefore, after)
	}

	// What the user does: put the Maildirs aside and synchronize anew.
	aside := near + ".before"
	if err = os.Rename(near, aside); err == nil {
		err = os.Mkdir(near, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	must()
	got, _ = maildir(t, filepath.Join(near, "INBOX"))
	sameTexts(t, "INBOX anew", got, all[:3])
	if _, err := os.Stat(filepath.Join(near, "Later")); err == nil {
		t.Error("a mailbox of the lost time is there")
	}
	// And puts back what came in the lost time.
	for i, name := range names {
		b, err := os.ReadFile(strings.Replace(name, near, aside, 1))
		if err != nil {
			t.Fatal(err)
		}
		if known := sums(withoutTUID(all[:3])); known[sum(withoutTUID([][]byte{b})[0])] == 0 {
			deliver(t, filepath.Join(near, "INBOX"), fmt.Sprintf("170000000%d.back.host", i), b)
		}
	}
	must()
	want := [][]byte{all[0], all[1], all[2], all[3], all[4]}
	got, _ = maildir(t, filepath.Join(near, "INBOX"))
	sameTexts(t, "INBOX here at the end", got, want)
	sameTexts(t, "INBOX there at the end", contents(t, r.l.connect(t), "INBOX"), want)
}

// withoutTUID takes out the line that mbsync adds to a message on its way.
func withoutTUID(messages [][]byte) (all [][]byte) {
	for _, m := range messages {
		var lines [][]byte
		for _, l := range bytes.SplitAfter(m, []byte("\n")) {
			if !bytes.HasPrefix(l, []byte("X-TUID: ")) {
				lines = append(lines, l)
			}
		}
		all = append(all, bytes.Join(lines, nil))
	}
	return all
}

// contentsBelow are the messages in the Maildirs below dir by their names. A
// name loses nothing when mbsync looks at it.
func contentsBelow(t *testing.T, dir string) map[string]string {
	all := files(t, dir)
	maps.DeleteFunc(all, func(name, _ string) bool { return strings.HasPrefix(filepath.Base(name), ".") })
	return all
}
