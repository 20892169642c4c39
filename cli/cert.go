package cli

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
	"nestbox/tls"
)

// certificates puts the sources of a data folder together.
func (e *env) certificates(cfg *config.Config, st *storage.Store, lock sync.Locker, local tls.LocalOptions, remote tls.ACMEOptions) (*tls.Set, *tls.LocalCA, error) {
	local.Unlimited = cfg.CAUnlimited
	local.Names = func() []string {
		stored, err := st.Settings()
		if err != nil {
			local.Log.Error("settings_unreadable", "error", err)
		}
		lock.Lock() // reloads change cfg
		defer lock.Unlock()
		return strings.Fields(cfg.Setting(stored, "host_names"))
	}
	// Whether this is a container is asked now: later the process may not be
	// allowed to look.
	container := tls.InContainer(e.getenv)
	local.Guess = func() []string { return tls.GuessNames(container) }
	ca, err := tls.NewLocalCA(st, local)
	if err != nil {
		return nil, nil, err
	}
	files := tls.NewFiles(st, local.Log, func() (certs, keys []string) {
		lock.Lock()
		defer lock.Unlock()
		return cfg.CertificateFiles, cfg.KeyFiles
	})
	if cfg.ACME == "" {
		return tls.NewSet(files, ca), ca, nil
	}
	remote.Log, remote.Names = local.Log, local.Names
	acme, err := tls.NewACME(st, acmeOptions(cfg, remote))
	if err != nil {
		return nil, nil, err
	}
	return tls.NewSet(files, acme, ca), ca, nil
}

var cmdCertStatus = command{
	name:  "cert status",
	short: "Show the certificates",
	long:  "Shows for each certificate its names, where it comes from, until when it holds, what happens next and what went wrong last.",
	examples: []example{
		{"nestbox cert status", "for people"},
		{"nestbox cert status --json | jq -r '.[] | select(.error) | .error'", "what went wrong, for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Certificates(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, all)
				}
				return e.writeCertificates(all)
			})
		}
	},
}

func (e *env) writeCertificates(all []tls.Status) error {
	rows := [][]string{{"SOURCE", "UNTIL", "NAMES", "NEXT"}}
	for _, s := range all {
		until := "none"
		if !s.NotAfter.IsZero() {
			until = s.NotAfter.Format(time.DateOnly)
		}
		next := s.Next
		if s.Error != "" {
			next = s.Error + "; " + next
		}
		rows = append(rows, []string{s.Source, until, strings.Join(s.Names, " "), strings.TrimSuffix(next, "; ")})
	}
	return writeTable(e, rows)
}

var cmdCertRenew = command{
	name:  "cert renew",
	short: "Renew the certificates now",
	long:  "Makes or gets all certificates anew, at once. Connections that are up stay; the next ones get the new certificates. Without need for it: they are renewed by themselves.",
	examples: []example{
		{"nestbox cert renew", "new certificates for the next connections"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error { return api.RenewCertificates(ctx) })
		}
	},
}

var cmdCertCA = command{
	name:  "cert ca",
	short: "Print the box's own CA, to install on devices",
	long: `Prints the certificate of the local CA as PEM on standard output, its fingerprint on standard error. A device that has it installed connects without a warning. The CA is made at the first start of the server, holds for ten years, and is in every backup.

--renew makes another one, for what the box is called now. Every device must install it again.`,
	examples: []example{
		{"nestbox cert ca > nestbox.pem", "a file to install on devices"},
		{"nestbox cert ca --der > nestbox.cer", "for Windows and Android"},
		{"nestbox cert ca --renew", "another CA"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		der := fs.Bool("der", false, "DER instead of PEM")
		renew := fs.Bool("renew", false, "make another CA first")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				ca, err := api.CA(ctx, *renew)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, ca)
				}
				if *renew {
					e.say("This is a new CA: every device must install it again.")
				}
				e.say("%s, until %s\nSHA-256 %s", ca.Subject, ca.NotAfter.Format(time.DateOnly), ca.Fingerprint)
				out := []byte(ca.PEM)
				if *der {
					block, _ := pem.Decode(out)
					if block == nil {
						return errors.New("the server's answer is no PEM")
					}
					out = block.Bytes
				}
				_, err = e.Stdout.Write(out)
				return err
			})
		}
	},
}

var cmdCertCAExport = command{
	name:  "cert ca export",
	short: "Print the CA with its key, to move it",
	long:  "Prints the local CA with its private key as PEM, for `nestbox cert ca import` on another box. Who has it can pose as this box to every device that installed the CA: keep it as a password.",
	examples: []example{
		{"nestbox cert ca export > ca-with-key.pem", "to another box, or into a safe"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				text, err := api.ExportCA(ctx)
				if err == nil {
					_, err = e.Stdout.Write(text)
				}
				return err
			})
		}
	},
}

// maxCA bounds the file of a CA.
const maxCA = 64 << 10

var cmdCertCAImport = command{
	name:  "cert ca import",
	args:  "FILE",
	short: "Take over a CA with its key",
	long:  "Takes over a CA that `nestbox cert ca export` printed, from a file or with - from standard input. It takes the place of the one that is there: devices that installed that one must install the new one.",
	examples: []example{
		{"nestbox cert ca import ca-with-key.pem", "devices that know the CA know this box too"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			in := e.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			text, err := io.ReadAll(io.LimitReader(in, maxCA+1))
			if err != nil {
				return err
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.ImportCA(ctx, text); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				return nil
			})
		}
	},
}
