package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/auth"
	"nestbox/config"
	"nestbox/imap"
	"nestbox/storage"
	"nestbox/tls"
)

// shutdownTime is how long clients have to take their BYE. Closing the store
// comes after it; both together take less than 5 s.
const shutdownTime = 3 * time.Second

var cmdServe = command{
	name:  "serve",
	short: "Serve mail",
	long: `Serves IMAP until it gets SIGTERM or SIGINT; SIGHUP makes it read the configuration again. It needs no configuration: the data folder is made when it is missing, and the first account when there is none. On a terminal the account's password is printed once; without one it is in first-login.txt in the data folder until the first login.

Ports 143 (STARTTLS) and 993 (TLS) are used, or 1143 and 1993 where those are not allowed. What mail programs need is printed on standard output, the log goes to standard error (docs/logs.md).

systemd is told when all addresses and the data stand (Type=notify-reload). Sockets that it passes are served by their FileDescriptorName= (imap, imaps, http or https) or by their port; a protocol that has some needs no addresses in the configuration.`,
	examples: []example{
		{"nestbox serve", "serves from the default data folder"},
		{"nestbox serve --data /srv/mail --imap 192.168.1.2:143 --imaps 192.168.1.2:993", "serves from another folder on one address"},
		{"nestbox serve --imap \"\" --imaps :993", "serves only with TLS"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		fs.String("config", "", "configuration file (default: "+config.DefaultFile+" if it is there)")
		config.AddFlags(fs)
		return func(ctx context.Context, e *env, _ []string) error { return e.serve(ctx) }
	},
}

// serving is a server that runs.
type serving struct {
	*env
	cfg   *config.Config
	log   *slog.Logger
	out   *logOutput
	level *slog.LevelVar

	st      *storage.Store
	auth    *auth.Authenticator
	certs   *tls.Set
	ca      *tls.LocalCA
	imap    *imap.Server
	web     *admin.Web
	control *admin.Server

	reloading   sync.Mutex // one reload at a time
	mu          sync.Mutex
	listeners   []*listener
	waiting     map[address]context.CancelFunc // that the machine doesn't have yet
	started     time.Time
	leftRoot    bool // it began as root and is the configured user now
	allowed     []wantedPath
	protections protections
	hooks       *hooks
	ctx         context.Context // of the whole run: listeners that come later need it
	running     sync.WaitGroup
	failed      chan error
}

func (e *env) serve(ctx context.Context) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	s := &serving{env: e, cfg: cfg, level: new(slog.LevelVar), failed: make(chan error, 8)}
	s.setLogLevel()
	format := logText
	if cfg.LogJSON {
		format = logJSON
	}
	s.log, s.out = newLog(e.Stderr, format, s.level, e.getenv)
	defer s.out.repeat.close()
	setMemoryLimit(memoryLimit(cfg.Profile), e.getenv)
	s.protectMemory()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.listen(ctx); err != nil {
		return errors.Join(err, s.closeListeners())
	}
	if err := s.open(); err != nil {
		return errors.Join(err, s.closeListeners())
	}
	err = s.start(ctx)
	if err == nil {
		err = s.wait(ctx)
	}
	cancel() // who still waits for an address
	return errors.Join(err, s.stop())
}

func (s *serving) setLogLevel() {
	level := slog.LevelInfo
	// The names are checked by config, and are slog's.
	_ = level.UnmarshalText([]byte(s.cfg.LogLevel))
	s.level.Set(level)
}

// open leaves root's rights if another user is configured, and opens the data.
func (s *serving) open() error {
	if err := s.prepareData(); err != nil {
		return err
	}
	o := storageOptions(s.cfg)
	o.Log, o.Probe = s.log, true
	var err error
	s.st, err = storage.Open(s.cfg.Data, o)
	return err
}

// prepareData makes the data folder where it may be missing, and changes to
// the user that is to own it.
func (s *serving) prepareData() error {
	there, err := hasID(s.cfg.Data)
	if err != nil {
		return err
	}
	fresh := false
	if !there {
		if fresh, err = mayInit(s.cfg); err != nil {
			return err
		}
	}
	if err := s.checkMemory(s.cfg); err != nil {
		return err
	}
	if s.cfg.User != "" {
		root := os.Geteuid() == 0
		if err := s.becomeUser(s.cfg, fresh); err != nil {
			return err
		}
		s.leftRoot = root && os.Geteuid() != 0
	} else if owner := dataOwner(s.cfg.Data); owner != "" {
		return failWith(exitNotAllowed, "%s belongs to the user %s: start nestbox as that user, or with --user %s (`user` in the configuration)", s.cfg.Data, owner, owner)
	}
	if !fresh {
		return nil
	}
	if err := storage.Init(s.cfg.Data); err != nil {
		return err
	}
	s.log.Info("data_folder_made", "data", s.cfg.Data)
	return nil
}

