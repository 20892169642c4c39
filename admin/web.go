package admin

import (
	"context"
	"crypto/tls"
	"errors"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of the web server: what it serves is small, and who asks is a phone
// that is set up, a mail program or a CA.
const (
	webHeaderTime = 10 * time.Second // also for the TLS handshake
	webReadTime   = 20 * time.Second
	webWriteTime  = 30 * time.Second
	webIdleTime   = 20 * time.Second
	webMaxHeader  = 8 << 10
	webMaxURL     = 2 << 10
	webMaxBody    = 16 << 10
	webConns      = 64 // at a time, all together
	webConnsEach  = 16 // of one address (for IPv6, one /64)
)

// A Web is the server behind `http` and `https`: handlers by the beginning of
// the path. Who has nothing to serve answers 404 as for an unknown path.
type Web struct {
	log    *slog.Logger
	secure *tls.Config
	http   *http.Server
	conns  *connLimit
	mu     sync.RWMutex
	routes []webRoute // the longest prefix first
}

type webRoute struct {
	prefix string
	http.Handler
}

// NewWeb makes a server without handlers. secure is for HTTPS, its ALPN http/1.1.
func NewWeb(log *slog.Logger, secure *tls.Config) *Web {
	w := &Web{log: log, secure: secure, conns: newConnLimit(webConns, webConnsEach)}
	w.http = &http.Server{
		Handler:           w,
		ReadHeaderTimeout: webHeaderTime,
		ReadTimeout:       webReadTime,
		WriteTimeout:      webWriteTime,
		IdleTimeout:       webIdleTime,
		MaxHeaderBytes:    webMaxHeader,
		ErrorLog:          stdlog.New(webLog{log}, "", 0),
		Protocols:         new(http.Protocols),
	}
	w.http.Protocols.SetHTTP1(true)
	return w
}

// webLog makes events of what net/http has to say: what strangers can cause
// at will, so nobody sees it who doesn't look for it.
type webLog struct{ log *slog.Logger }

func (l webLog) Write(p []byte) (int, error) {
	l.log.Debug("http_error", "error", strings.TrimSpace(string(p)))
	return len(p), nil
}

// Handle gives the paths that begin with prefix to h: the path prefix itself
// alone when it doesn't end with a slash. Letters of either case are the same
// in a prefix: Outlook has several spellings. h answers GET and HEAD, and must
// refuse other methods itself.
func (w *Web) Handle(prefix string, h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.routes = append(w.routes, webRoute{strings.ToLower(prefix), h})
	slices.SortStableFunc(w.routes, func(a, b webRoute) int { return len(b.prefix) - len(a.prefix) })
}

func (w *Web) route(path string) http.Handler {
	w.mu.RLock()
	defer w.mu.RUnlock()
	path = strings.ToLower(path)
	for _, r := range w.routes {
		if path == r.prefix || strings.HasSuffix(r.prefix, "/") && strings.HasPrefix(path, r.prefix) {
			return r.Handler
		}
	}
	return nil
}

// ServeHTTP sets the headers that all answers have, and looks for who answers.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src '"+styleHash+"'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer") // an invitation's link has its token
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
	h.Set("Cache-Control", "no-store")
	if len(r.RequestURI) > webMaxURL {
		http.Error(rw, "URI too long", http.StatusRequestURITooLong)
		return
	}
	r.Body = http.MaxBytesReader(rw, r.Body, webMaxBody)
	if handler := w.route(r.URL.Path); handler != nil {
		handler.ServeHTTP(rw, r)
		return
	}
	notFound(rw)
}

// notFound is the one answer to whatever isn't there, or not any more.
func notFound(w http.ResponseWriter) { http.Error(w, "not found", http.StatusNotFound) }

// onlyMethods answers what is neither of methods; GET stands for HEAD too.
func onlyMethods(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) || r.Method == http.MethodHead && slices.Contains(methods, http.MethodGet) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}

// Serve answers on a listener until it or the server is closed.
func (w *Web) Serve(l net.Listener, secure bool) error {
	l = w.conns.limit(l)
	if secure {
		l = tls.NewListener(l, w.secure)
	}
	err := w.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown waits for the requests that are under way.
func (w *Web) Shutdown(ctx context.Context) error {
	return errors.Join(w.http.Shutdown(ctx), w.http.Close())
}
