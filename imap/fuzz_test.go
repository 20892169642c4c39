package imap

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The whole server under fuzz, in each state. What must hold: no panic, every
// connection ends after LOGOUT, every line is well-formed, and the store is
// sound (newTestBox checks it at the end).

// seedLines are the client's lines of the transcripts, and some of our own.
func seedLines(f *testing.F) (lines []string) {
	lines = []string{
		"a1 NOOP", "a1 CAPABILITY", "a1 ID (\"name\" \"x\")", "a1 LOGIN ann x", "a1 AUTHENTICATE PLAIN =", "a1 AUTHENTICATE PLAIN\r\n*",
		"a1 LOGIN {3+}\r\nann {3+}\r\nxyz", "a1 LOGIN {5000+}\r\nx", "a1 SELECT INBOX", "a1 EXAMINE \"INBOX\" (X)", "a1 CREATE a/b (USE (\\Sent))",
		"a1 LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"*\" \"%\") RETURN (STATUS (MESSAGES SIZE) CHILDREN)", "a1 LSUB \"\" %",
		"a1 APPEND INBOX (\\Seen x) \"17-Jul-1996 02:44:25 -0700\" {4+}\r\na\r\nb", "a1 APPEND INBOX ~{4+}\r\na\x00\nb",
		"a1 IDLE\r\nDONE", "a1 ENABLE IMAP4rev2", "a1 STATUS INBOX (RECENT UNSEEN)", "a1 NAMESPACE", "a1 RENAME INBOX x", "a1 DELETE a/b",
		"a1 FETCH 1:* (UID FLAGS BODY.PEEK[1.2.HEADER.FIELDS (A B)]<0.10> ENVELOPE BODYSTRUCTURE BINARY.SIZE[1])", "a1 UID FETCH * ALL",
		"a1 STORE 1 -FLAGS.SILENT (\\Deleted x)", "a1 UID STORE 1:2 FLAGS ()", "a1 SEARCH RETURN (MIN SAVE) CHARSET UTF-8 OR (FROM x) NOT TEXT \"y\"",
		"a1 UID SEARCH $ UID 1:* SENTSINCE 1-Feb-1994", "a1 COPY 1 Sent", "a1 UID MOVE 1:* Trash", "a1 EXPUNGE", "a1 UID EXPUNGE 1:*", "a1 CLOSE", "a1 UNSELECT",
	}
	files, err := filepath.Glob("testdata/script/*.txt")
	must(f, err)
	seen := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		must(f, err)
		for line := range strings.Lines(string(text)) {
			_, command, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
			if !ok || !strings.HasPrefix(line, "C") {
				continue
			}
			// Each once, whatever its tag: a transcript that doubles a mailbox ten
			// times over is not to do that here.
			_, key, tagged := strings.Cut(command, " ")
			if !tagged {
				key = command
			}
			if !seen[key] {
				seen[key] = true
				lines = append(lines, command)
			}
		}
	}
	return lines
}

func fuzzServer(f *testing.F, prelude string) {
	for _, line := range seedLines(f) {
		f.Add([]byte(line + "\r\n"))
	}
	b := newTestBox(f, func(o *Options) {
		o.ReadTimeout, o.MaxConns, o.MaxConnsPerAddr, o.InsecureAuth = 2*time.Second, 1<<20, 1<<20, true
	})
	// Not TCP, whose ports wait for minutes after a connection.
	l, err := net.Listen("unix", filepath.Join(f.TempDir(), "imap"))
	must(f, err)
	go func() { _ = b.srv.Serve(l, false) }()
	f.Cleanup(func() { l.Close() })
	setup := b.login()
	setup.append("INBOX", "", smallMessage)
	setup.append("INBOX", `(\Deleted) `, "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: two\r\n\r\n--x--\r\n")
	f.Fuzz(func(t *testing.T, input []byte) {
		if bytes.Contains(bytes.ToUpper(input), []byte("LOGIN")) || bytes.Contains(bytes.ToUpper(input), []byte("AUTHENTICATE")) {
			return // a wrong password is made to wait
		}
		conn, err := net.Dial("unix", l.Addr().String())
		must(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		go func() {
			_, _ = io.WriteString(conn, prelude)
			_, _ = conn.Write(input)
			_, _ = io.WriteString(conn, "\r\nDONE\r\nzz LOGOUT\r\n")
			_ = conn.(*net.UnixConn).CloseWrite()
		}()
		output, err := io.ReadAll(conn)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatalf("the connection stays open: %q", output)
		}
		if text := b.log.String(); strings.Contains(text, "imap_panic") || strings.Contains(text, "imap_command_failed") {
			t.Fatalf("the server logged:\n%s", text)
		}
	})
}

func FuzzBeforeLogin(f *testing.F) { fuzzServer(f, "") }

func FuzzAuthenticated(f *testing.F) {
	fuzzServer(f, "a LOGIN ann \""+testPassword+"\"\r\n")
}

func FuzzSelected(f *testing.F) {
	fuzzServer(f, "a LOGIN ann \""+testPassword+"\"\r\nb APPEND INBOX {2+}\r\nx\n\r\nc SELECT INBOX\r\n")
}
