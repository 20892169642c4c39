package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"nestbox/admin"
	"nestbox/auth"
	"nestbox/storage"
)

// firstLoginFile holds name and password of the first account, when there was
// no terminal to print them on.
const firstLoginFile = "first-login.txt"

// A firstAccount is what was made because there was no account.
type firstAccount struct{ name, password string }

// firstAccount makes an account if there is none. Its password is only shown
// to who starts the server: on the terminal, or in a file for the owner.
func (s *serving) firstAccount(ctx context.Context) (*firstAccount, error) {
	all, err := s.st.Accounts()
	if err != nil || len(all) > 0 {
		return nil, err
	}
	first := &firstAccount{name: s.firstName(), password: auth.GeneratePassword()}
	path := filepath.Join(s.cfg.Data, firstLoginFile)
	// The file comes first: a crash in between must not leave an account
	// that nobody can open.
	terminal := isTerminal(s.Stdout)
	if !terminal {
		if err := writeFirstLogin(path, first); err != nil {
			return nil, err
		}
	}
	if _, err := admin.Audited(admin.NewLocal(s.st)).AddAccount(ctx, first.name, first.password); err != nil {
		return nil, errors.Join(err, removeFile(path))
	}
	if !terminal {
		s.log.Warn("first_account_made", "name", first.name, "password_file", path)
	} else {
		s.log.Info("first_account_made", "name", first.name)
	}
	return first, nil
}

// firstName is the name of who starts the server, if it can be an account's.
func (s *serving) firstName() string {
	for _, name := range []string{s.getenv("SUDO_USER"), s.getenv("USER")} {
		if name == "" || name == "root" {
			continue
		}
		if name, err := storage.CanonicalName(name); err == nil {
			return name
		}
	}
	return "mail"
}

func writeFirstLogin(path string, first *firstAccount) error {
	if err := removeFile(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "name: %s\npassword: %s\n", first.name, first.password)
	return errors.Join(err, f.Sync(), f.Close())
}

func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// firstLogin returns what removes the file with the password, at the first
// login of its account; nil when there is no such file.
func (s *serving) firstLogin() func(auth.Identity) {
	path := filepath.Join(s.cfg.Data, firstLoginFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(string(text), "name: "), "\n")
	var once sync.Once
	return func(who auth.Identity) {
		if who.Name != name {
			return
		}
		once.Do(func() {
			if err := removeFile(path); err != nil {
				s.log.Error("first_login_file_not_removed", "path", path, "error", err)
				return
			}
			s.log.Info("first_login", "name", name, "removed", path)
		})
	}
}
