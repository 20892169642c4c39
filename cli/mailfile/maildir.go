package mailfile

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
)

// Flags in the names of Maildir files, after ":2,". Where a file system takes
// no colon, other marks are used.
var maildirFlags = []struct {
	letter byte
	flag   imap.Flag
}{
	{'D', imap.FlagDraft}, {'F', imap.FlagFlagged}, {'P', imap.FlagForwarded},
	{'R', imap.FlagAnswered}, {'S', imap.FlagSeen}, {'T', imap.FlagDeleted},
}

var infoMarks = []string{":2,", ";2,", "!2,"}

// keywordsFile is Dovecot's: "0 $Label1", and a message with "a" has it.
const keywordsFile = "dovecot-keywords"

// maxMaildirKeywords is how many letters there are.
const maxMaildirKeywords = 26

// isMaildir tells whether a folder is a mailbox.
func isMaildir(dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// readKeywords reads the keywords of a Maildir by their letters.
func readKeywords(dir string) (words [maxMaildirKeywords]imap.Flag) {
	f, err := os.Open(filepath.Join(dir, keywordsFile))
	if err != nil {
		return words
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		number, word, _ := strings.Cut(s.Text(), " ")
		if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < len(words) && word != "" {
			words[i] = keyword(word)
		}
	}
	return words
}

// infoFlags reads the flags in a file's name.
func infoFlags(name string, words *[maxMaildirKeywords]imap.Flag) []imap.Flag {
	_, letters := splitInfo(name)
	var flags []imap.Flag
	for i := range len(letters) {
		c := letters[i]
		if c >= 'a' && c <= 'z' {
			if w := words[c-'a']; w != "" && !slices.Contains(flags, w) {
				flags = append(flags, w)
			}
			continue
		}
		for _, m := range maildirFlags {
			if m.letter == c && !slices.Contains(flags, m.flag) {
				flags = append(flags, m.flag)
			}
		}
	}
	return flags
}

// splitInfo parts a file's name into its own part and the letters of flags.
func splitInfo(name string) (own, letters string) {
	for _, mark := range infoMarks {
		if i := strings.LastIndex(name, mark); i >= 0 {
			return name[:i], name[i+len(mark):]
		}
	}
	return name, ""
}

// maildirDate is when a message arrived: the file's mtime, which IMAP servers
// set to INTERNALDATE; or the seconds that the name begins with, if they are
// before it: then the mtime got lost in a copy.
func maildirDate(name string, mtime time.Time) time.Time {
	digits := 0
	for digits < len(name) && name[digits] >= '0' && name[digits] <= '9' {
		digits++
	}
	sec, err := strconv.ParseInt(name[:digits], 10, 64)
	if t := time.Unix(sec, 0); err == nil && digits >= 9 && plausible(t) && t.Before(mtime) {
		return t.UTC()
	}
	if !plausible(mtime) {
		return time.Time{}
	}
	return mtime.UTC().Truncate(time.Second)
}

// maildirNames lists the messages of a Maildir in the order of their names,
// which is that of their arrival: cur, then new.
func maildirNames(dir string) (paths []string, err error) {
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
				paths = append(paths, filepath.Join(sub, e.Name()))
			}
		}
	}
	return paths, nil
}

// dotName is the mailbox of a Maildir++ folder ".Lists.golang".
func dotName(folder string) string {
	levels := strings.Split(strings.TrimPrefix(folder, "."), ".")
	for i, l := range levels {
		levels[i] = decodeName(l)
	}
	return strings.Join(levels, "/")
}

// decodeName decodes modified UTF-7 where a name is that, and else leaves it.
// A dot is no part of a Maildir++ name: this program writes it encoded.
func decodeName(name string) string {
	if s, err := wire.DecodeUTF7(strings.ReplaceAll(name, encodedDot, "")); err != nil || s == name {
		return name
	}
	parts := strings.Split(name, encodedDot)
	for i, p := range parts {
		s, err := wire.DecodeUTF7(p)
		if err != nil {
			return name
		}
		parts[i] = s
	}
	return strings.Join(parts, ".")
}

// encodedDot is "." in UTF-7. Strictly it must not be encoded (RFC 3501
// §5.1.3); Maildir++ leaves no other way.
const encodedDot = "&AC4-"

