package e2e

import (
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"nestbox/test/blockdisk"
)

var (
	diskCuts = flag.Int("disk-cuts", 12, "power cuts of TestPowerCutOfADisk")
	diskSeed = flag.Uint64("disk-seed", 0, "of the cuts; 0: another one each time")
)

// TestPowerCutOfADisk: the server works on a real ext4 whose disk loses power.
// Of the blocks that were written since the last flush any may be there, in any
// order. The file system mends itself by its journal; what was acknowledged is
// there, and check finds nothing.
func TestPowerCutOfADisk(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	need(t, "mkfs.ext4", "losetup")
	const size = 96 << 20
	disk, err := blockdisk.New(t.TempDir(), size)
	if err != nil {
		t.Skipf("no disk can be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("mkfs.ext4", "-q", disk.Device).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v: %s", err, out)
	}
	dir := t.TempDir()
	if err := syscall.Mount(disk.Device, dir, "ext4", 0, ""); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	n := install(t)
	n.Data = filepath.Join(dir, "data")
	command(t, n, "", "init")
	if err := n.AddAccount(t.Context(), "anna", "a password"); err != nil {
		t.Fatal(err)
	}
	s, err := n.Start("--control", filepath.Join(t.TempDir(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	stop := team(t, s, []string{"anna"}, 3, 5*time.Millisecond)
	for end := time.Now().Add(time.Minute); len(disk.Events()) < 4000 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	workers := stop()
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	events := disk.Events()
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	first := time.Now() // of all that was acknowledged
	for _, w := range workers {
		if len(w.acked) > 0 && w.acked[0].at.Before(first) {
			first = w.acked[0].at
		}
	}
	begin, flushes := 0, 0
	for i, e := range events {
		if e.At.Before(first) {
			begin = i + 2
		}
		if e.Flush {
			flushes++
		}
	}
	if begin >= len(events) || flushes < 100 {
		t.Fatalf("%d events, %d flushes, the first message after %d", len(events), flushes, begin)
	}
	seed := *diskSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d, %d writes, %d flushes", seed, len(events)-flushes, flushes)
	random := rand.New(rand.NewPCG(seed, 1))
	for range *diskCuts {
		cutOfADisk(t, size, events[:begin+random.IntN(len(events)-begin)], random, workers)
	}
}

// cutOfADisk looks at what is left after the events.
func cutOfADisk(t *testing.T, size int64, events []blockdisk.Event, random *rand.Rand, workers []*worker) {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := blockdisk.Cut(image, size, events, random); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Fatalf("after %d events the file system is gone: %v: %s", len(events), err, out)
	}
	defer func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
		_ = os.Remove(image)
	}()
	lookAtSnapshot(t, filepath.Join(dir, "data"), workers, events[len(events)-1].At)
}
