package admin

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// progressInterval is how often an import over the socket tells how far it is.
const progressInterval = 200 * time.Millisecond

// importMail takes frames of messages, and answers with frames of progress
// while they come.
func (s *Server) importMail(w http.ResponseWriter, r *http.Request) {
	flow := http.NewResponseController(w)
	if err := flow.EnableFullDuplex(); err != nil {
		s.log.Error("control_import_failed", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// The connection ends with the import: what a failed one leaves unread
	// must not be taken for the next request.
	w.Header().Set("Connection", "close")
	answers := &importAnswers{fw: newFrameWriter(w), flow: flow}
	im, err := s.api.Import(r.Context(), query(r, "account"), ImportOptions{
		Progress: answers.progress, Refused: answers.refused,
		Note: func(text string) { answers.send(&frame{Note: text}) },
	})
	if err != nil {
		s.answer(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	err = receive(newFrameReader(r.Body), im)
	stats, cerr := im.Close()
	if err == nil {
		err = cerr
	}
	s.log.Info("mail_imported", "account", query(r, "account"), "added", stats.Added, "skipped", stats.Skipped,
		"refused", stats.Refused, "octets", stats.Octets)
	answers.send(&frame{Stats: &stats})
	end := &frame{End: true}
	if err != nil {
		end.Error, _ = wireError(err)
	}
	answers.send(end)
	// The client stops sending when it reads that.
	_, _ = io.Copy(io.Discard, r.Body)
}

// receive gives the messages that arrive to im.
func receive(fr *frameReader, im Importer) error {
	for {
		f, err := fr.next()
		if err != nil {
			return err
		}
		switch {
		case f.End:
			return nil
		case f.Message != nil:
			err = im.Add(f.Message, fr.body())
		case f.Mailbox != "":
			err = im.Mailbox(f.Mailbox)
		}
		var src *SourceError
		if err != nil && (!errors.As(err, &src) || !errors.Is(err, errSenderSource)) {
			return err
		}
	}
}

// importAnswers writes what an import says, from several goroutines.
type importAnswers struct {
	flow *http.ResponseController

	mu   sync.Mutex
	fw   *frameWriter
	last time.Time
}

// send writes a frame at once. A client that left is noticed by who reads
// from it.
func (a *importAnswers) send(f *frame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fw.write(f); err != nil {
		return
	}
	if err := a.fw.w.Flush(); err != nil {
		return
	}
	_ = a.flow.Flush()
}

func (a *importAnswers) progress(stats ImportStats) {
	a.mu.Lock()
	due := time.Since(a.last) >= progressInterval
	if due {
		a.last = time.Now()
	}
	a.mu.Unlock()
	if due {
		a.send(&frame{Stats: &stats})
	}
}

func (a *importAnswers) refused(source string, why error) {
	wire, _ := wireError(why)
	a.send(&frame{Refused: wire, Source: source})
}

// exportMail answers with frames of messages.
func (s *Server) exportMail(w http.ResponseWriter, r *http.Request) {
	fw := newFrameWriter(w)
	started := false
	err := s.api.Export(r.Context(), query(r, "account"), query(r, "mailbox"), func(m *Message, body io.Reader) error {
		started = true
		err := fw.message(m, body)
		var src *SourceError
		if errors.As(err, &src) {
			s.log.Error("message_unreadable", "account", query(r, "account"), "mailbox", m.Mailbox, "uid", m.UID, "error", err)
			return nil // the client knows, and decides
		}
		return err
	})
	if err != nil && !started {
		s.answer(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	end := &frame{End: true}
	if err != nil {
		end.Error, _ = wireError(err)
	}
	if err := fw.write(end); err != nil {
		s.log.Warn("control_answer_failed", "error", err)
	}
}
