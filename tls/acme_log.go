package tls

import (
	"context"
	"log/slog"
	"slices"

	"go.uber.org/zap/zapcore"
)

// zapToLog is the log for certmagic, which speaks zap: one event of ours, for
// who looks for a fault. Of the fields only those pass that are no secrets,
// and no proofs of a challenge.
type zapToLog struct{ log *slog.Logger }

var acmeFields = []string{
	"identifier", "identifiers", "names", "error", "challenge", "challenge_type", "ca", "issuer", "status", "status_code",
	"method", "url", "remote", "server_name", "remaining", "attempt", "zone", "dns_name", "record_type", "resolvers", "fqdn",
	"window_start", "window_end", "selected_time", "recheck_after", "problem",
}

func (z zapToLog) Enabled(zapcore.Level) bool {
	return z.log.Enabled(context.Background(), slog.LevelDebug)
}

func (z zapToLog) With(fields []zapcore.Field) zapcore.Core {
	return zapToLog{z.log.With(acmeAttrs(fields)...)}
}

func (z zapToLog) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if z.Enabled(e.Level) {
		to = to.AddCore(e, z)
	}
	return to
}

func (z zapToLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	z.log.Debug("acme_step", append([]any{"did", e.Message}, acmeAttrs(fields)...)...)
	return nil
}

func (z zapToLog) Sync() error { return nil }

func acmeAttrs(fields []zapcore.Field) (attrs []any) {
	for _, f := range fields {
		if !slices.Contains(acmeFields, f.Key) {
			continue
		}
		to := zapcore.NewMapObjectEncoder()
		f.AddTo(to)
		attrs = append(attrs, f.Key, to.Fields[f.Key])
	}
	return attrs
}
