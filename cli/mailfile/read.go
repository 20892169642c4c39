package mailfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Options of Read.
type Options struct {
	Format Format
	// Mailbox takes the messages that lie in no folder, and is the parent of
	// the others' mailboxes. Empty: INBOX, and they have no parent.
	Mailbox string
	// Note is told of what isn't taken.
	Note func(text string)
	// Failed is told of a file that can't be read; the others are.
	Failed func(path string, err error)
	// Progress is told how many bytes of files were read, and how many there are.
	Progress func(read, total int64)
}

// ErrNoMail says that nothing at the path looks like mail.
var ErrNoMail = errors.New("no mail found")

// Read gives sink what it finds at a path: a file, or a folder with all below it.
func Read(ctx context.Context, path string, o Options, sink Sink) error {
	r := &reading{ctx: ctx, o: o, sink: sink, body: newCRLFReader(nil), head: bufio.NewReaderSize(nil, maxHeader)}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		r.total = info.Size()
		err = r.single(path)
	} else {
		// Once to count, so that the time left can be told, once to read.
		count := walker{o: o, file: func(f found) error { r.total += f.size; return ctx.Err() }, mailbox: func(string) error { return nil }}
		if err := count.walk(path, "", 0); err != nil {
			return err
		}
		w := walker{o: o, file: r.file, mailbox: sink.Mailbox, say: true}
		err = w.walk(path, "", 0)
		if err == nil && !w.any {
			err = ErrNoMail
		}
	}
	return err
}

// reading is one Read.
type reading struct {
	ctx   context.Context
	o     Options
	sink  Sink
	total int64
	read  int64
	body  *crlfReader
	head  *bufio.Reader
}

// single reads a path that is a file.
func (r *reading) single(path string) error {
	f := found{path: path, mailbox: rootMailbox(r.o.Mailbox), format: r.o.Format}
	if err := r.sink.Mailbox(f.mailbox); err != nil {
		return err
	}
	switch r.o.Format {
	case Maildir:
		return fmt.Errorf("%s is no folder", path)
	case Auto:
		line, err := firstLine(path)
		if err != nil {
			return err
		}
		_, _, from := parseFromLine(line)
		eml := strings.HasSuffix(strings.ToLower(path), ".eml")
		switch {
		case !eml && (from || r.total == 0):
			f.format = Mbox
		case eml || strings.IndexAny(line, ": ") > 0 && line[strings.IndexAny(line, ": ")] == ':':
			f.format = EMLFiles
		default:
			return ErrNoMail
		}
	}
	return r.file(f)
}

// file reads a file. What is wrong with it alone is told and passed over.
func (r *reading) file(f found) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	err := r.messages(f)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) && f.format == Maildir {
		r.o.Note(f.path + " went away: its flags were changed meanwhile?")
		return nil
	}
	var src *SourceError
	if errors.As(err, &src) {
		r.o.Failed(f.path, src.Err)
		return nil
	}
	return err
}

// A SourceError is an error of reading a file, not of the sink.
type SourceError struct {
	Path string
	Err  error
}

func (e *SourceError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// source marks a file's errors, and counts what is read.
type source struct {
	r    *reading
	path string
	f    io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.f.Read(p)
	s.r.read += int64(n)
	if s.r.o.Progress != nil && n > 0 {
		s.r.o.Progress(s.r.read, s.r.total)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = &SourceError{s.path, err}
	}
	return n, err
}

// gunzip marks the errors of damaged compressed files.
type gunzip struct {
	*gzip.Reader
	path string
}

func (g gunzip) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	var src *SourceError
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &src) {
		err = &SourceError{g.path, err}
	}
	return n, err
}

// messages gives the sink the messages of a file, which may be compressed.
func (r *reading) messages(f found) error {
	file, err := os.Open(f.path)
	if err != nil {
		return &SourceError{f.path, err}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return &SourceError{f.path, err}
	}
	var in io.Reader = &source{r: r, path: f.path, f: file}
	var at io.ReaderAt
	if info.Mode().IsRegular() {
		at = file
	}
	first := make([]byte, 2)
	if n, _ := io.ReadFull(in, first); n == 2 && first[0] == 0x1F && first[1] == 0x8B {
		z, err := gzip.NewReader(io.MultiReader(bytes.NewReader(first), in))
		if err != nil {
			return &SourceError{f.path, err}
		}
		in, at = gunzip{z, f.path}, nil
	} else {
		in = io.MultiReader(bytes.NewReader(first[:n]), in)
	}
	if f.format.isMbox() {
		return r.mbox(f, newMboxReader(f.path, in, at, f.format))
	}
	m := &Message{Mailbox: f.mailbox, Source: f.path}
	r.head.Reset(in)
	if f.format == Maildir {
		name := filepath.Base(f.path)
		m.Flags = infoFlags(name, f.words)
		m.Date = maildirDate(name, info.ModTime())
	}
	if m.Date.IsZero() {
		header, _ := r.head.Peek(maxHeader)
		m.Date = headerDate(header)
	}
	if m.Date.IsZero() && plausible(info.ModTime()) {
		m.Date = info.ModTime().Truncate(time.Second)
	}
	r.body.reset(r.head)
	return r.sink.Message(m, r.body)
}

func (r *reading) mbox(f found, mr *mboxReader) error {
	for {
		m, body, err := mr.message()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		m.Mailbox = f.mailbox
		m.Source = fmt.Sprintf("%s, message %d", f.path, mr.count)
		if !m.asStored {
			r.body.reset(body)
			body = r.body
		}
		if err := r.sink.Message(m, body); err != nil {
			return err
		}
	}
}

// firstLine is the first line of a file, which may be compressed.
func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if b, _ := in.Peek(2); len(b) == 2 && b[0] == 0x1F && b[1] == 0x8B {
		z, err := gzip.NewReader(in)
		if err != nil {
			return "", nil // not gzip after all
		}
		in = bufio.NewReader(z)
	}
	b, err := in.ReadSlice('\n')
	if err != nil && len(b) == 0 {
		return "", nil // empty or unreadable: reading it will tell
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// found is a file with mail.
type found struct {
	path    string
	size    int64
	mailbox string
	format  Format
	words   *[maxMaildirKeywords]imap.Flag // of its Maildir
}

// ReadStream gives sink the messages of an mbox that comes as a stream.
func ReadStream(ctx context.Context, in io.Reader, o Options, sink Sink) error {
	r := &reading{ctx: ctx, o: o, sink: sink, body: newCRLFReader(nil)}
	f := found{path: "standard input", mailbox: rootMailbox(o.Mailbox), format: o.Format}
	switch {
	case o.Format == Auto:
		f.format = Mbox
	case !o.Format.isMbox():
		return errors.New("standard input must be an mbox")
	}
	if err := sink.Mailbox(f.mailbox); err != nil {
		return err
	}
	return r.mbox(f, newMboxReader(f.path, &source{r: r, path: f.path, f: in}, nil, f.format))
}
