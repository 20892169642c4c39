package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// An item is one line of an answer that is too long for one JSON value: each
// has a thing, the last one says how it ended.
type item struct {
	Item  json.RawMessage `json:"item,omitempty"`
	End   bool            `json:"end,omitempty"`
	Error *Error          `json:"error,omitempty"`
}

// sendItems answers with what list sends.
func (s *Server) sendItems(w http.ResponseWriter, r *http.Request, list func(send func(any) error) error) {
	enc := json.NewEncoder(w)
	started := false
	err := list(func(v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		started = true
		return enc.Encode(item{Item: b})
	})
	if err != nil && !started {
		s.answer(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	end := item{End: true}
	if err != nil {
		end.Error, _ = wireError(err)
	}
	if err := enc.Encode(end); err != nil {
		s.log.Warn("control_answer_failed", "error", err)
	}
}

// receiveItems calls f with what the server sends.
func receiveItems[T any](ctx context.Context, r *Remote, method, path string, q url.Values, f func(T) error) error {
	resp, err := r.do(ctx, method, path, q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var in item
		if err := dec.Decode(&in); err != nil {
			return serverLeft(ctx, err)
		}
		switch {
		case in.Error != nil:
			return in.Error
		case in.End:
			return nil
		}
		var v T
		if err := json.Unmarshal(in.Item, &v); err != nil {
			return err
		}
		if err := f(v); err != nil {
			return err
		}
	}
}
