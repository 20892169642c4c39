package storage

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// makingSuffix marks an account that is being made: accounts/<id>.making is
// there before the account's folder, and goes when system.db lists it.
const makingSuffix = ".making"

// beginMaking marks a new account: if system.db doesn't list it at the next
// open, nobody was told of it, and its folder goes.
func (st *Store) beginMaking(id AccountID) error {
	return writeInto(st.accountDir(id)+makingSuffix, nil)
}

// endMaking takes the mark away. It may come back after a power cut.
func (st *Store) endMaking(id AccountID) error {
	return os.Remove(st.accountDir(id) + makingSuffix)
}

// finishMaking removes the folders of accounts that a crash left half made.
// After system.db was lost, its copy may lack accounts that are as they should
// be: then only the marks go.
func (st *Store) finishMaking(lost bool) error {
	entries, err := os.ReadDir(filepath.Join(st.dir, accountsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), makingSuffix+".new") { // a mark that was being made
			if err := os.Remove(filepath.Join(st.dir, accountsFolder, e.Name())); err != nil {
				return err
			}
		}
		name, ok := strings.CutSuffix(e.Name(), makingSuffix)
		if !ok {
			continue
		}
		id := AccountID(name)
		_, err := st.AccountInfo(id)
		if errors.Is(err, ErrNoAccount) && !lost {
			st.log.Info("half_made_account_removed", slog.String("account", name))
			dir := st.accountDir(id)
			err = errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+".new"))
		}
		if err != nil && !errors.Is(err, ErrNoAccount) {
			return err
		}
		if err := st.endMaking(id); err != nil {
			return err
		}
	}
	return nil
}
