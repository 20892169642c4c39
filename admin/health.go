package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"nestbox/storage"
)

// HealthAPI tells how a data folder and its server are.
type HealthAPI interface {
	// Health looks at the data folder; with all, accounts that are closed are
	// opened to count what they hold.
	Health(ctx context.Context, all bool) (Health, error)
	// NoteBackup notes that a backup to a folder ended, and with what error.
	NoteBackup(ctx context.Context, to, failed string) error
}

// Health is how a data folder and its server are.
type Health struct {
	Server   *ServerHealth   `json:"server"` // null: none runs
	Store    string          `json:"store"`  // the id in nestbox.id
	Format   int             `json:"format"`
	Away     bool            `json:"away,omitempty"` // the folder is gone; the rest is not known
	Disk     DiskHealth      `json:"disk"`
	Clock    ClockHealth     `json:"clock"`
	Written  *time.Time      `json:"last_write"`
	Backup   BackupHealth    `json:"backup"`
	Accounts []AccountHealth `json:"accounts"`
	Deleted  []DeletedHealth `json:"deleted_accounts"`
	Jobs     []JobHealth     `json:"jobs"` // of the server, in the background
}

// JobHealth is how a job in the background is doing.
type JobHealth struct {
	Name    string     `json:"name"`
	Running bool       `json:"running,omitempty"`
	Runs    int        `json:"runs"`
	Last    *time.Time `json:"last_at"` // null: not since the start
	Error   string     `json:"error,omitempty"`
	Account string     `json:"error_account,omitempty"` // its id
}

// ServerHealth is what the server says of itself.
type ServerHealth struct {
	Status
	Started     time.Time  `json:"started"`
	Connections int        `json:"connections"`
	Listeners   []Listener `json:"listeners"`
	Process     string     `json:"process"` // what keeps it from doing harm, in one line
}

// Listener is a way in.
type Listener struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Waiting  bool   `json:"waiting,omitempty"` // the machine doesn't have the address yet
}

// DiskHealth is the disk below the data folder.
type DiskHealth struct {
	Type    string `json:"type"`
	Size    int64  `json:"size"`
	Free    int64  `json:"free"`
	MinFree int64  `json:"min_free"`
}

// ClockHealth is the clock as the data folder sees it.
type ClockHealth struct {
	Now     time.Time `json:"now"`
	Wall    time.Time `json:"wall"`
	Trusted bool      `json:"trusted"`
	Why     string    `json:"why"`
	Steady  int64     `json:"steady_seconds"`
}

// BackupHealth is what became of the last backup.
type BackupHealth struct {
	At    *time.Time `json:"at"` // null: never
	To    string     `json:"to,omitempty"`
	Error string     `json:"error,omitempty"`
	Good  *time.Time `json:"good_at"` // the last good one
}

// AccountHealth is how an account is.
type AccountHealth struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Disabled   bool              `json:"disabled,omitempty"`
	Open       bool              `json:"open"`
	Used       storage.Usage     `json:"used"`
	Quota      storage.Usage     `json:"quota"` // 0: none
	Kept       storage.KeptCount `json:"kept"`
	Known      *time.Time        `json:"known_at"` // when that was so; null: not known
	Trouble    string            `json:"trouble,omitempty"`
	RolledBack *time.Time        `json:"rolled_back_at,omitempty"`
}

// DeletedHealth is a deleted account that can be brought back.
type DeletedHealth struct {
	Name   string    `json:"name"`
	ID     string    `json:"id"`
	Octets int64     `json:"octets"` // of its files
	Until  time.Time `json:"until"`  // its files go then
}

// Health looks at the store.
func (l *Local) Health(_ context.Context, all bool) (Health, error) {
	s, err := l.st.Health(all)
	if err != nil {
		return Health{}, err
	}
	h := Health{
		Store: s.ID, Format: s.Format, Away: s.Away, Written: when(s.Written), Accounts: []AccountHealth{}, Deleted: []DeletedHealth{},
		Disk: DiskHealth{Type: s.Disk.Type, Size: s.Disk.Size, Free: s.Disk.Free, MinFree: s.MinFree},
		Clock: ClockHealth{Now: s.Clock.Now.UTC(), Wall: s.Clock.Wall.UTC(), Trusted: s.Clock.Trusted, Why: s.Clock.Why,
			Steady: int64(s.Clock.Steady.Seconds())},
		Backup: BackupHealth{At: when(s.Backup.At), To: s.Backup.To, Error: s.Backup.Error, Good: when(s.Backup.Good)},
	}
	h.Jobs = []JobHealth{}
	for _, j := range s.Jobs {
		job := JobHealth{Name: j.Name, Running: j.Running, Runs: j.Runs, Last: when(j.Last), Account: string(j.ErrAt)}
		if j.Err != nil {
			job.Error = j.Err.Error()
		}
		h.Jobs = append(h.Jobs, job)
	}
	for i := range s.Deleted {
		d := &s.Deleted[i]
		h.Deleted = append(h.Deleted, DeletedHealth{d.Name, string(d.ID), d.Octets, d.Until.UTC()})
	}
	for i := range s.Accounts {
		a := &s.Accounts[i]
		h.Accounts = append(h.Accounts, AccountHealth{
			Name: a.Name, ID: string(a.ID), Disabled: a.Disabled, Open: a.Open, Used: a.Used, Quota: a.Limits, Kept: a.Kept,
			Known: when(a.Known), Trouble: a.Trouble, RolledBack: when(a.RolledBack),
		})
	}
	return h, nil
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// NoteBackup notes the end of a backup.
func (l *Local) NoteBackup(_ context.Context, to, failed string) error {
	if failed == "" {
		return l.st.NoteBackup(to, nil)
	}
	return l.st.NoteBackup(to, errors.New(failed))
}

// Health asks the server.
func (r *Remote) Health(ctx context.Context, all bool) (h Health, err error) {
	q := url.Values{}
	if all {
		q.Set("all", "true")
	}
	err = r.call(ctx, http.MethodGet, "/v1/health", q, nil, &h)
	return h, err
}

// NoteBackup notes the end of a backup.
func (r *Remote) NoteBackup(ctx context.Context, to, failed string) error {
	return r.call(ctx, http.MethodPost, "/v1/backup/note", url.Values{"to": {to}, "failed": {failed}}, nil, nil)
}

func (s *Server) healthRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/health", s.answer(func(r *http.Request) (any, error) {
		h, err := s.api.Health(r.Context(), query(r, "all") == "true")
		if err == nil && s.Self != nil {
			self := s.Self()
			self.Status = s.status
			h.Server = &self
		}
		return h, err
	}))
	mux.HandleFunc("POST /v1/backup/note", s.answer(func(r *http.Request) (any, error) {
		return nil, s.api.NoteBackup(r.Context(), query(r, "to"), query(r, "failed"))
	}))
}
