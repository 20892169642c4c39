package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/config"
)

var cmdStatus = command{
	name:  "status",
	short: "Show how everything is",
	long: `Shows how the server and its data are, a line a subject: ok, warn or fail. The exit code is 1 if something fails, else 0. It works with and without a running server.

What accounts hold is told as it was last noted for those that nobody uses now, so that a box with many accounts can be watched at no cost; --accounts opens and counts all, and lists them one by one.`,
	examples: []example{
		{"nestbox status", "for people"},
		{"nestbox status --json | jq -r '.checks[] | select(.state != \"ok\")'", "what is not as it should be, for a script"},
		{"nestbox status --accounts", "with a line for each account"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		accounts := fs.Bool("accounts", false, "list the accounts, and open all of them")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			return e.status(ctx, cfg, *accounts, *asJSON)
		}
	},
}

// States of a check; of several the worst counts.
const (
	stateOK   = "ok"
	stateWarn = "warn"
	stateFail = "fail"
)

// A check is one line of the status.
type check struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Text  string `json:"text"`
}

// statusReport is what --json prints.
type statusReport struct {
	State   string  `json:"state"`
	Version string  `json:"version"` // of the server, or without one of this program
	Data    string  `json:"data"`
	Checks  []check `json:"checks"`
	*admin.Health
}

func (r *statusReport) add(name, state, format string, args ...any) {
	r.Checks = append(r.Checks, check{name, state, fmt.Sprintf(format, args...)})
	if state == stateFail || state == stateWarn && r.State == stateOK {
		r.State = state
	}
}

