package e2e

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nestbox/test/raw"
)

// clientDoveadm: Dovecot's doveadm over imapc brings a whole account with its
// folders and flags to Dovecot, what is new both ways, and deleted mailboxes back.
func clientDoveadm(t *testing.T, l login) {
	c, all := l.connect(t), mails()
	boxes := map[string][][]byte{"INBOX": all[:3], "Work/2023": all[3:5], "Gr&APwA3w-e": all[5:]}
	for _, box := range []string{"Work/2023", "Gr&APwA3w-e"} {
		if err := c.Do("CREATE "+box, nil); err != nil {
			t.Fatal(err)
		}
	}
	for box, messages := range boxes {
		appendAll(t, c, box, messages)
	}
	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{`STORE 1 +FLAGS (\Seen \Flagged)`, `STORE 2 +FLAGS (\Answered $Work)`, "CLOSE"} {
		if err := c.Do(cmd, nil); err != nil {
			t.Fatal(err)
		}
	}
	before := accountState(t, c, boxes)
	d := newDoveadm(t, l)

	d.run("backup", "-R", "imapc:") // from nestbox to Maildir
	for box, messages := range boxes {
		got, _ := maildir(t, d.folder(box))
		same(t, "Dovecot's "+box, got, messages)
	}
	// News on both sides, then both ways.
	news := []byte("From: near@example.org\r\nSubject: news\r\n\r\nfrom Dovecot\r\n")
	d.deliver(d.folder("INBOX"), "1700000000.M1P1.host", news)
	if _, err := c.Select("Work/2023"); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{`STORE 1 +FLAGS (\Seen $Read)`, "CLOSE"} {
		if err := c.Do(cmd, nil); err != nil {
			t.Fatal(err)
		}
	}
	d.run("sync", "imapc:")
	same(t, "INBOX after the sync", contents(t, c, "INBOX"), append(append([][]byte{}, boxes["INBOX"]...), news))
	synced := accountState(t, c, boxes)
	for what, state := range before {
		if strings.HasPrefix(what, "INBOX ") && synced[what] != state {
			t.Errorf("flags of %s: %q, were %q", what, synced[what], state)
		}
	}

	// Mailboxes that are gone here come back, with everything.
	for _, box := range []string{"Work/2023", "Gr&APwA3w-e"} {
		if err := c.Do("DELETE "+box, nil); err != nil {
			t.Fatal(err)
		}
	}
	d.run("backup", "imapc:")
	if after := accountState(t, c, boxes); !maps.Equal(after, synced) {
		t.Errorf("after it was put back:\n%v\nwant:\n%v", after, synced)
	}
}

// accountState is the flags of every message, by mailbox and Subject.
func accountState(t *testing.T, c *raw.Conn, boxes map[string][][]byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	for box := range boxes {
		for subject, f := range flags(t, c, box) {
			all[box+" "+subject] = f
		}
	}
	return all
}

// A doveadm is a Dovecot without its server, with one user and a Maildir.
type doveadm struct {
	t    *testing.T
	dir  string
	user *syscall.Credential // of whom the mail is; nil: ours
}

// newDoveadm makes the configuration. Dovecot touches no mail of root's, so
// that it is nobody's then.
func newDoveadm(t *testing.T, l login) *doveadm {
	t.Helper()
	// Not t.TempDir: nobody must enter.
	dir, err := os.MkdirTemp("", "doveadm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &doveadm{t: t, dir: dir}
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Skip(err)
		}
		uid, _ := strconv.ParseUint(nobody.Uid, 10, 32)
		gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
		d.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	d.own(os.Chmod(dir, 0o700), dir)
	home := filepath.Join(dir, "home")
	d.own(os.Mkdir(home, 0o700), home)
	config := filepath.Join(dir, "dovecot.conf")
	write(t, config, `base_dir = %[1]s/run
log_path = /dev/stderr
protocols =
ssl = no
first_valid_uid = 1
first_valid_gid = 1
mail_home = %[2]s
mail_location = maildir:~/Maildir:LAYOUT=fs
mail_fsync = never
imapc_host = %[3]s
imapc_port = %[4]s
imapc_user = %[5]s
imapc_password = %[6]s
imapc_features = rfc822.size fetch-headers
namespace inbox {
  inbox = yes
  separator = /
}
`, dir, home, l.host(), l.port(), l.user, l.password)
	d.own(nil, config)
	return d
}

// own gives a file to the user of the mail.
func (d *doveadm) own(err error, path string) {
	d.t.Helper()
	if err == nil && d.user != nil {
		err = os.Chown(path, int(d.user.Uid), int(d.user.Gid))
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *doveadm) run(args ...string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "doveadm", append([]string{"-c", filepath.Join(d.dir, "dovecot.conf")}, args...)...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(d.dir, "home"), "USER=ann")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.user}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "Error:") || strings.Contains(string(out), "Panic:") {
		d.t.Fatalf("doveadm %q: %v\n%s", args, err, out)
	}
}

// folder is a mailbox's Maildir.
func (d *doveadm) folder(box string) string {
	dir := filepath.Join(d.dir, "home", "Maildir")
	if box != "INBOX" {
		dir = filepath.Join(dir, box)
	}
	return dir
}

func (d *doveadm) deliver(dir, name string, message []byte) {
	d.t.Helper()
	deliver(d.t, dir, name, message)
	d.own(nil, filepath.Join(dir, "new", name))
}
