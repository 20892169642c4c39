package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/auth"
	"nestbox/storage"
)

// both runs a test on an open store and through a socket.
func both(t *testing.T, f func(t *testing.T, api API)) {
	t.Helper()
	for _, remote := range []bool{false, true} {
		t.Run(fmt.Sprintf("remote=%v", remote), func(t *testing.T) {
			t.Parallel()
			f(t, open(t, remote))
		})
	}
}

func open(t *testing.T, remote bool) API {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Init(dir); err != nil {
		t.Fatal(err)
	}
	local, err := OpenLocal(dir, storage.Options{NoSync: true, MaxMessage: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Close(); err != nil {
			t.Error(err)
		}
	})
	if !remote {
		return local
	}
	return serve(t, local, filepath.Join(dir, SocketFile))
}

func serve(t *testing.T, api API, path string) *Remote {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(api, Status{Version: "test", PID: os.Getpid()}, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(context.Background()), <-done); err != nil {
			t.Error(err)
		}
	})
	r, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func mustAccount(t *testing.T, api API, name string) {
	t.Helper()
	if _, err := api.AddAccount(t.Context(), name, "a password"); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, api API) {
		ctx := t.Context()
		mustAccount(t, api, "anna")
		_, again := api.AddAccount(ctx, "ANNA", "a password")
		for _, c := range []struct {
			err, want error
		}{
			{again, storage.ErrAccountExists},
			{api.SetPassword(ctx, "bob", "x"), storage.ErrNoAccount},
			{api.DeleteAccount(ctx, "bob"), storage.ErrNoAccount},
			{api.DeleteAddress(ctx, "x@example.org"), storage.ErrNoAddress},
			{api.DeleteDomain(ctx, "example.org"), storage.ErrNoDomain},
			{api.Export(ctx, "anna", "Nothing", nil), storage.ErrNoMailbox},
			{api.Export(ctx, "bob", "INBOX", nil), storage.ErrNoAccount},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("error %v, want %v", c.err, c.want)
			}
		}
		if _, err := api.AddAccount(ctx, "a/b", "a password"); err == nil || !strings.Contains(err.Error(), "a/b") {
			t.Errorf("a bad name: %v", err)
		}
		var password *auth.PasswordError
		if err := api.SetPassword(ctx, "anna", ""); err == nil || !strings.Contains(err.Error(), "password") {
			t.Errorf("an empty password: %v (%v)", err, errors.As(err, &password))
		}
		im, err := api.Import(ctx, "bob", ImportOptions{})
		if err == nil {
			_, err = im.Close()
		}
		if !errors.Is(err, storage.ErrNoAccount) {
			t.Errorf("import: %v", err)
		}
	})
}

// exportAll reads a mailbox back.
func exportAll(t *testing.T, api API, account, mailbox string) (all []string, meta []Message) {
	t.Helper()
	err := api.Export(t.Context(), account, mailbox, func(m *Message, body io.Reader) error {
		b, err := io.ReadAll(body)
		all, meta = append(all, string(b)), append(meta, *m)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, meta
}

func TestImportAndExport(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, api API) {
		mustAccount(t, api, "anna")
		day := time.Date(2026, 11, 23, 1, 31, 0, 0, time.FixedZone("", 3600))
		big := "Subject: big\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 30_000)
		for round := range 2 {
			var refused []string
			im, err := api.Import(t.Context(), "anna", ImportOptions{Refused: func(source string, _ error) { refused = append(refused, source) }})
			if err != nil {
				t.Fatal(err)
			}
			add := func(box, source string, body io.Reader) error {
				return im.Add(&Message{Mailbox: box, Flags: []imap.Flag{imap.FlagSeen, "Work"}, Date: day, Size: -1, Source: source}, body)
			}
			for i := range 100 {
				if err := add("INBOX", "", strings.NewReader(fmt.Sprintf("Subject: %d\r\n\r\nx\r\n", i))); err != nil {
					t.Fatal(err)
				}
			}
			broken := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("Subject: broken\r\n")))
			var src *SourceError
			if err := add("Böx/Sub", "broken", broken); !errors.As(err, &src) || !errors.Is(err, iotest.ErrTimeout) {
				t.Errorf("a broken source: %v", err)
			}
			for source, body := range map[string]string{"too big": strings.Repeat("x", 2<<20), "big": big, "same": "Subject: 1\r\n\r\nx\r\n"} {
				if err := add("Böx/Sub", source, strings.NewReader(body)); err != nil {
					t.Fatal(err)
				}
			}
			if err := add("bad\x01name", "bad name", strings.NewReader("A: 1\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			if err := im.Mailbox("Empty"); err != nil {
				t.Fatal(err)
			}
			stats, err := im.Close()
			want := ImportStats{Added: 102, Skipped: 0, Refused: 2, Octets: stats.Octets}
			if round == 1 {
				want = ImportStats{Skipped: 102, Refused: 2}
			}
			if err != nil || stats != want || len(refused) != 2 {
				t.Errorf("round %d: %+v, refused %q, %v", round, stats, refused, err)
			}
		}
		all, meta := exportAll(t, api, "anna", "INBOX")
		if len(all) != 100 || all[7] != "Subject: 7\r\n\r\nx\r\n" {
			t.Fatalf("%d messages, %q", len(all), all[7])
		}
		if m := meta[7]; !m.Date.Equal(day) || len(m.Flags) != 2 || m.UID != 8 || m.ID == "" || m.Mixed || m.NoFinalLF {
			t.Errorf("%+v", m)
		}
		all, _ = exportAll(t, api, "anna", "Böx/Sub")
		if len(all) != 2 || all[0] != big && all[1] != big {
			t.Errorf("%d messages", len(all))
		}
		boxes, err := api.Mailboxes(t.Context(), "anna")
		names := map[string]bool{}
		for _, b := range boxes {
			names[b.Name] = true
		}
		if err != nil || !names["Empty"] || !names["Böx/Sub"] || names["bad\x01name"] {
			t.Errorf("mailboxes %v, %v", boxes, err)
		}
	})
}