// folderName is the Maildir++ folder of a mailbox; INBOX is the tree itself.
func folderName(mailbox string) (string, error) {
	if mailbox == "INBOX" {
		return "", nil
	}
	levels := strings.Split(mailbox, "/")
	for i, l := range levels {
		levels[i] = strings.ReplaceAll(wire.EncodeUTF7(l), ".", encodedDot)
	}
	name := "." + strings.Join(levels, ".")
	if len(name) > 255 {
		return "", &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("the name is too long for a Maildir++ folder")}
	}
	return name, nil
}

// A MaildirWriter writes one mailbox of a Maildir++ tree.
type MaildirWriter struct {
	dir   string
	ends  LineEnds
	words []imap.Flag
	note  func(string)
	full  bool
	have  map[string]string // own part of the name -> name, of earlier runs
}

// NewMaildirWriter makes the mailbox's folder in the tree root.
func NewMaildirWriter(root, mailbox string, ends LineEnds, note func(string)) (*MaildirWriter, error) {
	folder, err := folderName(mailbox)
	if err != nil {
		return nil, err
	}
	w := &MaildirWriter{dir: filepath.Join(root, folder), ends: ends, note: note, have: make(map[string]string)}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(w.dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if folder != "" {
		// Maildir++ marks its folders with this empty file.
		if err := os.WriteFile(filepath.Join(w.dir, "maildirfolder"), nil, 0o600); err != nil {
			return nil, err
		}
	}
	for _, k := range readKeywords(w.dir) {
		if k != "" {
			w.words = append(w.words, k)
		}
	}
	entries, err := os.ReadDir(filepath.Join(w.dir, "cur"))
	for _, e := range entries {
		own, _ := splitInfo(e.Name())
		w.have[own] = e.Name()
	}
	return w, err
}

// Message writes one message, unless an earlier run did; then only its flags
// are brought up to date.
func (w *MaildirWriter) Message(s *Stored, body io.Reader) error {
	own := strconv.FormatInt(s.Date.Unix(), 10) + "." + s.ID + "U" + strconv.FormatUint(uint64(s.UID), 10) + ".nestbox"
	cur := filepath.Join(w.dir, "cur")
	letters, err := w.letters(s.Flags)
	if err != nil {
		return err
	}
	name := own + ":2," + letters
	if old, ok := w.have[own]; ok {
		if _, err := io.Copy(io.Discard, body); err != nil || old == name {
			return err
		}
		return os.Rename(filepath.Join(cur, old), filepath.Join(cur, name))
	}
	tmp := filepath.Join(w.dir, "tmp", own)
	if err := w.write(tmp, s, body); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Rename(tmp, filepath.Join(cur, name))
}

func (w *MaildirWriter) write(path string, s *Stored, body io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(f, 32<<10)
	err = copyLines(buf, body, s.Mixed || w.ends == AsStored)
	if err == nil {
		err = buf.Flush()
	}
	return errors.Join(err, f.Close(), os.Chtimes(path, s.Date, s.Date))
}

// letters are the flags as they stand in a name: in the order of their bytes.
func (w *MaildirWriter) letters(flags []imap.Flag) (string, error) {
	var b []byte
	for _, f := range flags {
		i := slices.IndexFunc(maildirFlags[:], func(m struct {
			letter byte
			flag   imap.Flag
		}) bool {
			return strings.EqualFold(string(m.flag), string(f))
		})
		if i >= 0 {
			b = append(b, maildirFlags[i].letter)
			continue
		}
		if strings.HasPrefix(string(f), `\`) {
			continue
		}
		c, err := w.wordLetter(f)
		if err != nil {
			return "", err
		}
		if c != 0 {
			b = append(b, c)
		}
	}
	slices.Sort(b)
	return string(b), nil
}

// wordLetter is a keyword's letter, given out when it comes first.
func (w *MaildirWriter) wordLetter(f imap.Flag) (byte, error) {
	i := slices.Index(w.words, f)
	if i >= 0 {
		return 'a' + byte(i), nil
	}
	if len(w.words) >= maxMaildirKeywords {
		if !w.full {
			w.note(w.dir + ": a Maildir has room for 26 keywords, the others are left out")
		}
		w.full = true
		return 0, nil
	}
	w.words = append(w.words, f)
	var b strings.Builder
	for i, k := range w.words {
		b.WriteString(strconv.Itoa(i) + " " + string(k) + "\n")
	}
	err := os.WriteFile(filepath.Join(w.dir, keywordsFile), []byte(b.String()), 0o600)
	return 'a' + byte(len(w.words)-1), err
}
