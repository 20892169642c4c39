// Package oracle plays the portable transcripts at another server, Debian's
// Dovecot: what both do is what the RFCs mean. "make oracle" runs it.
package oracle

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nestbox/test/script"
)

const transcripts = "../../imap/testdata/script"

// users is how many accounts there are: each is used once.
const users = 500

// TestOracle runs with NESTBOX_ORACLE=1, as root: Dovecot gives up its rights.
// NESTBOX_ORACLE=all plays those that aren't portable too, to see what they say.
func TestOracle(t *testing.T) {
	if os.Getenv("NESTBOX_ORACLE") == "" {
		t.Skip("make oracle plays the transcripts at Dovecot")
	}
	all, err := script.Load(transcripts)
	if err != nil {
		t.Fatal(err)
	}
	addr := startDovecot(t)
	var used atomic.Int32
	target := &script.Target{
		Other: true,
		Dial:  func() (net.Conn, error) { return net.Dial("tcp", addr) },
		Account: func(string) (script.Account, error) {
			n := used.Add(1)
			if n > users {
				return script.Account{}, fmt.Errorf("more than %d accounts", users)
			}
			return script.Account{Login: fmt.Sprintf("user%d", n), Password: "testpass"}, nil
		},
	}
	played := 0
	for _, s := range all {
		if s.Portable == (s.Elsewhere != "") {
			t.Errorf("%s.txt must be portable, or say elsewhere why it isn't", s.Name)
		}
		if !s.Portable && os.Getenv("NESTBOX_ORACLE") != "all" {
			continue
		}
		played++
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if err := s.Play(target); err != nil {
				t.Error(err)
			}
		})
	}
	t.Logf("%d of %d transcripts are portable", played, len(all))
}

// startDovecot starts Dovecot on a free port of the loopback interface, in a
// folder of its own, until the test ends.
func startDovecot(t *testing.T) string {
	const binary = "/usr/sbin/dovecot"
	if _, err := os.Stat(binary); err != nil {
		t.Skip("Dovecot is not installed: apt-get install dovecot-core dovecot-imapd")
	}
	if os.Geteuid() != 0 {
		t.Skip("Dovecot has to be started by root")
	}
	// Not t.TempDir: paths of unix sockets are short, and others must enter.
	dir, err := os.MkdirTemp("", "oracle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := freePort(t)
	writeConfig(t, dir, port)

	var out bytes.Buffer
	cmd := exec.Command(binary, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		_ = cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "dovecot.log")); t.Failed() && err == nil {
			for line := range strings.Lines(string(log)) {
				if !strings.Contains(line, " Info: ") {
					t.Log(line)
				}
			}
		}
	})
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatalf("Dovecot does not start: %v\n%s", err, &out)
		}
	}
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// writeConfig makes Dovecot a server with "/" as separator, one namespace and
// Maildir; the mail belongs to nobody.
func writeConfig(t *testing.T, dir string, port int) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	mail := filepath.Join(dir, "mail")
	var passwords bytes.Buffer
	for i := range users {
		fmt.Fprintf(&passwords, "user%d:{PLAIN}testpass::::::\n", i+1)
	}
	config := fmt.Sprintf(`base_dir = %[1]s/run
log_path = %[1]s/dovecot.log
protocols = imap
listen = 127.0.0.1
instance_name = oracle-%[2]d
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
ssl = no
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_fsync = never
mail_max_userip_connections = 0
passdb {
  driver = passwd-file
  args = %[1]s/passwd
}
userdb {
  driver = static
  args = uid=%[3]d gid=%[4]d home=%[5]s/%%u
}
namespace inbox {
  inbox = yes
  separator = /
}
mail_plugins = acl quota
imap_metadata = yes
imap_urlauth_host = *
mail_attribute_dict = file:%%h/attributes
protocol imap {
  mail_plugins = acl quota imap_acl imap_quota imap_zlib
}
plugin {
  acl = vfile
  acl_anyone = allow
  quota = count:user
  quota_vsizes = yes
  quota_rule = *:storage=1G
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
}
`, dir, port, uid, gid, mail)
	for _, err := range []error{
		os.Chmod(dir, 0o755),
		os.Mkdir(mail, 0o700),
		os.Chown(mail, uid, gid),
		os.WriteFile(filepath.Join(dir, "passwd"), passwords.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "dovecot.conf"), []byte(config), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
