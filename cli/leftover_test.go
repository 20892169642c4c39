package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// An import that finds no room leaves no mailbox behind that it made for what
// didn't fit; one that was there stays, and so does one that got mail.
func TestImportWithoutRoomLeavesNoMailbox(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "apple", "pear")
	at := " --data " + data
	more := writeText(t, filepath.Join(t.TempDir(), "more.eml"), "Subject: more\r\n\r\nmore\r\n")
	wantOut(t, "quota anna --messages 3"+at, "3")
	boxes := func() string {
		s := startServer(t, data)
		defer func() {
			_ = s.Close()
			<-s.code
		}()
		return ask(t, s, `LIST "" "*"`, `LSUB "" "*"`)
	}
	for _, running := range []bool{true, false} {
		var s *server
		if running {
			s = startServer(t, data)
			// There is room for this one, and a mailbox for the next.
			must(t, "", "import", "--data", data, "--account", "anna", "--mailbox", "Fits", more)
			wantCode(t, exitFailed, "quota of 3 messages exceeded", "import", "--data", data, "--account", "anna", "--mailbox", "Drafts",
				writeText(t, filepath.Join(t.TempDir(), "other.eml"), "Subject: other\r\n\r\nother\r\n"))
		}
		wantCode(t, exitFailed, "quota of 3 messages exceeded", "import", "--data", data, "--account", "anna", "--mailbox", "Big/Two", more)
		if s != nil {
			_ = s.Close()
			<-s.code
		}
		if all := boxes(); strings.Contains(all, "Big") || !strings.Contains(all, "Fits") || !strings.Contains(all, "Drafts") {
			t.Errorf("running=%v: %s", running, all)
		}
	}
}

// The last line of the log is that the server has stopped, also when repeated
// lines were held back.
func TestStoppedIsTheLastLine(t *testing.T) {
	t.Parallel()
	s := startServer(t, houseOfMail(t, "apple"))
	for range 2 {
		for _, name := range []string{"nobody", "noone"} {
			s.dial(t).do("LOGIN " + name + " wrong")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.code
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	repeated := 0
	for _, line := range lines {
		if strings.Contains(line, "repeated=") {
			repeated++
		}
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "event=server_stopped") || repeated == 0 {
		t.Errorf("%d repeated lines:\n%s", repeated, strings.Join(lines, "\n"))
	}
}
