package mailfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxDepth bounds how deep folders lie: links can make circles.
const maxDepth = 50

// A walker finds the mail below a folder.
type walker struct {
	o       Options
	file    func(found) error
	mailbox func(name string) error
	say     bool // tell of what isn't taken
	any     bool // something was found
}

func rootMailbox(name string) string {
	if name == "" {
		return "INBOX"
	}
	return name
}

// child is the mailbox of something in the folder of parent, "" for the top.
func (w *walker) child(parent, name string) string {
	switch {
	case parent != "":
		return parent + "/" + name
	case w.o.Mailbox != "":
		return w.o.Mailbox + "/" + name
	}
	return name
}

// walk visits a folder whose mailbox is name, "" for the top.
func (w *walker) walk(dir, name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders lie deeper than %d levels", dir, maxDepth)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if depth == 0 {
			return err
		}
		if w.say {
			w.o.Failed(dir, err)
		}
		return nil
	}
	own := name
	if own == "" {
		own = rootMailbox(w.o.Mailbox)
	}
	maildir := (w.o.Format == Auto || w.o.Format == Maildir) && isMaildir(dir)
	if maildir {
		if err := w.maildir(dir, own); err != nil {
			return err
		}
	}
	told := false
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if isFolder(path, e) {
			if maildir && (e.Name() == "cur" || e.Name() == "new" || e.Name() == "tmp") {
				continue
			}
			if err := w.folder(path, e.Name(), name, depth); err != nil {
				return err
			}
			continue
		}
		if maildir {
			continue // what lies beside cur and new is other programs' business
		}
		if err := w.plain(path, e, name, own, &told); err != nil {
			return err
		}
	}
	return nil
}

func isFolder(path string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// folder visits a folder in a folder.
func (w *walker) folder(path, base, parent string, depth int) error {
	switch {
	case strings.HasPrefix(base, "."):
		// Maildir++: all folders lie in the top one, ".A.B" is B in A.
		if (w.o.Format == Auto || w.o.Format == Maildir) && isMaildir(path) {
			return w.walk(path, w.child(parent, dotName(base)), depth+1)
		}
		return nil
	case strings.HasSuffix(base, ".sbd"): // Thunderbird: folders in the folder
		base = strings.TrimSuffix(base, ".sbd")
	}
	return w.walk(path, w.child(parent, decodeName(base)), depth+1)
}

func (w *walker) maildir(dir, mailbox string) error {
	w.any = true
	if err := w.mailbox(mailbox); err != nil {
		return err
	}
	names, err := maildirNames(dir)
	if err != nil {
		if w.say {
			w.o.Failed(dir, err)
		}
		return nil
	}
	words := readKeywords(dir)
	for _, name := range names {
		f := found{path: filepath.Join(dir, name), mailbox: mailbox, format: Maildir, words: &words}
		if !w.say { // counting: reading stats the file itself
			info, err := os.Stat(f.path)
			if err != nil {
				continue
			}
			f.size = info.Size()
		}
		if err := w.file(f); err != nil {
			return err
		}
	}
	return nil
}

// plain visits a file in a folder that is no Maildir: a message, or an mbox
// that is a mailbox of its own.
func (w *walker) plain(path string, e fs.DirEntry, parent, own string, told *bool) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(e.Name(), ".") {
		return nil
	}
	f := found{path: path, size: info.Size(), mailbox: own}
	switch f.format = w.kind(path, e.Name()); f.format {
	case EMLFiles:
		if !*told {
			if err := w.mailbox(own); err != nil {
				return err
			}
			*told = true
		}
	case "":
		return nil
	default:
		f.mailbox = w.child(parent, mboxName(e.Name()))
		if err := w.mailbox(f.mailbox); err != nil {
			return err
		}
	}
	w.any = true
	return w.file(f)
}

// kind is what a file in a folder is taken for, "" for nothing.
func (w *walker) kind(path, name string) Format {
	lower := strings.ToLower(name)
	eml := strings.HasSuffix(lower, ".eml") || strings.HasSuffix(lower, ".eml.gz")
	switch {
	case w.o.Format == EMLFiles:
		return EMLFiles
	case w.o.Format == Maildir:
		return ""
	case w.o.Format == Auto && (eml || strings.Trim(name, "0123456789") == ""): // MH names messages by number
		return EMLFiles
	}
	line, err := firstLine(path)
	if _, _, from := parseFromLine(line); err == nil && !from && (line != "" || !strings.HasSuffix(lower, ".mbox")) {
		return "" // an empty .mbox is a mailbox without messages
	}
	if w.o.Format == Auto {
		return Mbox
	}
	return w.o.Format
}

// mboxName is the mailbox of an mbox in a folder.
func mboxName(file string) string {
	name := file
	for _, suffix := range []string{".gz", ".mbox", ".mbx"} {
		if strings.HasSuffix(strings.ToLower(name), suffix) && len(name) > len(suffix) {
			name = name[:len(name)-len(suffix)]
		}
	}
	return name
}
