package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// A server is one column of the table.
type server interface {
	name() string
	// start starts it, with the data that are there or with new ones.
	start() error
	stop() error
	// addr is where it answers; pid is its first process, 0 if unknown.
	addr(tls bool) string
	pid() int
	// dir holds its data; empty if unknown.
	dir() string
	// user is the name of the i-th of the users, password that of them all.
	user(i int) string
	password() string
}

const commonPassword = "testpass"

// nestboxServer is the binary built from this tree.
type nestboxServer struct {
	nestbox rig.Nestbox
	users   int
	running *rig.Server
}

// newNestbox takes a binary, or builds one.
func newNestbox(dir, binary string, users int) (_ *nestboxServer, err error) {
	if binary == "" {
		if binary, err = rig.Build(dir); err != nil {
			return nil, err
		}
	}
	return &nestboxServer{nestbox: rig.Nestbox{Binary: binary, Data: filepath.Join(dir, "nestbox-data")}, users: users}, nil
}

func (s *nestboxServer) name() string      { return "nestbox" }
func (s *nestboxServer) dir() string       { return s.nestbox.Data }
func (s *nestboxServer) pid() int          { return s.running.PID() }
func (s *nestboxServer) user(i int) string { return "user" + strconv.Itoa(i%s.users+1) }
func (s *nestboxServer) password() string  { return commonPassword }

func (s *nestboxServer) addr(tls bool) string {
	if tls {
		return s.running.TLSAddr
	}
	return s.running.Addr
}

func (s *nestboxServer) start() (err error) {
	if _, err := os.Stat(s.nestbox.Data); errors.Is(err, fs.ErrNotExist) {
		if _, err := s.nestbox.Run(context.Background(), "", "init"); err != nil {
			return err
		}
		for i := range s.users {
			if err := s.nestbox.AddAccount(context.Background(), s.user(i), commonPassword); err != nil {
				return err
			}
		}
	}
	s.running, err = s.nestbox.Start("--max-connections", "5000")
	return err
}

func (s *nestboxServer) stop() error {
	if s.running == nil {
		return nil
	}
	_, err := s.running.Stop()
	s.running = nil
	return err
}

// dovecotServer is Debian's Dovecot with one of its mail formats. Nothing in
// /etc/dovecot is read or changed.
type dovecotServer struct {
	format    string // maildir, mdbox, sdbox
	root      string
	users     int
	port, tls string
	cmd       *exec.Cmd
}

const dovecotBinary = "/usr/sbin/dovecot"

func newDovecot(dir, format string, users int) (*dovecotServer, error) {
	if _, err := os.Stat(dovecotBinary); err != nil {
		return nil, errors.New("no Dovecot here: apt-get install dovecot-core dovecot-imapd, or -servers nestbox")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can start Dovecot, which gives up its rights to others: use root, or -servers nestbox")
	}
	return &dovecotServer{format: format, root: filepath.Join(dir, format), users: users}, nil
}

func (s *dovecotServer) name() string      { return s.format }
func (s *dovecotServer) dir() string       { return filepath.Join(s.root, "mail") }
func (s *dovecotServer) pid() int          { return s.cmd.Process.Pid }
func (s *dovecotServer) user(i int) string { return "user" + strconv.Itoa(i%s.users+1) }
func (s *dovecotServer) password() string  { return commonPassword }

func (s *dovecotServer) addr(tls bool) string {
	if tls {
		return net.JoinHostPort("127.0.0.1", s.tls)
	}
	return net.JoinHostPort("127.0.0.1", s.port)
}

// owner is the user that Dovecot's mail processes run as; Debian always has it.
const owner = "mail"

func (s *dovecotServer) start() error {
	if err := s.configure(); err != nil {
		return err
	}
	s.cmd = exec.Command(dovecotBinary, "-F", "-c", filepath.Join(s.root, "dovecot.conf"))
	var out rig.Log
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	var err error
	for range 1000 {
		var c *raw.Conn
		if c, err = raw.Dial(s.addr(false), raw.Options{}); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("dovecot does not start: %w\n%s", err, out.String()), s.stop())
}

func (s *dovecotServer) stop() error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	if err == nil {
		err = s.cmd.Wait()
	}
	s.cmd = nil
	return err
}

func (s *dovecotServer) configure() error {
	account, err := user.Lookup(owner)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	for _, dir := range []string{s.root, s.dir(), filepath.Join(s.root, "run")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chown(s.dir(), uid, gid); err != nil {
		return err
	}
	if err := s.certificate(); err != nil {
		return err
	}
	var passwd strings.Builder
	for i := range s.users {
		fmt.Fprintf(&passwd, "%s:{PLAIN}%s::::::\n", s.user(i), commonPassword)
	}
	if s.port, s.tls, err = rig.FreePorts(); err != nil {
		return err
	}
	conf := strings.NewReplacer("$ROOT", s.root, "$FORMAT", s.format, "$OWNER", owner, "$TLSPORT", s.tls, "$PORT", s.port).Replace(dovecotConf)
	return errors.Join(
		os.WriteFile(filepath.Join(s.root, "passwd"), []byte(passwd.String()), 0o644),
		os.WriteFile(filepath.Join(s.root, "dovecot.conf"), []byte(conf), 0o644))
}

func (s *dovecotServer) certificate() error {
	key, cert := filepath.Join(s.root, "key.pem"), filepath.Join(s.root, "cert.pem")
	if _, err := os.Stat(key); err == nil {
		return nil
	}
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-subj", "/CN=localhost", "-keyout", key, "-out", cert).CombinedOutput()
	if err != nil {
		return fmt.Errorf("openssl: %w\n%s", err, out)
	}
	return nil
}

// dovecotConf is Dovecot at its fastest that is still safe: login processes
// are reused, mail_fsync is the default.
const dovecotConf = `base_dir = $ROOT/run
log_path = $ROOT/dovecot.log
protocols = imap
listen = 127.0.0.1
instance_name = bench-$PORT
disable_plaintext_auth = no
auth_mechanisms = plain login
ssl = yes
ssl_cert = <$ROOT/cert.pem
ssl_key = <$ROOT/key.pem
default_vsz_limit = 1G
default_client_limit = 8000
mail_location = $FORMAT:~/$FORMAT
mail_fsync = optimized
mail_max_userip_connections = 0
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = $ROOT/passwd
}
userdb {
  driver = static
  args = uid=$OWNER gid=$OWNER home=$ROOT/mail/%u
}
namespace inbox {
  inbox = yes
}
service anvil {
  client_limit = 20000
}
service auth {
  client_limit = 20000
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = $PORT
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = $TLSPORT
    ssl = yes
  }
  service_count = 0
  process_min_avail = 2
  client_limit = 6000
}
service imap {
  process_limit = 6000
}
`

// otherServer runs already, somewhere.
type otherServer struct {
	plain, tls  string
	process     int
	names, pass string // names has %d for 1, 2, ...
	users       int
}

func (s *otherServer) name() string     { return "other" }
func (s *otherServer) start() error     { return nil }
func (s *otherServer) stop() error      { return nil }
func (s *otherServer) dir() string      { return "" }
func (s *otherServer) pid() int         { return s.process }
func (s *otherServer) password() string { return s.pass }
func (s *otherServer) user(i int) string {
	return strings.ReplaceAll(s.names, "%d", strconv.Itoa(i%s.users+1))
}

func (s *otherServer) addr(tls bool) string {
	if tls {
		return s.tls
	}
	return s.plain
}