func (e *env) status(ctx context.Context, cfg *config.Config, accounts, asJSON bool) error {
	r := &statusReport{State: stateOK, Version: Version, Data: cfg.Data, Checks: []check{}}
	api, err := e.openAPI(ctx, cfg)
	if err == nil {
		var h admin.Health
		if h, err = api.Health(ctx, accounts); err == nil {
			r.Health = &h
		}
		err = errors.Join(err, api.Close())
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.judge(err)
	if asJSON {
		err = writeJSON(e.Stdout, r)
	} else {
		err = e.writeStatus(r, accounts)
	}
	if err == nil && r.State == stateFail {
		err = &codedError{exitFailed, errReported}
	}
	return err
}

// judge makes the checks of what is known.
func (r *statusReport) judge(err error) {
	if err != nil {
		text := err.Error()
		if hint := exitHint(err); hint != "" {
			text += "; " + hint
		}
		r.add("data", stateFail, "%s", text)
	}
	h := r.Health
	if h == nil {
		return
	}
	r.judgeServer(h.Server)
	if h.Away {
		r.add("data", stateFail, "%s is gone: is the disk mounted?", r.Data)
		return
	}
	r.add("data", stateOK, "%s, format %d", r.Data, h.Format)
	r.judgeAccounts(h.Accounts)
	r.judgeDeleted(h.Deleted)
	r.judgeDisk(h.Disk)
	if h.Written == nil {
		r.add("last write", stateOK, "never")
	} else {
		r.add("last write", stateOK, "%s", ago(*h.Written, h.Clock.Wall))
	}
	r.judgeBackup(h.Backup, h.Clock.Now)
	r.judgeClock(h.Clock)
	if h.Server != nil { // else they don't run
		r.judgeJobs(h.Jobs)
	}
}

func (r *statusReport) judgeJobs(jobs []admin.JobHealth) {
	names := []string{}
	for _, j := range jobs {
		names = append(names, j.Name)
		if j.Error == "" {
			continue
		}
		text := j.Error
		if j.Account != "" {
			text = "account " + j.Account + ": " + text
		}
		r.add("job "+j.Name, stateWarn, "%s", text)
	}
	r.add("jobs", stateOK, "%s", strings.Join(names, ", "))
}

func (r *statusReport) judgeServer(s *admin.ServerHealth) {
	if s == nil {
		r.add("server", stateWarn, "not running; this is nestbox %s", Version)
		return
	}
	r.Version = s.Version
	r.add("server", stateOK, "nestbox %s, process %d, %d connections", s.Version, s.PID, s.Connections)
	state, lines := stateOK, []string{}
	for _, l := range s.Listeners {
		line := l.Protocol + " " + l.Address
		if l.Waiting {
			state = stateWarn
			line += " (the machine doesn't have that address yet)"
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		state, lines = stateWarn, []string{"none: nobody can connect"}
	}
	r.add("listeners", state, "%s", strings.Join(lines, ", "))
	if s.Process != "" { // a server that is older than this command doesn't say
		r.add("process", stateOK, "%s", s.Process)
	}
}

// quotaNear is the percentage of a quota from which on it is worth a warning.
const quotaNear = 95

func (r *statusReport) judgeAccounts(all []admin.AccountHealth) {
	var messages, octets, kept, keptOctets int64
	open, unknown := 0, 0
	for i := range all {
		a := &all[i]
		messages, octets = messages+a.Used.Messages, octets+a.Used.Octets
		kept, keptOctets = kept+a.Kept.Messages, keptOctets+a.Kept.Octets
		if a.Open {
			open++
		}
		if a.Known == nil {
			unknown++
		}
		if a.Trouble != "" {
			r.add("account "+a.Name, stateFail, "%s", a.Trouble)
		}
		if a.RolledBack != nil && time.Since(*a.RolledBack) < 14*24*time.Hour {
			r.add("account "+a.Name, stateWarn, "its files were older than they should be on %s: mail that came since is lost unless a backup has it", day(*a.RolledBack))
		}
		if what := nearQuota(a); what != "" {
			r.add("account "+a.Name, stateWarn, "%s", what)
		}
	}
	text := fmt.Sprintf("%d, %d in use now; %d messages, %s", len(all), open, messages, byteCount(octets))
	if kept > 0 {
		text += fmt.Sprintf("; %d expunged ones kept, %s", kept, byteCount(keptOctets))
	}
	if unknown > 0 {
		text += fmt.Sprintf("; %d of the accounts not counted (--accounts does)", unknown)
	}
	r.add("accounts", stateOK, "%s", text)
}

func (r *statusReport) judgeDeleted(all []admin.DeletedHealth) {
	if len(all) == 0 {
		return
	}
	var octets int64
	next := all[0].Until
	for i := range all {
		octets += all[i].Octets
		if all[i].Until.Before(next) {
			next = all[i].Until
		}
	}
	r.add("deleted accounts", stateOK, "%d kept, %s; the next one goes on %s", len(all), byteCount(octets), day(next))
}

func nearQuota(a *admin.AccountHealth) string {
	for _, q := range []struct {
		what        string
		used, limit int64
	}{{"octets", a.Used.Octets, a.Quota.Octets}, {"messages", a.Used.Messages, a.Quota.Messages}, {"mailboxes", a.Used.Mailboxes, a.Quota.Mailboxes}} {
		if q.limit > 0 && q.used*100 >= q.limit*quotaNear {
			return fmt.Sprintf("%d of %d %s of its quota are used", q.used, q.limit, q.what)
		}
	}
	return ""
}

func (r *statusReport) judgeDisk(d admin.DiskHealth) {
	text := fmt.Sprintf("%s of %s free (%s), %s stay free", byteCount(d.Free), byteCount(d.Size), d.Type, byteCount(d.MinFree))
	switch {
	case d.Free < d.MinFree:
		r.add("disk", stateFail, "%s: new mail is refused", text)
	case d.Free < 2*d.MinFree:
		r.add("disk", stateWarn, "%s: new mail is refused soon", text)
	default:
		r.add("disk", stateOK, "%s", text)
	}
}

// backupOld is the age of the last good backup that is worth a warning.
const backupOld = 8 * 24 * time.Hour

func (r *statusReport) judgeBackup(b admin.BackupHealth, now time.Time) {
	switch {
	case b.At == nil:
		r.add("backup", stateWarn, "never")
	case b.Error != "":
		last := "there is no good one"
		if b.Good != nil {
			last = "the last good one: " + ago(*b.Good, now)
		}
		r.add("backup", stateWarn, "to %s failed %s: %s; %s", b.To, ago(*b.At, now), b.Error, last)
	case now.Sub(*b.At) > backupOld:
		r.add("backup", stateWarn, "%s, to %s", ago(*b.At, now), b.To)
	default:
		r.add("backup", stateOK, "%s, to %s", ago(*b.At, now), b.To)
	}
}

func (r *statusReport) judgeClock(c admin.ClockHealth) {
	text := c.Now.Format(time.RFC3339)
	if off := c.Now.Sub(c.Wall); off > time.Minute || off < -time.Minute {
		text += ", the machine says " + c.Wall.Format(time.RFC3339)
	}
	if c.Trusted {
		r.add("clock", stateOK, "%s, %s", text, c.Why)
		return
	}
	r.add("clock", stateWarn, "%s, not trusted: %s. Nothing goes by its age until the clock is synchronised or runs steadily for a day (%s so far)",
		text, c.Why, (time.Duration(c.Steady) * time.Second).Round(time.Minute))
}

func day(t time.Time) string { return t.Local().Format(time.DateOnly) }

// ago is a time and how long it has passed.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	text := t.Local().Format("2006-01-02 15:04")
	switch {
	case d < 0:
		return text
	case d < 2*time.Minute:
		return text + " (just now)"
	case d < 2*time.Hour:
		return fmt.Sprintf("%s (%d min ago)", text, int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%s (%d h ago)", text, int(d.Hours()))
	}
	return fmt.Sprintf("%s (%d days ago)", text, int(d.Hours()/24))
}

func (e *env) writeStatus(r *statusReport, accounts bool) error {
	rows := [][]string{}
	for _, c := range r.Checks {
		rows = append(rows, []string{c.State, c.Name, c.Text})
	}
	if err := writeTable(e, rows); err != nil || !accounts || r.Health == nil {
		return err
	}
	rows = [][]string{{""}, {"ACCOUNT", "MESSAGES", "BYTES", "KEPT", "KEPT BYTES", "QUOTA", "STATE"}}
	for _, a := range r.Accounts {
		quota := "none"
		if a.Quota.Octets > 0 {
			quota = fmt.Sprintf("%d%% of %s", a.Used.Octets*100/a.Quota.Octets, byteCount(a.Quota.Octets))
		}
		state := "closed"
		switch {
		case a.Trouble != "":
			state = "can't be opened"
		case a.Open:
			state = "open"
		}
		if a.Disabled {
			state += ", disabled"
		}
		rows = append(rows, []string{a.Name, fmt.Sprint(a.Used.Messages), fmt.Sprint(a.Used.Octets), fmt.Sprint(a.Kept.Messages), fmt.Sprint(a.Kept.Octets), quota, state})
	}
	return writeTable(e, rows)
}
