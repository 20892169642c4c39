package auth

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An answering is a provider's web server without a network.
type answering func(*http.Request) string

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(a(r))), Request: r,
	}, nil
}

// TestIntrospectedForAMinute: the provider is asked once a minute about a token
// that is used again and again, and one that it took back ends within it.
func TestIntrospectedForAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := tokenOptions
		options.Introspect, options.ClientID, options.ClientSecret = true, "box", "secret"
		o := newOAuth(options, slog.New(slog.DiscardHandler), time.Now)
		asked, active := 0, "true"
		o.provider.metadata.fetch = func(context.Context) (metadata, error) {
			return metadata{Issuer: options.Issuer, Introspection: options.Issuer + "/introspect"}, nil
		}
		o.provider.client.Transport = answering(func(*http.Request) string {
			asked++
			return `{"active": ` + active + `, "aud": "box", "scope": "m", "email": "anna@box.test"}`
		})
		check := func(after time.Duration, good bool, times int) {
			t.Helper()
			time.Sleep(after)
			if _, err := o.check(t.Context(), "opaque"); (err == nil) != good || asked != times {
				t.Errorf("%v, asked %d times, want good %v, %d times", err, asked, good, times)
			}
		}
		check(0, true, 1)
		check(59*time.Second, true, 1)
		check(time.Second, true, 2)
		active = "false"
		check(59*time.Second, true, 2)
		check(time.Second, false, 3)
		check(time.Second, false, 3) // no is kept as well
	})
}
