package admin

import (
	"context"
	"fmt"
	"net/http"
)

func (s *Server) policyRoutes(mux *http.ServeMux) {
	for pattern, h := range map[string]func(*http.Request) (any, error){
		"GET /v1/policies":  func(r *http.Request) (any, error) { return s.api.Policies(r.Context(), query(r, "account")) },
		"POST /v1/policies": s.changePolicy,
		"GET /v1/retention": func(r *http.Request) (any, error) { return s.api.RetentionForAll(r.Context()) },
		"POST /v1/retention": func(r *http.Request) (any, error) {
			return s.api.RunRetention(r.Context(), query(r, "account"), query(r, "dry") == "true")
		},
		"POST /v1/purge": s.purge,
	} {
		mux.HandleFunc(pattern, s.answer(h))
	}
}

func (s *Server) changePolicy(r *http.Request) (any, error) {
	var q policyRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	result, err := s.applyPolicy(r.Context(), q)
	if err == nil {
		s.log.Info("policy_changed", "account", q.Account, "mailbox", q.Mailbox, "change", q.what())
	}
	return result, err
}

func (s *Server) applyPolicy(ctx context.Context, q policyRequest) (any, error) {
	switch {
	case q.Rule != nil:
		return s.api.AddRetention(ctx, q.Account, *q.Rule)
	case q.NoRule != "":
		return nil, s.api.DeleteRetention(ctx, q.Account, q.NoRule)
	case q.Hold != nil:
		return nil, s.api.Hold(ctx, q.Account, q.Mailbox, *q.Hold)
	case q.Days != nil:
		return nil, s.api.KeepMailbox(ctx, q.Account, q.Mailbox, *q.Days)
	}
	return nil, s.api.SetAccountSetting(ctx, q.Account, q.Key, q.Value)
}

// what names the change for the log.
func (q *policyRequest) what() string {
	switch {
	case q.Rule != nil:
		return "retention rule added"
	case q.NoRule != "":
		return "retention rule " + q.NoRule + " deleted"
	case q.Hold != nil:
		return fmt.Sprintf("hold=%t", *q.Hold)
	case q.Days != nil:
		return fmt.Sprintf("kept_days=%d", *q.Days)
	}
	return q.Key + "=" + q.Value
}

func (s *Server) purge(r *http.Request) (any, error) {
	var q purgeRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	res, err := s.api.Purge(r.Context(), q.Account, q.Criteria, q.Dry)
	if !q.Dry {
		s.log.Info("mail_purged", "account", q.Account, "messages", res.Messages, "expunged", res.Expunged, "octets", res.Octets)
	}
	return res, err
}
