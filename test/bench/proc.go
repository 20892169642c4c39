package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A footprint is memory summed over processes, in KB. It is the proportional
// set size: shared pages are divided by their users, which is fair to servers
// of one process and of many.
type footprint struct {
	pss, anon int64
	processes int
}

// tree is a process and all its descendants.
func tree(root int) (pids []int) {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if f := statFields(pid); f != nil {
				parent, _ := strconv.Atoi(f[1])
				children[parent] = append(children[parent], pid)
			}
		}
	}
	pids = []int{root}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// statFields is /proc/PID/stat from the state on, or nil.
func statFields(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 22 {
		return nil
	}
	return fields
}

// procField reads a line "Name:   123" of a /proc file.
func procField(b []byte, name string) int64 {
	i := bytes.Index(b, []byte("\n"+name+":"))
	if i < 0 {
		return 0
	}
	fields := bytes.Fields(b[i+len(name)+2:])
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return n
}

// memory sums the memory of a process tree.
func memory(root int) (m footprint) {
	for _, pid := range tree(root) {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if err != nil {
			continue // it has ended
		}
		m.processes++
		m.pss += procField(b, "Pss")
		m.anon += procField(b, "Pss_Anon")
	}
	return m
}

// cpu is the processor time of a process tree, with children that have ended.
// The kernel counts in steps of 10 ms.
func cpu(root int) time.Duration {
	var ticks int64
	for _, pid := range tree(root) {
		if f := statFields(pid); f != nil {
			for _, i := range []int{11, 12, 13, 14} { // utime, stime, and those of children
				n, _ := strconv.ParseInt(f[i], 10, 64)
				ticks += n
			}
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// onCPU is the processor time of the processes that live now, to the
// nanosecond.
func onCPU(root int) (d time.Duration) {
	if root == 0 {
		return 0
	}
	for _, pid := range tree(root) {
		files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil {
				if fields := strings.Fields(string(b)); len(fields) > 0 {
					n, _ := strconv.ParseInt(fields[0], 10, 64)
					d += time.Duration(n)
				}
			}
		}
	}
	return d
}

// written is how many bytes a process tree has caused to be written to disk.
func written(root int) (bytes int64) {
	for _, pid := range tree(root) {
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/io"); err == nil {
			bytes += procField(b, "write_bytes")
		}
	}
	return bytes
}

// quiet waits until a process tree has neither worked nor written for three
// seconds, at most limit: what it does in the background is then done.
func quiet(root int, limit time.Duration) {
	still := 0
	for end := time.Now().Add(limit); still < 3 && time.Now().Before(end); {
		before, bytes := cpu(root), written(root)
		time.Sleep(time.Second)
		if still++; cpu(root)-before > 20*time.Millisecond || written(root) != bytes {
			still = 0
		}
	}
}

// peak samples memory until stop is called, which returns the largest sums.
func peak(root int) (stop func() footprint) {
	done := make(chan struct{})
	var top footprint
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			m := memory(root)
			top = footprint{max(top.pss, m.pss), max(top.anon, m.anon), max(top.processes, m.processes)}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() footprint {
		close(done)
		sampling.Wait()
		return top
	}
}

// diskUse sums the blocks of the files under dir.
func diskUse(dir string) (bytes int64, err error) {
	seen := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went away
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return nil // it went away
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
			seen[st.Ino] = true
			bytes += st.Blocks * 512
		}
		return nil
	})
	return bytes, err
}
