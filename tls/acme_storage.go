package tls

import (
	"context"
	"sync"

	"github.com/caddyserver/certmagic"

	"nestbox/storage"
)

// acmeStorage is system.db as certmagic wants its storage.
type acmeStorage struct {
	st    *storage.Store
	locks *locks
}

func (s acmeStorage) Store(_ context.Context, key string, value []byte) error {
	return s.st.StoreACME(key, value)
}

func (s acmeStorage) Load(_ context.Context, key string) ([]byte, error) { return s.st.LoadACME(key) }

func (s acmeStorage) Delete(_ context.Context, key string) error { return s.st.DeleteACME(key) }

func (s acmeStorage) Exists(_ context.Context, key string) bool {
	_, err := s.st.StatACME(key)
	return err == nil
}

func (s acmeStorage) List(_ context.Context, path string, recursive bool) ([]string, error) {
	return s.st.ListACME(path, recursive)
}

func (s acmeStorage) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	f, err := s.st.StatACME(key)
	return certmagic.KeyInfo{Key: f.Key, Modified: f.Modified, Size: f.Size, IsTerminal: !f.Folder}, err
}

func (s acmeStorage) Lock(ctx context.Context, name string) error { return s.locks.lock(ctx, name) }
func (s acmeStorage) Unlock(_ context.Context, name string) error { return s.locks.unlock(name) }
func (s acmeStorage) TryLock(_ context.Context, name string) (bool, error) {
	return s.locks.try(name), nil
}

// locks are of this process only: no other can have system.db open.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed at unlock
}

func acmeLocks() *locks { return &locks{held: map[string]chan struct{}{}} }

func (l *locks) lock(ctx context.Context, name string) error {
	for {
		l.mu.Lock()
		held := l.held[name]
		if held == nil {
			l.held[name] = make(chan struct{})
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *locks) try(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name] != nil {
		return false
	}
	l.held[name] = make(chan struct{})
	return true
}

func (l *locks) unlock(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name] != nil {
		close(l.held[name])
		delete(l.held, name)
	}
	return nil
}
