package storage

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystems are the numbers of statfs(2).
var fileSystems = map[uint32]string{
	0xef53: "ext4", 0x9123683e: "btrfs", 0x58465342: "xfs", 0xf2f52010: "f2fs", 0x2fc12fc1: "zfs", 0xca451a4e: "bcachefs",
	0x24051905: "ubifs", 0x72b6: "jffs2", 0x794c7630: "overlay", 0x01021994: "tmpfs", 0x858458f6: "ramfs",
	0x73717368: "squashfs", 0xe0f5e1e2: "erofs", 0x9660: "iso9660",
	0x4d44: "vfat", 0x2011bab0: "exfat", 0x5346544e: "ntfs", 0x7366746e: "ntfs3", 0x482b: "hfsplus", 0x65735546: "fuse",
	0x6969: "nfs", 0xff534d42: "cifs", 0xfe534d42: "smb2", 0x517b: "smb", 0x01021997: "9p", 0x00c36400: "ceph",
}

func statFS(dir string) (FileSystem, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return FileSystem{}, err
	}
	kind := uint32(s.Type)
	name, ok := fileSystems[kind]
	if !ok {
		name = fmt.Sprintf("a file system of type %#x", kind)
	}
	return FileSystem{
		Type: name, Memory: name == "tmpfs" || name == "ramfs",
		Size: int64(s.Blocks) * int64(s.Bsize), Free: int64(s.Bavail) * int64(s.Bsize),
	}, nil
}
