package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
	"nestbox/tls"
)

// systemSocket is where a server that systemd started has its control socket.
const systemSocket = "/run/nestbox/" + admin.SocketFile

// socketPatience is how long a command waits for a server that holds the data
// but doesn't answer yet, because it has just started.
const socketPatience = 3 * time.Second

// dataFlags are the flags of commands that work on a data folder.
func dataFlags(fs *pflag.FlagSet) {
	fs.String("data", "", "data folder (default: /var/lib/nestbox for root, else ./nestbox-data)")
	fs.String("config", "", "configuration file (default: "+config.DefaultFile+" if it is there)")
	fs.String("control", "", "control socket of the server to ask (default: found by the data folder)")
}

// config reads the machine's settings as the command's flags change them.
func (e *env) config() (*config.Config, error) {
	cfg, err := config.Load(e.configInput())
	if err != nil {
		return nil, err
	}
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return nil, err
	}
	return cfg, nil
}

func (e *env) configInput() config.Input {
	in := config.Input{Env: e.Env, Flags: config.FlagValues(e.flags)}
	if f := e.flags.Lookup("config"); f != nil {
		in.File = f.Value.String()
	}
	return in
}

// withAPI runs f with the data folder: opened by this process, or through the
// server that has it open.
func (e *env) withAPI(ctx context.Context, f func(admin.API) error) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	api, err := e.openAPI(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(f(api), api.Close())
}

func (e *env) openAPI(ctx context.Context, cfg *config.Config) (admin.API, error) {
	if cfg.Source("control") == config.FromFlag {
		return admin.Dial(ctx, cfg.Control)
	}
	owner := dataOwner(cfg.Data)
	if owner == "" {
		setMemoryLimit(memoryLimit(cfg.Profile), e.getenv)
		api, err := admin.OpenLocal(cfg.Data, storageOptions(cfg))
		if err == nil {
			api.Certs = func() (*tls.Set, *tls.LocalCA, error) {
				return e.certificates(cfg, api.Store(), new(sync.Mutex), tls.LocalOptions{Log: slog.New(slog.DiscardHandler)}, tls.ACMEOptions{})
			}
			api.Setup = func() (*admin.Setup, error) {
				_, ca, err := api.Certs()
				if err != nil {
					return nil, err
				}
				if ca.Root() == nil { // no server has run yet
					err = ca.Look()
				}
				if err != nil {
					return nil, err
				}
				return offlineSetup(cfg, api.Store(), ca)
			}
			return admin.Audited(api), nil
		}
		var locked *storage.LockedError
		switch {
		case errors.As(err, &locked):
			return e.dialHolder(ctx, cfg, err)
		case errors.Is(err, fs.ErrPermission), errors.Is(err, storage.ErrNoStore):
			if api := e.dialServer(ctx, cfg); api != nil {
				return api, nil
			}
		}
		return nil, err
	}
	if api := e.dialServer(ctx, cfg); api != nil {
		return api, nil
	}
	return nil, failWith(exitNotAllowed, "%s belongs to the user %s, and files that root makes in it would be lost to that user: run this as %s (su -s /bin/sh %s -c ...)",
		cfg.Data, owner, owner, owner)
}

// dataOwner names who owns a data folder that root should leave alone.
func dataOwner(dir string) string {
	if os.Geteuid() != 0 {
		return ""
	}
	info, err := os.Stat(filepath.Join(dir, "nestbox.id"))
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return ""
	}
	id := strconv.Itoa(int(stat.Uid))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// dialHolder asks the process that has the data open. One that has no control
// socket is another command, soon done.
func (e *env) dialHolder(ctx context.Context, cfg *config.Config, locked error) (admin.API, error) {
	for deadline := time.Now().Add(socketPatience); ; {
		if api := e.dialServer(ctx, cfg); api != nil {
			return api, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w, which has no control socket that this user may use", locked)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dialServer looks for the server of cfg's data folder.
func (e *env) dialServer(ctx context.Context, cfg *config.Config) admin.API {
	for _, path := range e.socketPaths(cfg) {
		r, err := admin.Dial(ctx, path)
		if err != nil {
			continue
		}
		// Without a data folder named or there, the system's server is meant.
		_, err = os.Stat(cfg.Data)
		guess := cfg.Source("data") == config.FromDefault && errors.Is(err, fs.ErrNotExist)
		if guess || sameFolder(r.Status().Data, cfg.Data) {
			return r
		}
		_ = r.Close() // a server of other data
	}
	return nil
}

func (e *env) socketPaths(cfg *config.Config) []string {
	return []string{controlSocket(cfg, e.getenv), filepath.Join(cfg.Data, admin.SocketFile), systemSocket}
}

// controlSocket is where the server of a configuration makes its socket.
func controlSocket(cfg *config.Config, getenv func(string) string) string {
	if cfg.Control != "" {
		return cfg.Control
	}
	// systemd.exec(5): several folders are separated by colons.
	if dirs := filepath.SplitList(getenv("RUNTIME_DIRECTORY")); len(dirs) > 0 && dirs[0] != "" {
		return filepath.Join(dirs[0], admin.SocketFile)
	}
	return filepath.Join(cfg.Data, admin.SocketFile)
}

func sameFolder(a, b string) bool {
	if a == b {
		return true
	}
	ia, erra := os.Stat(a)
	ib, errb := os.Stat(b)
	return erra == nil && errb == nil && os.SameFile(ia, ib)
}
