package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"nestbox/config"
	"nestbox/storage"
)

// restoreFolder makes a data folder of a backup.
func (e *env) restoreFolder(ctx context.Context, from string, asJSON bool) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	if cfg.Source("data") == config.FromDefault {
		return &usageError{command: "restore", text: "--data must name the folder to restore into"}
	}
	start := time.Now()
	r, err := e.restoreAll(ctx, from, cfg.Data, storage.Options{MaxMessage: int64(cfg.MaxMessage), Version: Version})
	if errors.Is(err, context.Canceled) {
		err = failWith(exitTryAgain, "interrupted; nothing was restored")
	}
	if asJSON {
		result := struct {
			Data string `json:"data"`
			storage.RestoreReport
			OK    bool   `json:"ok"`
			Error string `json:"error,omitempty"`
		}{Data: cfg.Data, RestoreReport: r, OK: err == nil && len(r.Findings) == 0}
		if err != nil {
			result.Error = err.Error()
		}
		if werr := writeJSON(e.Stdout, result); werr != nil {
			return werr
		}
	}
	if err != nil {
		return err
	}
	if !asJSON {
		for _, f := range r.Findings {
			fmt.Fprintln(e.Stderr, f)
		}
		e.say("%s is a data folder now: %d accounts with %d messages, %s, in %.1f s", cfg.Data, r.Accounts, r.Messages,
			byteCount(r.Octets), time.Since(start).Seconds())
	}
	if len(r.Findings) > 0 {
		return fmt.Errorf("%d findings: what is sound was restored", len(r.Findings))
	}
	return nil
}

// restoreAll restores a folder, or a portable stream: a file, or standard
// input.
func (e *env) restoreAll(ctx context.Context, from, to string, o storage.Options) (storage.RestoreReport, error) {
	if from == "-" {
		return storage.RestorePortable(ctx, e.Stdin, to, o)
	}
	info, err := os.Stat(from)
	if err != nil || info.IsDir() {
		return storage.RestoreDir(ctx, from, to, o)
	}
	f, err := os.Open(from)
	if err != nil {
		return storage.RestoreReport{}, err
	}
	defer f.Close()
	r, err := storage.RestorePortable(ctx, f, to, o)
	if errors.Is(err, storage.ErrNotPortable) {
		err = fmt.Errorf("%s %w", from, err)
	}
	return r, err
}