// start begins to serve and prints what mail programs need.
func (s *serving) start(ctx context.Context) error {
	stored, err := s.st.Settings()
	if err != nil {
		return err
	}
	if s.certs, s.ca, err = s.certificates(s.cfg, s.st, &s.mu, tls.LocalOptions{Log: s.log}, tls.ACMEOptions{HTTPAddr: s.proofAddr, TLSAddr: s.challengeAddr, DNS: tls.DNSOptions{Hook: s.runDNSHook}}); err != nil {
		return err
	}
	_ = s.ca.Look() // without a certificate it serves who needs none; the log and cert status say why
	first, err := s.firstAccount(ctx)
	if err != nil {
		return err
	}
	s.auth = auth.New(s.st, auth.Options{
		Log: s.log, LoggedIn: s.firstLogin(), BanAfter: cmp.Or(s.cfg.BanAfter, -1), BanExempt: s.cfg.BanExempt,
	})
	secure := s.certs.Config(s.cfg.MinVersion, s.alpn("imap")...)
	if err := errors.Join(useOAuth(s.auth, s.cfg), useExternal(s.auth, s.cfg, secure)); err != nil {
		return err
	}
	s.imap = imap.NewServer(imap.Options{
		Store: s.st, TLS: secure, Log: s.log, Version: Version,
		Auth:          s.auth,
		PlaintextFrom: s.cfg.PlaintextFrom, IDFrom: s.cfg.IDFrom,
		InsecureAuth: s.cfg.InsecureAuth, LiteralMinus: s.cfg.LiteralMinus, MessageLimit: s.cfg.MessageLimit,
		Off:      strings.Fields(s.cfg.Setting(stored, "extensions_off")),
		MaxConns: s.cfg.MaxConnections, MaxConnsPerAddr: s.cfg.MaxConnectionsPerAddress,
	})
	s.web = admin.NewWeb(s.log, s.certs.Config(s.cfg.MinVersion, s.alpn("http/1.1")...))
	s.startWeb()
	s.started, s.ctx = time.Now(), ctx
	if err := s.startControl(); err != nil {
		return err
	}
	if err := s.startHooks(); err != nil {
		return err
	}
	s.restrict()
	s.mu.Lock()
	for _, l := range s.listeners {
		s.accept(l)
	}
	s.mu.Unlock()
	go returnMemory(ctx)
	s.running.Go(func() { s.certs.Run(ctx) })
	s.welcome(s.cfg.Setting(stored, "host_names"), first)
	s.log.Info("server_started", "version", Version, "data", s.cfg.Data, "pid", os.Getpid())
	s.Main.mu.Lock()
	s.serving = s
	s.Main.mu.Unlock()
	// Who is told may send SIGHUP at once.
	s.notifyReady()
	s.watchdog(ctx)
	close(s.ready)
	return nil
}

// startControl opens the control socket. Without it the server serves all the
// same, and says so: commands must then wait until it has stopped.
func (s *serving) startControl() error {
	path := controlSocket(s.cfg, s.getenv)
	l, err := admin.Listen(path)
	if err != nil {
		s.log.Error("control_socket_failed", "path", path, "error", err)
		return nil
	}
	// Commands look in the data folder first.
	if own := filepath.Join(s.cfg.Data, admin.SocketFile); own != path {
		_ = os.Remove(own)
		if err := os.Symlink(path, own); err != nil {
			s.log.Warn("control_socket_link_failed", "path", own, "error", err)
		}
	}
	local := admin.NewLocal(s.st)
	local.Auth = s.auth
	local.Changed = func(string) { s.applyHousehold() }
	local.Setup = s.setup
	local.Certs = func() (*tls.Set, *tls.LocalCA, error) { return s.certs, s.ca, nil }
	s.control = admin.NewServer(admin.Audited(local), admin.Status{Version: Version, PID: os.Getpid(), Data: s.cfg.Data}, s.log)
	s.control.Self = s.health
	s.running.Go(func() {
		if err := s.control.Serve(l); err != nil {
			s.log.Error("control_socket_failed", "path", path, "error", err)
		}
	})
	return nil
}

// wait returns when the server is to stop: nil when it was told to.
func (s *serving) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

// stop says BYE to all clients and closes the data.
func (s *serving) stop() error {
	s.log.Info("server_stopping")
	s.notify("STOPPING=1", "STATUS=Stopping")
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	errs := []error{s.closeListeners()}
	var both sync.WaitGroup
	if s.imap != nil {
		both.Go(func() {
			if err := s.imap.Shutdown(ctx); err != nil {
				s.log.Warn("clients_cut_off", "error", err)
			}
		})
	}
	if s.web != nil {
		both.Go(func() { _ = s.web.Shutdown(ctx) }) // who is cut off asks again
	}
	if s.control != nil {
		both.Go(func() {
			if err := s.control.Shutdown(ctx); err != nil {
				s.log.Warn("commands_cut_off", "error", err)
			}
		})
	}
	both.Wait()
	s.running.Wait()
	errs = append(errs, s.hooks.Close(), s.st.Close())
	err := errors.Join(errs...)
	if err != nil {
		err = fmt.Errorf("stopping: %w", err)
	}
	s.out.repeat.close() // it is the last line
	s.log.Info("server_stopped")
	return err
}
