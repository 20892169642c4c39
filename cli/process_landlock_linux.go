package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock (landlock(7)) is three system calls, so there is no package for
// it. leastLandlock is the first version that lets a file move from one folder
// to another, as the store does: Linux 5.19.
const leastLandlock = 2

const (
	readAccess   = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	socketAccess = unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	writeAccess  = readAccess | socketAccess | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// fileAccess is what there is to allow of a file that is no folder.
	fileAccess = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// landlock takes from the process, for good, all files but those below paths,
// and running programs. It returns Landlock's version.
func landlock(mode string, paths []wantedPath) (int, error) {
	if mode == "off" {
		return 0, errors.New("off in the configuration")
	}
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno == unix.ENOSYS:
		return 0, errors.New("the kernel doesn't have it")
	case errno == unix.EOPNOTSUPP:
		return 0, errors.New("the kernel has it switched off")
	case errno != 0:
		return 0, fmt.Errorf("the kernel doesn't let us: %w", errno)
	case version < leastLandlock:
		return 0, fmt.Errorf("the kernel's version %d is too old", version)
	}
	handled := handledAccess(version)
	// Later fields stay away: signals to other threads of the same process,
	// which Go's runtime sends, are taken for signals to others by some kernels.
	attr := struct{ fs uint64 }{handled}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("landlock_create_ruleset", errno)
	}
	defer unix.Close(int(ruleset))
	for _, p := range paths {
		if err := allowPath(int(ruleset), p, handled); err != nil {
			return 0, err
		}
	}
	// The call is for one thread; the runtime makes it in all of them.
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno == unix.ENOTSUP {
		return 0, errors.New("this binary was built with cgo, whose threads are not Go's to change")
	} else if errno != 0 {
		return 0, os.NewSyscallError("landlock_restrict_self", errno)
	}
	return int(version), nil
}

// handledAccess is all that a version of Landlock can forbid and that we know.
func handledAccess(version uintptr) uint64 {
	handled := uint64(unix.LANDLOCK_ACCESS_FS_TRUNCATE) - 1 // bits up to REFER
	if version >= 3 {
		handled |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 5 {
		handled |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return handled
}

// allowPath adds a rule. What isn't there needs none.
func allowPath(ruleset int, p wantedPath, handled uint64) error {
	fd, err := unix.Open(p.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // gone, or not ours to look at: then it can't be opened later either
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return &os.PathError{Op: "stat", Path: p.path, Err: err}
	}
	allowed := handled & [...]uint64{reading: readAccess, writing: writeAccess, socketing: socketAccess}[p.access]
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		allowed &= fileAccess
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: allowed, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return &os.PathError{Op: "landlock_add_rule", Path: p.path, Err: errno}
	}
	return nil
}

// aboveMount is the folder in which the mount point of a data folder is; ""
// if that is the root folder, or nothing is mounted below it.
func aboveMount(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	for strings.Count(path, "/") > 1 {
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, 0, 0, &st); err != nil {
			return ""
		}
		path = filepath.Dir(path)
		if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
			return path
		}
	}
	return ""
}
