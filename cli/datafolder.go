package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
)

// mayInit reports whether the data folder is to be made by the server. One
// that a configuration file or the environment names must be there: else its
// disk isn't mounted, and new mail would go into the hole below the mount.
func mayInit(cfg *config.Config) (bool, error) {
	if cfg.File != "" {
		return false, nil
	}
	switch cfg.Source("data") {
	case config.FromDefault, config.FromFlag:
		return isEmptyFolder(cfg.Data)
	}
	return false, nil
}

// isEmptyFolder reports whether there is nothing at dir, or an empty folder.
func isEmptyFolder(dir string) (bool, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return len(names) == 0, err
}

// checkMemory refuses a folder in memory, which is lost at the next restart:
// /var is there on some routers. Who names such a folder is warned.
func (e *env) checkMemory(cfg *config.Config) error {
	s, err := storage.FileSystemOf(cfg.Data)
	if err != nil || !s.Memory {
		return nil // what can't be known is no reason not to start
	}
	if cfg.Source("data") == config.FromDefault {
		return failWith(exitUnfit, "%s is on %s, in memory: all mail would be gone after a restart. Name a folder on a disk with --data, or `data` in %s",
			cfg.Data, s.Type, config.DefaultFile)
	}
	e.say("warning: %s is on %s, in memory: all mail is gone after a restart", cfg.Data, s.Type)
	return nil
}

// initFolder makes the data folder of a configuration, owned by who is to
// serve from it.
func (e *env) initFolder(cfg *config.Config) error {
	if err := e.checkMemory(cfg); err != nil {
		return err
	}
	if cfg.User != "" {
		if err := e.becomeUser(cfg, true); err != nil {
			return err
		}
	}
	return storage.Init(cfg.Data)
}

// withNewAPI is withAPI for a command that can be the first on a new box: it
// makes the data folder if there is none, and nothing where it would be.
func (e *env) withNewAPI(ctx context.Context, f func(admin.API) error) error {
	err := e.withAPI(ctx, f)
	if !errors.Is(err, storage.ErrNoStore) {
		return err
	}
	cfg, cerr := e.config()
	if cerr != nil {
		return cerr
	}
	if empty, eerr := isEmptyFolder(cfg.Data); eerr != nil || !empty {
		return errors.Join(err, eerr)
	}
	if err := e.initFolder(cfg); err != nil {
		return err
	}
	e.say("%s is a data folder now", cfg.Data)
	return e.withAPI(ctx, f)
}

// hasID reports whether a folder is marked as a data folder.
func hasID(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, "nestbox.id"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// storageOptions are what the configuration says of the data folder.
func storageOptions(cfg *config.Config) storage.Options {
	return storage.Options{
		MaxMessage: int64(cfg.MaxMessage), Version: Version, Built: built(), Fixed: cfg.Fixed,
		MinFree: storage.MinFree{Bytes: int64(cfg.MinFree.Bytes), Percent: cfg.MinFree.Percent},
	}
}
