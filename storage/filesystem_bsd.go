//go:build darwin || freebsd

package storage

import "golang.org/x/sys/unix"

func statFS(dir string) (FileSystem, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return FileSystem{}, err
	}
	name := unix.ByteSliceToString(s.Fstypename[:])
	return FileSystem{
		Type: name, Memory: name == "tmpfs",
		Size: int64(s.Blocks) * int64(s.Bsize), Free: max(0, int64(s.Bavail)) * int64(s.Bsize),
	}, nil
}
