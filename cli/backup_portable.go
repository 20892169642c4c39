package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"nestbox/admin"
	"nestbox/storage"
)

// writePortable is `nestbox backup --portable`. The stream is read while it is
// written, so that only a whole one counts.
func (e *env) writePortable(ctx context.Context, api admin.API, path string, asJSON bool) error {
	out, done, err := e.portableFile(path)
	if err != nil {
		return err
	}
	pr, pw := io.Pipe()
	type result struct {
		notes []string
		err   error
	}
	checked := make(chan result, 1)
	go func() {
		notes, err := storage.CheckPortable(pr)
		_ = pr.CloseWithError(err)
		checked <- result{notes, err}
	}()
	counted := &countWriter{w: io.MultiWriter(out, pw)}
	err = api.Portable(ctx, counted)
	_ = pw.CloseWithError(err) // nil is the end
	r := <-checked
	if err == nil || errors.Is(err, r.err) {
		err = r.err
	}
	if err = errors.Join(err, done(err == nil)); errors.Is(err, context.Canceled) {
		err = failWith(exitTryAgain, "interrupted; nothing was kept")
	}
	if asJSON && path != "-" {
		report := map[string]any{"file": path, "octets": counted.n, "findings": append([]string{}, r.notes...), "ok": err == nil && len(r.notes) == 0}
		if werr := writeJSON(e.Stdout, report); werr != nil {
			return werr
		}
	}
	if err != nil {
		return err
	}
	for _, n := range r.notes {
		fmt.Fprintln(e.Stderr, n)
	}
	if len(r.notes) > 0 {
		return fmt.Errorf("%d messages could not be read and are not in the stream", len(r.notes))
	}
	if path != "-" && !asJSON {
		e.say("%s written to %s", byteCount(counted.n), path)
	}
	return nil
}

// portableFile opens the file under a temporary name; done gives it its own.
func (e *env) portableFile(path string) (out io.Writer, done func(ok bool) error, err error) {
	if path == "-" {
		return e.Stdout, func(bool) error { return nil }, nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, nil, failWith(exitFailed, "%s is not a file", path)
	} else if err == nil && !storage.IsPortable(path) {
		return nil, nil, failWith(exitFailed, "%s is another file: name a new one, or the portable stream of an earlier run", path)
	}
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return f, func(ok bool) error {
		if ok {
			err := f.Sync()
			if err = errors.Join(err, f.Close()); err == nil {
				err = os.Rename(path+".part", path)
			}
			return errors.Join(err, syncFolder(filepath.Dir(path)))
		}
		return errors.Join(f.Close(), os.Remove(path+".part"))
	}, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
