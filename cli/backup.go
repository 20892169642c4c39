package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/storage"
)

var cmdBackup = command{
	name:  "backup",
	args:  "DIR",
	short: "Take a backup",
	long: `Copies all accounts, names, addresses and settings into the folder DIR, while the server runs or not. Each account is copied as it is at one moment. DIR must be missing, empty, or hold the backup that the last run made; then only what is new comes over. It is laid out like a data folder, so any program can take it further. Copies of mail that a run wrote are read through and checked before they take the place of the former ones. A run that is interrupted leaves the former backup as it was.

The exit code is 0 only if the whole backup is there and sound. An account in which something is wrong keeps its former copy, and the new one lies beside it.

--portable writes a stream instead (docs/portable.md), which doesn't depend on the machine: for another kind of processor, or to keep for long. It is always whole.

restore makes a data folder of a backup, or brings single messages back. A copy of the data folder itself, made by a program while the server runs, is no backup, unless it is one snapshot of the whole folder.`,
	examples: []example{
		{"nestbox backup /mnt/usb/nestbox", "a backup on another disk, as often as you like"},
		{"nestbox backup --portable - | zstd > mail.nbx.zst", "one stream, for another kind of machine"},
		{"nestbox backup --json /mnt/usb/nestbox", "for scripts: one JSON object says what was done"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		portable := fs.Bool("portable", false, "write one stream for every machine and every later version to the file DIR (\"-\" is standard output)")
		replace := fs.Bool("replace", false, "DIR may hold the backup of another data folder: it is replaced")
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if *portable {
					return e.writePortable(ctx, api, args[0], *asJSON)
				}
				b := backingUp{env: e, json: *asJSON, replace: *replace, dir: args[0]}
				return b.run(ctx, api)
			})
		}
	},
}

// backingUp is one run of the command.
type backingUp struct {
	*env
	json, replace bool
	dir           string
	bar           *progress
}

// backupResult is what --json prints.
type backupResult struct {
	Dir  string `json:"dir"`
	Data string `json:"data"`
	storage.BackupReport
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (b *backingUp) run(ctx context.Context, api admin.API) error {
	start := time.Now()
	source, err := api.BackupSource(ctx)
	if err != nil {
		return err
	}
	to, err := storage.OpenBackupDir(ctx, b.dir, source.Data, b.replace)
	if err != nil {
		return err
	}
	b.bar = newProgress(b.Stderr, "backed up")
	if err = to.Check(source.Store); err == nil {
		err = api.Backup(ctx, to.Have(), func(p *storage.BackupPart) error {
			err := to.Take(p)
			r := to.Report()
			b.bar.bytes(r.Octets)
			return err
		})
	}
	err = errors.Join(err, to.Close())
	b.bar.finish()
	r := backupResult{Dir: b.dir, Data: source.Data, BackupReport: to.Report()}
	r.Seconds = time.Since(start).Round(time.Millisecond).Seconds()
	r.OK = err == nil && len(r.Findings) == 0
	if err != nil {
		r.Error = err.Error()
	}
	if !errors.Is(err, context.Canceled) {
		b.note(ctx, api, r)
	}
	return b.report(r, err)
}

// note has the data folder remember the run, for status.
func (b *backingUp) note(ctx context.Context, api admin.API, r backupResult) {
	failed := r.Error
	if failed == "" && !r.OK {
		failed = fmt.Sprintf("%d findings", len(r.Findings))
	}
	dir, err := filepath.Abs(r.Dir)
	if err == nil {
		err = api.NoteBackup(ctx, dir, failed)
	}
	if err != nil {
		b.say("warning: status will not know of this backup: %v", err)
	}
}

func (b *backingUp) report(r backupResult, err error) error {
	if errors.Is(err, context.Canceled) {
		err = failWith(exitTryAgain, "interrupted; the former backup is as it was")
	}
	if b.json {
		if werr := writeJSON(b.Stdout, r); werr != nil {
			return werr
		}
	} else if err == nil {
		b.say("%d accounts backed up to %s: %s new, %s in all, in %.1f s", r.Accounts, r.Dir, byteCount(r.Octets), byteCount(r.Total), r.Seconds)
	}
	if len(r.Findings) > 0 && !b.json {
		for _, f := range r.Findings {
			fmt.Fprintln(b.Stderr, f)
		}
	}
	if err == nil && !r.OK {
		err = fmt.Errorf("the backup has %d findings; `nestbox check` says more of the data folder", len(r.Findings))
	}
	return err
}
