package crash

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"nestbox/storage"
)

// check lets the storage check a data folder that a kill has left.
func check(dir string) error {
	st, err := storage.Open(dir, storage.Options{Version: "test", NoSync: true})
	if err != nil {
		return err
	}
	findings, err := checkAll(st)
	for _, f := range findings {
		err = errors.Join(err, errors.New("check: "+f))
	}
	return errors.Join(err, st.Close())
}

func checkAll(st *storage.Store) ([]string, error) {
	findings, err := st.Check()
	if err != nil {
		return nil, err
	}
	infos, err := st.Accounts()
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		a, err := st.Account(info.ID)
		if err != nil {
			return nil, err
		}
		more, err := a.Check()
		if err != nil {
			return nil, err
		}
		findings = append(findings, more...)
	}
	return findings, nil
}

// copyData copies the files of a data folder. The control socket is none, and
// the reserve is large and holds nothing.
func copyData(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !e.Type().IsRegular(), strings.HasPrefix(name, "reserve"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
}

// memoryDir is a folder in memory, if there is one for that.
func memoryDir() (string, error) {
	dir, err := os.MkdirTemp("/dev/shm", "nestbox-crash-")
	if err != nil {
		return os.MkdirTemp("", "nestbox-crash-")
	}
	return dir, nil
}
