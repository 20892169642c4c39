package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// A Server answers on the control socket for an API. Who may connect is the
// socket's file mode; there is no login.
type Server struct {
	api    API
	status Status
	log    *slog.Logger
	http   *http.Server
	cancel context.CancelFunc

	// Self, if it is set before Serve, tells how the server is.
	Self func() ServerHealth
}

// Status is what a server says of itself.
type Status struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Data    string `json:"data"` // the data folder, absolute
}

// maxRequest bounds the JSON of a request.
const maxRequest = 1 << 20

// NewServer makes the server of api.
func NewServer(api API, status Status, log *slog.Logger) *Server {
	s := &Server{api: api, status: status, log: log}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          stdlog.New(errorLog{log}, "", 0),
	}
	return s
}

// errorLog makes events of what net/http has to say.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	l.log.Warn("control_error", "error", strings.TrimSpace(string(p)))
	return len(p), nil
}

// Serve answers until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown interrupts imports and exports and waits for the requests to end.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancel()
	return errors.Join(s.http.Shutdown(ctx), s.http.Close())
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*http.Request) (any, error){
		"GET /v1/status": func(*http.Request) (any, error) { return s.status, nil },
		"GET /v1/accounts": func(r *http.Request) (any, error) {
			return s.api.Accounts(r.Context())
		},
		"POST /v1/accounts":       s.addAccount,
		"POST /v1/password":       s.setPassword,
		"POST /v1/restored":       func(r *http.Request) (any, error) { return s.api.Restored(r.Context(), query(r, "account")) },
		"GET /v1/accounts/notice": func(r *http.Request) (any, error) { return s.api.DeletionNotice(r.Context(), query(r, "name")) },
		"DELETE /v1/accounts":     func(r *http.Request) (any, error) { return nil, s.api.DeleteAccount(r.Context(), query(r, "name")) },
		"GET /v1/addresses": func(r *http.Request) (any, error) {
			return s.api.Addresses(r.Context(), query(r, "account"))
		},
		"POST /v1/addresses": func(r *http.Request) (any, error) {
			return nil, s.api.AddAddress(r.Context(), query(r, "account"), query(r, "address"))
		},
		"DELETE /v1/addresses": func(r *http.Request) (any, error) {
			return nil, s.api.DeleteAddress(r.Context(), query(r, "address"))
		},
		"GET /v1/domains":    func(r *http.Request) (any, error) { return s.api.Domains(r.Context()) },
		"POST /v1/domains":   func(r *http.Request) (any, error) { return nil, s.api.AddDomain(r.Context(), query(r, "domain")) },
		"DELETE /v1/domains": func(r *http.Request) (any, error) { return nil, s.api.DeleteDomain(r.Context(), query(r, "domain")) },
		"GET /v1/settings":   func(r *http.Request) (any, error) { return s.api.Settings(r.Context()) },
		"POST /v1/settings":  s.setSetting,
		"GET /v1/backup": func(r *http.Request) (any, error) {
			return s.api.BackupSource(r.Context())
		},
		"GET /v1/mailboxes": func(r *http.Request) (any, error) {
			return s.api.Mailboxes(r.Context(), query(r, "account"))
		},
	} {
		mux.HandleFunc(pattern, s.answer(h))
	}
	mux.HandleFunc("POST /v1/import", s.importMail)
	mux.HandleFunc("GET /v1/export", s.exportMail)
	s.deletedRoutes(mux)
	s.keptRoutes(mux)
	s.healthRoutes(mux)
	mux.HandleFunc("POST /v1/backup", s.backupData)
	mux.HandleFunc("POST /v1/check", s.check)
	s.policyRoutes(mux)
	s.sharingRoutes(mux)
	s.banRoutes(mux)
	s.auditRoutes(mux)
	s.appPasswordRoutes(mux)
	s.actAsRoutes(mux)
	s.foreignRoutes(mux)
	s.inviteRoutes(mux)
	s.certRoutes(mux)
	mux.HandleFunc("GET /v1/portable", s.portable)
	return mux
}

func query(r *http.Request, key string) string { return r.URL.Query().Get(key) }

// answer writes what h returns as JSON.
func (s *Server) answer(h func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		result, err := h(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			wire, status := wireError(err)
			w.WriteHeader(status)
			result = wire
		}
		if err := json.NewEncoder(w).Encode(result); err != nil {
			s.log.Warn("control_answer_failed", "error", err)
		}
	}
}

// readJSON reads the body of a request.
func readJSON(r *http.Request, v any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", errWrongUse, err)
	}
	return nil
}

// Passwords go in the body, never in a URL.
type loginRequest struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

func (s *Server) addAccount(r *http.Request) (any, error) {
	var q loginRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	a, err := s.api.AddAccount(r.Context(), q.Name, q.Password)
	if err == nil {
		s.log.Info("account_added", "account", a.ID, "name", a.Name)
	}
	return a, err
}

func (s *Server) setPassword(r *http.Request) (any, error) {
	var q loginRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	return nil, s.api.SetPassword(r.Context(), q.Name, q.Password)
}

type settingRequest struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

func (s *Server) setSetting(r *http.Request) (any, error) {
	var q settingRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	return nil, s.api.SetSetting(r.Context(), q.Key, q.Value)
}
