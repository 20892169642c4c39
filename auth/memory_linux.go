package auth

import "syscall"

// machineMemory is how much the machine has, in bytes.
func machineMemory() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return leastMemory
	}
	return int64(info.Totalram) * int64(info.Unit)
}
