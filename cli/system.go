package cli

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// becomeUser gives up root's rights for those of a user, who gets the data
// folder if it is to be made. Who isn't root stays who it is.
func becomeUser(name, data string, fresh bool) error {
	u, err := user.Lookup(name)
	if err != nil {
		return failWith(exitUnfit, "user %q: %w", name, err)
	}
	uid, erru := strconv.Atoi(u.Uid)
	gid, errg := strconv.Atoi(u.Gid)
	if err := errors.Join(erru, errg); err != nil {
		return err
	}
	if os.Geteuid() == uid {
		return nil
	}
	if os.Geteuid() != 0 {
		return failWith(exitNotAllowed, "only root can become the user %s", name)
	}
	if fresh {
		if err := os.MkdirAll(data, 0o700); err != nil {
			return err
		}
		if err := os.Chown(data, uid, gid); err != nil {
			return err
		}
	}
	groups := []int{gid}
	if ids, err := u.GroupIds(); err == nil {
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil && n != gid {
				groups = append(groups, n)
			}
		}
	}
	// All threads change: the runtime sees to it (syscall.AllThreadsSyscall).
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(groups) },
		func() error { return syscall.Setgid(gid) },
		func() error { return syscall.Setuid(uid) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("becoming the user %s: %w", name, err)
		}
	}
	return nil
}

// always is a function that returns v.
func always[T any](v T) func() T { return func() T { return v } }
