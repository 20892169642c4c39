package admin

import (
	"context"
	"net/http"
	"net/url"

	"nestbox/storage"
)

// CheckAPI reads the data through and repairs it.
type CheckAPI interface {
	// Check calls f with what it finds, and does if it is to repair. left is
	// how many findings there are at the end.
	Check(ctx context.Context, o storage.CheckOptions, f func(storage.Finding) error) (left int, err error)
}

// Check reads the data through.
func (l *Local) Check(ctx context.Context, o storage.CheckOptions, f func(storage.Finding) error) (left int, err error) {
	return l.st.CheckEach(ctx, o, f)
}

// checkLine is an item of the answer: a finding, or at the end how many are left.
type checkLine struct {
	*storage.Finding
	Left *int `json:"left,omitempty"`
}

// Check has the server read its data through.
func (r *Remote) Check(ctx context.Context, o storage.CheckOptions, f func(storage.Finding) error) (left int, err error) {
	q := url.Values{"account": {o.Account}}
	if o.Repair {
		q.Set("repair", "true")
	}
	if o.Quick {
		q.Set("quick", "true")
	}
	err = receiveItems(ctx, r, http.MethodPost, "/v1/check", q, func(line checkLine) error {
		if line.Left != nil {
			left = *line.Left
			return nil
		}
		if line.Finding == nil {
			return nil
		}
		return f(*line.Finding)
	})
	return left, err
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	o := storage.CheckOptions{Account: query(r, "account"), Repair: query(r, "repair") == "true", Quick: query(r, "quick") == "true"}
	flow := http.NewResponseController(w)
	s.sendItems(w, r, func(send func(any) error) error {
		left, err := s.api.Check(r.Context(), o, func(f storage.Finding) error {
			if err := send(checkLine{Finding: &f}); err != nil {
				return err
			}
			return flow.Flush() // who waits wants to see it now
		})
		if err == nil {
			err = send(checkLine{Left: &left})
		}
		s.log.Info("check_done", "account", o.Account, "repair", o.Repair, "left", left)
		return err
	})
}
