package tls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nestbox/storage"
)

// maxCertFile bounds a file with certificates or keys.
const maxCertFile = 1 << 20

// Files are certificates that others get and write into files: an
// administrator, certbot, the appliance's own page. They are a Source.
type Files struct {
	st    *storage.Store
	log   *slog.Logger
	paths func() (certs, keys []string)

	mu     sync.Mutex
	certs  []string
	keys   []string
	seen   []os.FileInfo // of certs and keys, as they were read
	loaded []*loadedFile // by certs
	errAt  time.Time

	now atomic.Pointer[served]
}

// loadedFile is what is known of a file with a certificate.
type loadedFile struct {
	path string
	cert *tls.Certificate // the last that could be read with its key
	err  error            // since then
}

// NewFiles reads certificates from files in PEM: the certificate first, then
// those of its issuers. The keys, which may stand in the same files, are
// found by what they belong to. paths is asked at each look.
func NewFiles(st *storage.Store, log *slog.Logger, paths func() (certs, keys []string)) *Files {
	f := &Files{st: st, log: log, paths: paths}
	f.Look()
	return f
}

// choose takes over other files.
func (f *Files) choose(certs, keys []string) {
	if slices.Equal(certs, f.certs) && slices.Equal(keys, f.keys) {
		return
	}
	f.certs, f.keys, f.seen = slices.Clone(certs), slices.Clone(keys), nil
	was := f.loaded
	f.loaded = nil
	for _, path := range certs {
		if i := slices.IndexFunc(was, func(l *loadedFile) bool { return l.path == path }); i >= 0 {
			f.loaded = append(f.loaded, was[i])
		} else {
			f.loaded = append(f.loaded, &loadedFile{path: path})
		}
	}
}

// Look reads the files if one of them changed, and chooses those that hold.
func (f *Files) Look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.choose(f.paths())
	if len(f.certs) == 0 {
		f.now.Store(nil)
		return
	}
	if seen := stats(slices.Concat(f.certs, f.keys)); f.seen == nil || !slices.EqualFunc(seen, f.seen, sameFile) {
		f.seen = seen
		f.read()
	}
	// One that has ended is of no use to anybody: another source may do better.
	now := f.st.Now()
	var good []*tls.Certificate
	for _, l := range f.loaded {
		if l.cert != nil && now.Before(l.cert.Leaf.NotAfter) {
			good = append(good, l.cert)
		}
	}
	if s := f.now.Load(); len(good) == 0 {
		f.now.Store(nil)
	} else if s == nil || !slices.Equal(s.all, good) {
		f.now.Store(&served{leaf: good[0], index: newIndex(good...), all: good})
	}
}

// stats is nil for a file that isn't there.
func stats(paths []string) []os.FileInfo {
	all := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		all[i], _ = os.Stat(path) // reading it says why not
	}
	return all
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// read reads all files. A certificate whose new files aren't good stays as it
// was: who writes them may be between the two.
func (f *Files) read() {
	keys, keyErr := readKeys(slices.Concat(f.certs, f.keys))
	for _, l := range f.loaded {
		cert, err := readCertificate(l.path, keys)
		if err != nil {
			err = errors.Join(err, keyErr)
			if l.err == nil || l.err.Error() != err.Error() {
				f.log.Error("certificate_failed", "source", FromFiles, "file", l.path, "error", err)
				f.audit("no certificate from " + l.path)
			}
			l.err, f.errAt = err, f.st.Now()
			continue
		}
		if l.cert == nil || !bytes.Equal(l.cert.Certificate[0], cert.Certificate[0]) {
			f.log.Info("certificate_loaded", "source", FromFiles, "file", l.path,
				"names", strings.Join(certNames(cert.Leaf), " "), "until", cert.Leaf.NotAfter.UTC())
			f.audit("certificate for " + strings.Join(certNames(cert.Leaf), " ") + " from " + l.path)
		}
		l.cert, l.err = cert, nil
	}
}

func (f *Files) audit(what string) {
	f.st.Audit(storage.AuditEvent{Kind: storage.AuditCertificate, Detail: what})
}

func readPEM(path string, each func(*pem.Block) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxCertFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxCertFile {
		return fmt.Errorf("%s: more than %d octets", path, maxCertFile)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if err := each(block); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// readKeys reads the private keys of all files.
func readKeys(paths []string) (keys []crypto.Signer, err error) {
	for _, path := range paths {
		err = errors.Join(err, readPEM(path, func(block *pem.Block) error {
			if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
				return nil
			}
			key, err := parseKey(block)
			if err == nil {
				keys = append(keys, key)
			}
			return err
		}))
	}
	return keys, err
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("the key has a passphrase, which nobody could type in when the box starts; write it without: openssl pkey -in KEY -out NEW")
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("a private key that can't be read; RSA, ECDSA and Ed25519 can")
}

// readCertificate reads a certificate with its chain, and finds its key.
func readCertificate(path string, keys []crypto.Signer) (*tls.Certificate, error) {
	c := &tls.Certificate{}
	if err := readPEM(path, func(block *pem.Block) (err error) {
		if block.Type == "CERTIFICATE" {
			if c.Leaf == nil {
				c.Leaf, err = x509.ParseCertificate(block.Bytes)
			}
			c.Certificate = append(c.Certificate, block.Bytes)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		return nil, fmt.Errorf("%s: no certificate in PEM", path)
	}
	for _, key := range keys {
		if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(c.Leaf.PublicKey) {
			c.PrivateKey = key
			return c, nil
		}
	}
	return nil, fmt.Errorf("%s: its key is in none of the files", path)
}

// Run looks once a minute.
func (f *Files) Run(ctx context.Context) {
	tick := time.NewTicker(lookPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.Look()
		}
	}
}

// Renew looks at once. With force all files are read again.
func (f *Files) Renew(force bool) error {
	if force {
		f.mu.Lock()
		f.seen = nil
		f.mu.Unlock()
	}
	f.Look()
	return nil
}

// Certificate is the one for what the client asks for.
func (f *Files) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s := f.now.Load(); s != nil {
		return s.index.find(hello), nil
	}
	return nil, nil
}

// Default is the first.
func (f *Files) Default(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s := f.now.Load(); s != nil {
		return usable(hello, s.all), nil
	}
	return nil, nil
}

// Status tells of each file.
func (f *Files) Status() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []Status{}
	for _, l := range f.loaded {
		s := Status{Names: []string{}, Source: FromFiles, Next: "is read when " + l.path + " changes"}
		if l.cert != nil {
			s = statusOf(FromFiles, l.cert.Leaf, f.st.Now())
			s.Next = "is read again when " + l.path + " changes"
		}
		if l.err != nil {
			s.Error, s.ErrorAt = l.err.Error(), f.errAt.UTC().Truncate(time.Second)
		} else if !s.Ready {
			s.Error, s.ErrorAt = "the certificate doesn't hold now", f.st.Now().UTC().Truncate(time.Second)
			s.Next = "put one that does into " + l.path
		}
		all = append(all, s)
	}
	return all
}
