package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nestbox/test/rig"
)

const importMessages = 1500

// writeMbox makes an mbox of messages that are all different.
func writeMbox(t *testing.T, random *rand.Rand) (path string) {
	t.Helper()
	var b bytes.Buffer
	for i := range importMessages {
		b.WriteString("From ann@example.org Mon Jan  2 15:04:05 2023\n")
		b.Write(bytes.ReplaceAll(makeMessage(random, fmt.Sprintf("import.%d", i), 500+random.IntN(6000)), []byte("\r\n"), []byte("\n")))
		b.WriteString("\n")
	}
	path = filepath.Join(t.TempDir(), "in.mbox")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestImportKilled: an import that is killed, or whose server is, can be run
// again until it is through; then every message is there once.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	random := *seed
	if random == 0 {
		random = rand.Uint64()
	}
	t.Logf("seed %d", random)
	s := newScene(t, rand.New(rand.NewPCG(random, 3)), false)
	mbox := writeMbox(t, s.random)
	args := []string{"import", "--account", accounts[0], "--mailbox", "Imported", mbox}
	for range 3 { // without a server
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+s.random.IntN(200))*time.Millisecond)
		if _, err := s.n.Run(ctx, "", args...); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		cancel()
	}
	for range 2 { // with one
		s.killDuringImport(t, args)
	}
	if err := check(s.n.Data); err != nil {
		t.Fatal(err)
	}
	server, err := s.n.Start()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.n.Run(t.Context(), "", args...)
	if err != nil {
		t.Error(err)
	}
	t.Logf("the last run: %s", out)
	c, err := server.Connect(accounts[0], password)
	if err != nil {
		t.Fatal(err)
	}
	box, err := readMailbox(c, "Imported", true)
	if err != nil {
		t.Error(err)
	}
	different := map[string]bool{}
	for _, m := range box.messages {
		different[m.sum] = true
	}
	if len(box.messages) != importMessages || len(different) != importMessages {
		t.Errorf("%d messages, %d different ones; want %d", len(box.messages), len(different), importMessages)
	}
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	if _, err := server.Stop(); err != nil {
		t.Error(err)
	}
}

// killDuringImport kills the server under an import, which must then fail.
func (s *scene) killDuringImport(t *testing.T, args []string) {
	t.Helper()
	server, err := s.n.Start()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.n.Run(t.Context(), "", args...)
		ended <- err
	}()
	select {
	case err := <-ended: // all of it was there already, or it was fast
		if err != nil {
			t.Error(err)
		}
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		return
	case <-time.After(time.Duration(20+s.random.IntN(200)) * time.Millisecond):
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	// It may have been through just then; else it must say so by its exit code.
	var failed *rig.CommandError
	if err := <-ended; err != nil && (!errors.As(err, &failed) || failed.Code <= 0) {
		t.Errorf("the server was killed and the import said %v", err)
	}
}
