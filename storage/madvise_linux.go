package storage

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var pageSize = uintptr(os.Getpagesize())

// willNeed asks the kernel to read all of v, part of a map, at once: bbolt's
// maps have no read-ahead (STORAGE.md §2: three times as fast when cold).
func willNeed(v []byte) {
	if len(v) <= int(pageSize) {
		return
	}
	start := uintptr(unsafe.Pointer(&v[0]))
	before := start % pageSize
	// The pages that v lies in are all part of the map.
	pages := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&v[0]), -int(before))), len(v)+int(before))
	_ = unix.Madvise(pages, unix.MADV_WILLNEED) // advice
}