// An export whose bodies the caller doesn't read, or stops.
func TestExportStops(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, api API) {
		mustAccount(t, api, "anna")
		im, err := api.Import(t.Context(), "anna", ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			body := fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat("x", 100_000))
			if err := im.Add(&Message{Mailbox: "INBOX", Size: -1}, strings.NewReader(body)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := im.Close(); err != nil {
			t.Fatal(err)
		}
		seen := 0
		if err := api.Export(t.Context(), "anna", "INBOX", func(*Message, io.Reader) error { seen++; return nil }); err != nil || seen != 5 {
			t.Errorf("unread: %d, %v", seen, err)
		}
		stop := errors.New("stop")
		if err := api.Export(t.Context(), "anna", "INBOX", func(*Message, io.Reader) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("stopped: %v", err)
		}
		if _, err := api.Accounts(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// A client that goes away in the middle of a message: what came before may be
// there, nothing is half there, and the server goes on.
func TestImportCutOff(t *testing.T) {
	t.Parallel()
	api := open(t, true)
	mustAccount(t, api, "anna")
	ctx, cancel := context.WithCancel(t.Context())
	im, err := api.Import(ctx, "anna", ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Add(&Message{Mailbox: "INBOX", Size: -1}, strings.NewReader("A: 1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	half := io.MultiReader(strings.NewReader("A: 2\r\n\r\n"+strings.Repeat("x", 200<<10)), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, ctx.Err()
	}))
	if err := im.Add(&Message{Mailbox: "INBOX", Size: -1}, half); err == nil {
		t.Error("no error")
	}
	if _, err := im.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	all, _ := exportAll(t, api, "anna", "INBOX")
	for _, b := range all {
		if b != "A: 1\r\n\r\n" {
			t.Errorf("half a message of %d bytes is there", len(b))
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketFile)
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoServer) {
		t.Errorf("no socket: %v", err)
	}
	// What a dead server left.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoServer) {
		t.Errorf("a dead socket: %v", err)
	}
	r := serve(t, open(t, false), path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if r.Status().Version != "test" {
		t.Errorf("status %+v", r.Status())
	}
	var e *Error
	if err := r.call(t.Context(), "GET", "/v1/nothing", nil, nil, nil); !errors.As(err, &e) || !strings.Contains(e.Text, "404") {
		t.Errorf("an unknown call: %v", err)
	}
	if err := r.call(t.Context(), "POST", "/v1/accounts", nil, "no object", nil); !errors.Is(err, errWrongUse) {
		t.Errorf("a bad request: %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	fw := newFrameWriter(&b)
	if err := errors.Join(fw.write(&frame{Mailbox: "x"}),
		fw.message(&Message{Mailbox: "INBOX"}, strings.NewReader("A: 1\r\n")), fw.write(&frame{End: true})); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("{\"message\":{}}\n\xff\xff\xff\xff{\"end\":true}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fr := newFrameReader(bytes.NewReader(in))
		for range 1000 {
			fm, err := fr.next()
			if err != nil || fm.End {
				return
			}
			if fm.Message != nil {
				if n, _ := io.Copy(io.Discard, fr.body()); n > int64(len(in)) {
					t.Fatalf("%d bytes out of %d", n, len(in))
				}
			}
		}
	})
}
