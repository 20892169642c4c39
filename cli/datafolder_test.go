package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nestbox/config"
	"nestbox/storage"
)

// A server with a configuration file makes no data folder: its disk may not be
// mounted. The first account, made by hand, does.
func TestWhoMakesTheDataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	file := filepath.Join(dir, "nestbox.toml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("data = %q\nimap = [\"127.0.0.1:0\"]\nimaps = []\n", data)), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, 78, "is the disk mounted?", "serve", "--config", file)
	wantCode(t, 78, "is the disk mounted?", "serve", "--config", file, "--data", filepath.Join(dir, "flag"))
	if err := os.Mkdir(data, 0o700); err != nil { // an empty mount point
		t.Fatal(err)
	}
	wantCode(t, 78, "is the disk mounted?", "serve", "--config", file)
	if names, err := os.ReadDir(data); err != nil || len(names) > 0 {
		t.Fatalf("in the mount point: %v, %v", names, err)
	}
	r := nestbox(t, "a good password\n", "account", "add", "anna", "--password-stdin", "--config", file)
	if r.code != 0 || !strings.Contains(r.errout, "is a data folder now") {
		t.Fatalf("first account: %d %s%s", r.code, r.out, r.errout)
	}
	startServer(t, data, "--config", file)

	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "photos"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantCode(t, 78, "nestbox.id", "account", "add", "anna", "--generate", "--data", full)
}

func TestDataInMemory(t *testing.T) {
	t.Parallel()
	if s, err := storage.FileSystemOf("/dev/shm"); err != nil || !s.Memory {
		t.Skip("there is no tmpfs at /dev/shm")
	}
	data, err := os.MkdirTemp("/dev/shm", "nestbox-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	r := nestbox(t, "", "init", "--data", data)
	if r.code != 0 || !strings.Contains(r.errout, "in memory") {
		t.Errorf("named by a flag: %d %s", r.code, r.errout)
	}
	cfg, err := config.Load(config.Input{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data = filepath.Join(data, "default")
	err = (&env{Main: New()}).initFolder(cfg)
	if exitCode(err) != exitUnfit || !strings.Contains(err.Error(), "in memory") {
		t.Errorf("default folder: %v", err)
	}
	if _, err := os.Stat(cfg.Data); !errors.Is(err, os.ErrNotExist) {
		t.Error("it was made all the same")
	}
}
