package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// remoteImport sends messages in the body of one request and reads what
// becomes of them from its answer, both at the same time.
type remoteImport struct {
	ctx  context.Context
	o    ImportOptions
	pipe *io.PipeWriter
	fw   *frameWriter

	made map[string]bool

	done  chan struct{} // the answer has ended; stats and err hold
	stats ImportStats
	err   error
}

// Import begins to add messages.
func (r *Remote) Import(ctx context.Context, account string, o ImportOptions) (Importer, error) {
	pr, pw := io.Pipe()
	im := &remoteImport{
		ctx: ctx, o: o, pipe: pw, fw: newFrameWriter(pw), made: make(map[string]bool), done: make(chan struct{}),
	}
	go func() {
		defer close(im.done)
		im.err = im.exchange(r, account, pr)
		// Whoever writes now must not wait for a reader.
		_ = pr.CloseWithError(io.ErrClosedPipe)
	}()
	return im, nil
}

func (im *remoteImport) exchange(r *Remote, account string, body io.Reader) error {
	resp, err := r.do(im.ctx, http.MethodPost, "/v1/import", url.Values{"account": {account}}, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fr := newFrameReader(resp.Body)
	for {
		f, err := fr.next()
		switch {
		case err != nil:
			return serverLeft(im.ctx, err)
		case f.Error != nil:
			return f.Error
		case f.End:
			return nil
		case f.Stats != nil:
			im.stats = *f.Stats
			if im.o.Progress != nil {
				im.o.Progress(im.stats)
			}
		case f.Refused != nil && im.o.Refused != nil:
			im.o.Refused(f.Source, f.Refused)
		case f.Note != "" && im.o.Note != nil:
			im.o.Note(f.Note)
		}
	}
}

// Mailbox makes a mailbox.
func (im *remoteImport) Mailbox(name string) error {
	if im.made[name] {
		return nil
	}
	im.made[name] = true
	return im.sent(im.fw.write(&frame{Mailbox: name}))
}

// Add sends one message.
func (im *remoteImport) Add(m *Message, body io.Reader) error {
	return im.sent(im.fw.message(m, body))
}

// sent replaces the error of the pipe by the reason the server gave.
func (im *remoteImport) sent(err error) error {
	var src *SourceError
	if err == nil || errors.As(err, &src) {
		return err
	}
	<-im.done
	if im.err != nil {
		return im.err
	}
	return err
}

// Close ends the stream and waits for the server's count.
func (im *remoteImport) Close() (ImportStats, error) {
	err := im.sent(im.fw.write(&frame{End: true}))
	_ = im.pipe.CloseWithError(err) // nil is the end of the body
	<-im.done
	if im.err != nil {
		err = im.err
	}
	return im.stats, err
}
