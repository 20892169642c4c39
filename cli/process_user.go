package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"nestbox/config"
)

// An identity is whom the server becomes.
type identity struct {
	name     string
	uid, gid int
}

// lookUpIdentity finds the configured user and group; numbers do where the
// machine has no names for them, as in a container.
func lookUpIdentity(name, group string) (identity, error) {
	id := identity{name: name, gid: -1}
	u, err := user.Lookup(name)
	if err == nil {
		var errg error
		id.uid, err = strconv.Atoi(u.Uid)
		id.gid, errg = strconv.Atoi(u.Gid)
		err = errors.Join(err, errg)
	} else if uid, nerr := strconv.Atoi(name); nerr == nil && uid >= 0 {
		id.uid, err = uid, nil
	}
	if err != nil {
		return id, failWith(exitUnfit, "user %q: %w", name, err)
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err == nil {
			id.gid, err = strconv.Atoi(g.Gid)
		} else if gid, nerr := strconv.Atoi(group); nerr == nil && gid >= 0 {
			id.gid, err = gid, nil
		}
		if err != nil {
			return id, failWith(exitUnfit, "group %q: %w", group, err)
		}
	}
	if id.gid < 0 {
		return id, failWith(exitUnfit, "user %q has no name on this machine, and so no group: set `group` too", name)
	}
	return id, nil
}

// becomeUser gives up root's rights for those of the configured user, who
// gets the data folder if it is to be made. Who isn't root stays who it is.
func (e *env) becomeUser(cfg *config.Config, fresh bool) error {
	id, err := lookUpIdentity(cfg.User, cfg.Group)
	if err != nil {
		return err
	}
	if os.Geteuid() == id.uid {
		return nil
	}
	if os.Geteuid() != 0 {
		return failWith(exitNotAllowed, "only root can become the user %s", id.name)
	}
	if fresh {
		if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
			return err
		}
		if err := os.Chown(cfg.Data, id.uid, id.gid); err != nil {
			return err
		}
	} else if err := checkOwner(cfg.Data, id); err != nil {
		return err
	}
	if err := e.giveRuntimeFolder(id); err != nil {
		return err
	}
	// All threads change: the runtime sees to it (syscall.AllThreadsSyscall).
	for _, step := range []func() error{
		func() error { return syscall.Setgroups([]int{}) },
		func() error { return syscall.Setgid(id.gid) },
		func() error { return syscall.Setuid(id.uid) },
		leftRoot,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("becoming the user %s: %w", id.name, err)
		}
	}
	return nil
}

// leftRoot is an error if there is a way back: some settings of a process
// (prctl(2), PR_SET_SECUREBITS) let setuid keep what root may.
func leftRoot() error {
	if os.Getuid() == 0 || syscall.Setuid(0) == nil {
		return errors.New("root's rights are not gone")
	}
	return leftCapabilities()
}

// giveRuntimeFolder gives the folder that systemd made for the control socket
// to who is to make it.
func (e *env) giveRuntimeFolder(id identity) error {
	dirs := filepath.SplitList(e.getenv("RUNTIME_DIRECTORY"))
	if len(dirs) == 0 || dirs[0] == "" {
		return nil
	}
	return os.Chown(dirs[0], id.uid, id.gid)
}

// checkOwner refuses data that the user can't work with. They are not given
// away: who started the server may have named the wrong folder.
func checkOwner(data string, id identity) error {
	return filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the store says what is missing
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(stat.Uid) == id.uid || d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		owner := strconv.Itoa(int(stat.Uid))
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username
		}
		return failWith(exitNotAllowed, "%s belongs to %s, but nestbox is to serve as %s, who couldn't write there. If %s is the right folder: chown -R %d:%d %s",
			path, owner, id.name, data, id.uid, id.gid, data)
	})
}
