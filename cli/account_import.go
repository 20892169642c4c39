package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdAccountImport = command{
	name:  "account import",
	args:  "FILE",
	short: "Make the accounts of another server's passwd-file",
	long: `Makes an account for each line "name:hash:..." of a passwd-file, as Dovecot and others use it, or of a shadow file; "-" reads standard input. Nobody needs a new password: the hash is good for one login, which leaves what nestbox keeps itself in its place. It takes {SHA512-CRYPT}, {SHA256-CRYPT}, {BLF-CRYPT}, {ARGON2ID}, {PBKDF2}, {SSHA}, {SSHA256} and {SSHA512}, and hashes of crypt without a scheme. Until everybody has logged in once, the mechanisms SCRAM are not announced: account list says who is missing.

An account that has a password keeps it, unless --replace is given. A line that can't be taken is named, the others are taken, and the command ends with 1; it can be run again.`,
	examples: []example{
		{"nestbox account import /etc/dovecot/users", "the accounts of a Dovecot with a passwd-file"},
		{"doveadm user -u '*' | nestbox account import -", "what a program prints"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		replace := fs.Bool("replace", false, "accounts that have a password get the file's too")
		return func(ctx context.Context, e *env, args []string) error {
			in := io.NopCloser(e.Stdin)
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				in = f
			}
			defer in.Close()
			return e.withNewAPI(ctx, func(api admin.API) error {
				return importAccounts(ctx, e, api, in, *replace)
			})
		}
	},
}

// maxPasswdLine is more than any hash with all that may stand behind it.
const maxPasswdLine = 64 << 10

func importAccounts(ctx context.Context, e *env, api admin.API, in io.Reader, replace bool) error {
	all, err := api.Accounts(ctx)
	if err != nil {
		return err
	}
	have := map[string]admin.Account{}
	for _, a := range all {
		for _, name := range append(a.Addresses, a.Name) {
			have[strings.ToLower(name)] = a
		}
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxPasswdLine)
	made, changed, kept, refused := 0, 0, 0, 0
	for n := 1; lines.Scan(); n++ {
		name, hash, err := passwdLine(lines.Text())
		if err == nil && name == "" {
			continue
		}
		if err == nil {
			a, known := have[strings.ToLower(name)]
			switch {
			case !known:
				if a, err = api.AddAccountWithHash(ctx, name, hash); err == nil {
					have[strings.ToLower(name)] = a
					made++
				}
			case replace || a.Password == admin.PasswordNone || a.Password == admin.PasswordHash:
				if err = api.SetHash(ctx, a.Name, hash); err == nil {
					changed++
				}
			default:
				kept++
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			refused++
			e.say("line %d: %v", n, err)
		}
	}
	e.say("%d accounts made, %d given the file's password, %d had one already, %d lines not taken", made, changed, kept, refused)
	if err := lines.Err(); err != nil {
		return err
	}
	if refused > 0 {
		return errReported
	}
	return nil
}

// passwdLine takes name and hash from a line; no name is an empty line, or a
// comment. The error holds nothing of the hash.
func passwdLine(line string) (name, hash string, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	name, rest, ok := strings.Cut(line, ":")
	hash, _, _ = strings.Cut(rest, ":")
	switch {
	case !ok || name == "":
		return "", "", errors.New(`it is not "name:hash:..."`)
	case strings.Trim(hash, "*!x") == "":
		return "", "", fmt.Errorf("%.64q has no hash here: perhaps it is in the shadow file", name)
	}
	return name, hash, nil
}
