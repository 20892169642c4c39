package tls

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

// Status tells of the certificate, and of names that it can't have.
func (l *LocalCA) Status() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Names: []string{}, Source: FromLocalCA}
	if l.leaf != nil {
		s = statusOf(FromLocalCA, l.leaf.Leaf, l.st.Now())
		s.NextAt = s.NotAfter.Add(-renewBefore)
		s.Next = "is made anew by itself on " + s.NextAt.Format(time.DateOnly)
		if len(l.household()) == 0 && len(s.Names) <= 3 {
			s.Next = "set what clients call this box: nestbox set host_names NAME ADDRESS"
		}
	}
	if l.leaf == nil {
		s.Next = "is made when nestbox serve starts"
	}
	if err := cmp.Or(l.err, l.bad); err != nil {
		s.Error, s.ErrorAt = err.Error(), l.errAt.UTC().Truncate(time.Second)
	}
	all := []Status{s}
	if len(l.refused) > 0 {
		all = append(all, Status{
			Names: l.refused, Source: FromLocalCA, Error: "the local CA was not made for " + strings.Join(l.refused, ", "),
			Next: "nestbox cert ca --renew makes one that is; every device must install it again",
		})
	}
	return all
}

// Root is the CA's certificate, nil if there is none yet.
func (l *LocalCA) Root() *x509.Certificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root == nil {
		return nil
	}
	return l.root.cert
}

// Leaf is the box's certificate, nil if there is none yet.
func (l *LocalCA) Leaf() *x509.Certificate {
	if s := l.now.Load(); s != nil {
		return s.leaf.Leaf
	}
	return nil
}

// Replaced is the fingerprint of the self-signed certificate that the CA
// replaced in this run, "" if it replaced none.
func (l *LocalCA) Replaced() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.replaced
}

// RenewRoot makes another CA, for what the box is called now. All devices
// must install it again.
func (l *LocalCA) RenewRoot() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.makeRoot(l.st.Now()); err != nil {
		return err
	}
	return l.noted(l.look(true))
}

// Export is the CA with its key, as PEM, nil if there is none.
func (l *LocalCA) Export() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root == nil {
		return nil, nil
	}
	return l.root.pem()
}

// Import takes a CA over, of Export. What was there is gone.
func (l *LocalCA) Import(text []byte) error {
	root, err := readAuthority(text)
	if err != nil {
		return err
	}
	if text, err = root.pem(); err != nil { // without what else stood there
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.st.Now(); !now.Before(root.cert.NotAfter) {
		return fmt.Errorf("this CA has ended, on %s", root.cert.NotAfter.Format(time.DateOnly))
	}
	if err := l.st.SetSecret(rootSecret, text); err != nil {
		return err
	}
	l.root, l.bad = root, nil
	l.o.Log.Info("local_ca_imported", "fingerprint", Fingerprint(root.cert), "until", root.cert.NotAfter.UTC())
	return l.noted(l.look(true))
}

// PEM is a certificate as PEM.
func PEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
