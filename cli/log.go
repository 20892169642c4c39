package cli

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Log formats, as in the configuration.
const (
	logText = "text"
	logJSON = "json"
)

// maxLogValue and maxLogKey bound a field: much of it comes from clients.
const (
	maxLogValue = 1024
	maxLogKey   = 64
)

// A logHandler writes the log's lines: event=name first, then the time (not
// under journald, which has its own), the level unless it is info, and the
// fields. docs/logs.md lists events and fields; they are an interface.
type logHandler struct {
	out    *logOutput
	fields []slog.Attr // of With, groups flattened into the keys
	group  string      // prefix of the keys, "group."
}

// logOutput is what all handlers of a log share.
type logOutput struct {
	json   bool
	time   bool
	level  *slog.LevelVar
	repeat repeatFilter

	mu sync.Mutex
	w  io.Writer
}

// newLog makes a log on w. Under journald (JOURNAL_STREAM is set,
// systemd.exec(5)) lines have no time.
func newLog(w io.Writer, format string, level *slog.LevelVar, getenv func(string) string) (*slog.Logger, *logOutput) {
	out := &logOutput{json: format == logJSON, time: getenv("JOURNAL_STREAM") == "", level: level, w: w}
	out.repeat.write = out.write
	return slog.New(&logHandler{out: out}), out
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.out.level.Level() }

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.fields = append([]slog.Attr(nil), h.fields...)
	for _, a := range attrs {
		c.fields = appendField(c.fields, h.group, a)
	}
	return &c
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	c := *h
	if name != "" {
		c.group += name + "."
	}
	return &c
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	fields := append(make([]slog.Attr, 0, len(h.fields)+r.NumAttrs()), h.fields...)
	r.Attrs(func(a slog.Attr) bool {
		fields = appendField(fields, h.group, a)
		return true
	})
	return h.out.repeat.add(logLine{at: r.Time, level: r.Level, event: r.Message, fields: fields})
}

// appendField flattens groups: a field is one key and one value.
func appendField(dst []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		if a.Key == "" {
			return dst
		}
		return append(dst, slog.Attr{Key: logKey(prefix + a.Key), Value: v})
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, sub := range v.Group() {
		dst = appendField(dst, prefix, sub)
	}
	return dst
}

// logKey leaves of a key what can't be taken for a value or another field:
// some keys come from clients (ID, RFC 2971).
func logKey(key string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_.-", r)) {
			return r
		}
		return '_'
	}, key[:min(len(key), maxLogKey)])
}

// A logLine is one line before it is written.
type logLine struct {
	at     time.Time
	level  slog.Level
	event  string
	fields []slog.Attr
	times  int // how often it came, in the line that says so
}

func (o *logOutput) write(l logLine) error {
	var b []byte
	if o.json {
		b = o.appendJSON(b, &l)
	} else {
		b = o.appendText(b, &l)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.w.Write(append(b, '\n'))
	return err
}

func (o *logOutput) appendText(b []byte, l *logLine) []byte {
	b = append(b, "event="...)
	b = appendLogValue(b, l.event)
	if o.time {
		b = append(b, " time="...)
		b = l.at.UTC().AppendFormat(b, time.RFC3339)
	}
	if l.level != slog.LevelInfo {
		b = append(append(b, " level="...), levelName(l.level)...)
	}
	for _, f := range l.fields {
		b = append(append(b, ' '), f.Key...)
		b = append(b, '=')
		b = appendLogValue(b, logString(f.Value))
	}
	if l.times > 1 {
		b = strconv.AppendInt(append(b, " repeated="...), int64(l.times), 10)
	}
	return b
}

func (o *logOutput) appendJSON(b []byte, l *logLine) []byte {
	b = appendJSONString(append(b, `{"event":`...), l.event)
	if o.time {
		b = append(b, `,"time":"`...)
		b = l.at.UTC().AppendFormat(b, time.RFC3339)
		b = append(b, '"')
	}
	b = appendJSONString(append(b, `,"level":`...), levelName(l.level))
	for _, f := range l.fields {
		b = appendJSONString(append(b, ','), f.Key)
		b = append(b, ':')
		switch v := f.Value; v.Kind() {
		case slog.KindInt64, slog.KindUint64, slog.KindBool:
			b = append(b, v.String()...)
		default:
			b = appendJSONString(b, logString(v))
		}
	}
	if l.times > 1 {
		b = strconv.AppendInt(append(b, `,"repeated":`...), int64(l.times), 10)
	}
	return append(b, '}')
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

// logString is a value as text, cut where it is too long for a log.
func logString(v slog.Value) string {
	var s string
	switch v.Kind() {
	case slog.KindTime:
		s = v.Time().UTC().Format(time.RFC3339)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case error:
			s = x.Error()
		case encoding.TextMarshaler:
			t, err := x.MarshalText()
			if s = string(t); err != nil {
				s = err.Error()
			}
		default:
			s = fmt.Sprint(x)
		}
	default:
		s = v.String()
	}
	if len(s) > maxLogValue {
		s = s[:maxLogValue] + "..."
	}
	return s
}

// appendLogValue quotes what isn't one printable word, so that no client can
// make a line of its own or a second field.
func appendLogValue(b []byte, s string) []byte {
	plain := s != ""
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '=' || r == utf8.RuneError || !unicode.IsPrint(r) {
			plain = false
			break
		}
	}
	if plain {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

func appendJSONString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, q...)
}
