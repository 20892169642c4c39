package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/storage"
)

// keptRestore is `nestbox restore` without a backup: of expunged messages
// while they are kept.
type keptRestore struct {
	mailbox, since *string
	list, moved    *bool
	json           *bool
}

// keptFlags are the flags of this kind of restore alone.
func keptFlags(fs *pflag.FlagSet) *keptRestore {
	return &keptRestore{
		since: fs.String("since", "", "only what was expunged since then: a time (2026-11-23, 2026-11-23T10:00) or how long ago (3d, 12h)"),
		list:  fs.Bool("list", false, "list the expunged messages, restore nothing"),
		moved: fs.Bool("moved", false, "messages that were moved elsewhere instead of expunged ones"),
	}
}

func (k *keptRestore) run(ctx context.Context, e *env, account string) error {
	q := admin.KeptQuery{Mailbox: *k.mailbox, Moved: *k.moved}
	if *k.since != "" {
		t, err := parseSince(*k.since, time.Now())
		if err != nil {
			return &usageError{command: "restore", text: "--since " + err.Error()}
		}
		q.Since = t
	}
	return e.withAPI(ctx, func(api admin.API) error {
		if *k.list {
			return k.print(ctx, e, api, account, q)
		}
		res, err := api.RestoreKept(ctx, account, q)
		if err != nil && res.Messages == 0 {
			return accountError(account, err)
		}
		return errors.Join(k.report(e, res), err)
	})
}

func (k *keptRestore) report(e *env, res storage.RestoreResult) error {
	if *k.json {
		if res.Mailboxes == nil {
			res.Mailboxes = []string{}
		}
		if res.Made == nil {
			res.Made = []string{}
		}
		return writeJSON(e.Stdout, res)
	}
	if res.Messages == 0 {
		_, err := fmt.Fprintln(e.Stdout, "nothing to restore: no such messages are kept")
		return err
	}
	_, err := fmt.Fprintf(e.Stdout, "%d messages restored (%s) to %s\n", res.Messages, byteCount(res.Octets), strings.Join(res.Mailboxes, ", "))
	if err == nil && len(res.Made) > 0 {
		_, err = fmt.Fprintf(e.Stdout, "mailboxes made again: %s\n", strings.Join(res.Made, ", "))
	}
	return err
}

// print lists what is kept, a line or a JSON value each: there may be many.
func (k *keptRestore) print(ctx context.Context, e *env, api admin.API, account string, q admin.KeptQuery) error {
	n, octets := 0, int64(0)
	err := api.Kept(ctx, account, q, func(m admin.KeptMessage) error {
		n, octets = n+1, octets+m.Size
		if *k.json {
			return writeJSONLine(e.Stdout, m)
		}
		gone := ""
		if m.Gone {
			gone = " (deleted)"
		}
		_, err := fmt.Fprintf(e.Stdout, "%s  %s%s  UID %d  %s  %s  %s\n", m.Expunged.Local().Format("2006-01-02 15:04"),
			m.Mailbox, gone, m.UID, byteCount(m.Size), strconv.Quote(clip(m.From, 40)), strconv.Quote(clip(m.Subject, 60)))
		return err
	})
	if err != nil {
		return accountError(account, err)
	}
	e.say("%d messages kept (%s)", n, byteCount(octets))
	return nil
}

// clip cuts a text for a table.
func clip(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}

// parseSince reads a time, or how long ago.
func parseSince(s string, now time.Time) (time.Time, error) {
	if age, err := parseAge(s); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("wants a time such as 2026-11-23 or 2026-11-23T10:00, or how long ago: 3d, 12h; not %q", s)
}

// parseAge reads a length of time: days, weeks or years, else as Go has it.
func parseAge(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	for unit, d := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseUint(digits, 10, 16)
			if err != nil {
				return 0, fmt.Errorf("wants a length of time such as 30d, 2w or 12h, not %q", s)
			}
			return min(time.Duration(n)*d, 100*365*24*time.Hour), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("wants a length of time such as 30d, 2w or 12h, not %q", s)
	}
	return d, nil
}

// writeJSONLine prints a value of a list that may be too long for one.
func writeJSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
