package admin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nestbox/mail"
	"nestbox/storage"
)

// KeptAPI is what can be done with expunged messages while they are kept.
type KeptAPI interface {
	// Kept calls f with the expunged messages of an account.
	Kept(ctx context.Context, account string, q KeptQuery, f func(KeptMessage) error) error
	// RestoreKept gives them back to their mailboxes. The result says what was
	// done, also when there is an error.
	RestoreKept(ctx context.Context, account string, q KeptQuery) (storage.RestoreResult, error)
}

// KeptQuery chooses expunged messages.
type KeptQuery struct {
	Mailbox string    // "" for all
	Since   time.Time // expunged since then; zero for all
	Moved   bool      // those moved to another mailbox instead
}

// KeptMessage is an expunged message.
type KeptMessage struct {
	Mailbox  string    `json:"mailbox"`
	Gone     bool      `json:"mailbox_gone,omitempty"` // its mailbox was deleted
	UID      uint32    `json:"uid"`                    // that it had
	ID       string    `json:"id"`                     // EMAILID
	Expunged time.Time `json:"expunged"`
	Date     time.Time `json:"date"` // INTERNALDATE
	Size     int64     `json:"size"`
	Flags    []string  `json:"flags"`
	From     string    `json:"from"`
	Subject  string    `json:"subject"`
}

func (q KeptQuery) filter() storage.KeptFilter {
	return storage.KeptFilter{Mailbox: q.Mailbox, Since: q.Since, Moved: q.Moved}
}

// Kept lists expunged messages.
func (l *Local) Kept(ctx context.Context, account string, q KeptQuery, f func(KeptMessage) error) error {
	a, err := l.account(account)
	if err != nil {
		return err
	}
	return a.Kept(ctx, q.filter(), func(page []storage.KeptMessage) error {
		blobs := make([]storage.BlobID, len(page))
		for i := range page {
			blobs[i] = page[i].Blob
		}
		var failed error
		err := a.Headers(blobs, func(i int, header []byte) bool {
			failed = f(keptMessage(&page[i], header))
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		return err
	})
}

func keptMessage(k *storage.KeptMessage, header []byte) KeptMessage {
	m := KeptMessage{
		Mailbox: k.Mailbox, Gone: k.Gone, UID: uint32(k.UID), ID: k.Email.String(), Expunged: k.Expunged.UTC(),
		Date: k.InternalDate(), Size: k.Size, Flags: []string{},
		From: HeaderText(header, "FROM"), Subject: HeaderText(header, "SUBJECT"),
	}
	for _, f := range k.Flags {
		m.Flags = append(m.Flags, string(f))
	}
	return m
}

// HeaderText is a header field as people read it.
func HeaderText(header []byte, name string) (text string) {
	mail.HeaderField(header, name, func(value []byte) bool {
		text = strings.Join(strings.Fields(mail.DecodeHeader(strings.ReplaceAll(string(value), "\r\n", ""))), " ")
		return false
	})
	return text
}

// RestoreKept restores expunged messages.
func (l *Local) RestoreKept(ctx context.Context, account string, q KeptQuery) (storage.RestoreResult, error) {
	a, err := l.account(account)
	if err != nil {
		return storage.RestoreResult{}, err
	}
	return a.RestoreKept(ctx, q.filter())
}

func (q KeptQuery) values(account string) url.Values {
	v := url.Values{"account": {account}, "mailbox": {q.Mailbox}}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339))
	}
	if q.Moved {
		v.Set("moved", "true")
	}
	return v
}

func keptQuery(r *http.Request) (q KeptQuery, err error) {
	q = KeptQuery{Mailbox: query(r, "mailbox"), Moved: query(r, "moved") == "true"}
	if since := query(r, "since"); since != "" {
		q.Since, err = time.Parse(time.RFC3339, since)
	}
	return q, err
}

// Kept lists expunged messages.
func (r *Remote) Kept(ctx context.Context, account string, q KeptQuery, f func(KeptMessage) error) error {
	return receiveItems(ctx, r, http.MethodGet, "/v1/kept", q.values(account), f)
}

// restored is the answer to a restore: an error too has a result.
type restored struct {
	storage.RestoreResult
	Failed *Error `json:"failed,omitempty"`
}

// RestoreKept restores expunged messages.
func (r *Remote) RestoreKept(ctx context.Context, account string, q KeptQuery) (storage.RestoreResult, error) {
	var res restored
	if err := r.call(ctx, http.MethodPost, "/v1/kept/restore", q.values(account), nil, &res); err != nil {
		return res.RestoreResult, err
	}
	if res.Failed != nil {
		return res.RestoreResult, res.Failed
	}
	return res.RestoreResult, nil
}

func (s *Server) keptRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/kept", func(w http.ResponseWriter, r *http.Request) {
		s.sendItems(w, r, func(send func(any) error) error {
			q, err := keptQuery(r)
			if err != nil {
				return err
			}
			return s.api.Kept(r.Context(), query(r, "account"), q, func(m KeptMessage) error { return send(m) })
		})
	})
	mux.HandleFunc("POST /v1/kept/restore", s.answer(func(r *http.Request) (any, error) {
		q, err := keptQuery(r)
		if err != nil {
			return nil, err
		}
		res, err := s.api.RestoreKept(r.Context(), query(r, "account"), q)
		s.log.Info("kept_restored", "account", query(r, "account"), "messages", res.Messages, "octets", res.Octets)
		if err != nil && res.Messages == 0 {
			return nil, err
		}
		out := restored{RestoreResult: res}
		if err != nil {
			out.Failed, _ = wireError(err)
		}
		return out, nil
	}))
}
