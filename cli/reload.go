package cli

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
)

// reload reads the configuration again. What can change while the server runs
// does; of the rest the log says that it waits for a restart.
func (s *serving) reload() {
	s.notifyReloading()
	defer s.notifyReady()
	cfg, err := s.env.config()
	if err != nil {
		s.log.Error("config_reload_failed", "error", err)
		return
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.mu.Lock()
	s.cfg.LogLevel, s.cfg.MinFree = cfg.LogLevel, cfg.MinFree
	s.cfg.MaxConnections, s.cfg.MaxConnectionsPerAddress = cfg.MaxConnections, cfg.MaxConnectionsPerAddress
	s.cfg.CertificateFiles, s.cfg.KeyFiles = cfg.CertificateFiles, cfg.KeyFiles
	s.mu.Unlock()
	s.setLogLevel()
	s.imap.SetLimits(cfg.MaxConnections, cfg.MaxConnectionsPerAddress)
	s.st.SetMinFree(storage.MinFree{Bytes: int64(cfg.MinFree.Bytes), Percent: cfg.MinFree.Percent})
	s.adoptPassed(cfg)
	s.reloadListeners(cfg)
	s.reloadFixed(cfg)
	s.warnOfPaths(cfg)
	s.log.Info("config_reloaded", "file", cfg.File, "after_restart", strings.Join(changedKeys(s.cfg, cfg), " "))
}

// reloadListeners closes the addresses that are no longer configured, and
// binds the new ones. Those that can't be bound are logged; the others serve.
func (s *serving) reloadListeners(cfg *config.Config) {
	for _, p := range protocols {
		want, have := p.addresses(cfg), p.addresses(s.cfg)
		for _, addr := range have {
			if !slices.Contains(want, addr) {
				s.unlisten(p, addr)
			}
		}
		bound := slices.DeleteFunc(slices.Clone(have), func(addr string) bool { return !slices.Contains(want, addr) })
		for _, addr := range want {
			if slices.Contains(bound, addr) {
				continue
			}
			if err := s.listenNow(p, addr); err != nil {
				s.log.Error("listen_failed", "protocol", p.name, "addr", addr, "error", err)
				continue // the next reload tries again
			}
			bound = append(bound, addr)
		}
		p.setAddresses(s.cfg, bound, cfg)
	}
}

// listenNow binds an address while the server runs.
func (s *serving) listenNow(p protocol, addr string) error {
	before := s.bound()
	if err := s.bind(s.ctx, p, addr); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if !slices.Contains(before, l) {
			s.accept(l)
		}
	}
	return nil
}

func (s *serving) bound() []*listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listeners)
}

// unlisten ends the serving of an address. Connections that came by it stay.
func (s *serving) unlisten(p protocol, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.waiting[address{p.name, addr}]; cancel != nil {
		cancel()
	}
	s.listeners = slices.DeleteFunc(s.listeners, func(l *listener) bool {
		if l.name != p.name || l.addr != addr {
			return false
		}
		_ = l.Close() // it only ends Accept
		s.log.Info("listening_ended", "protocol", p.name, "addr", addr)
		return true
	})
}

// reloadFixed takes over the household's settings that stand in the file, as
// far as they can change while the server runs.
func (s *serving) reloadFixed(cfg *config.Config) {
	s.mu.Lock()
	fixed := maps.Clone(s.cfg.Fixed)
	delete(fixed, extensionsOff)
	if v, ok := cfg.Fixed[extensionsOff]; ok {
		fixed[extensionsOff] = v
	}
	s.cfg.Fixed = fixed
	s.mu.Unlock()
	s.applyHousehold()
}

const extensionsOff = "extensions_off"

// applyHousehold takes over the household's settings that a running server
// can: for logins from now on.
func (s *serving) applyHousehold() {
	stored, err := s.st.Settings()
	if err != nil {
		s.log.Error("settings_unreadable", "error", err)
		return
	}
	s.mu.Lock()
	off := strings.Fields(s.cfg.Setting(stored, extensionsOff))
	s.mu.Unlock()
	_ = s.certs.Renew(false) // host_names may have changed; it logs what fails
	if unknown := s.imap.SetOff(off); len(unknown) > 0 {
		s.log.Warn("imap_unknown_extensions", "names", unknown)
	}
}

// changedKeys lists the keys whose values differ.
func changedKeys(a, b *config.Config) []string {
	var changed []string
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		key, ok := va.Type().Field(i).Tag.Lookup("key")
		if ok && !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			changed = append(changed, key)
		}
	}
	for _, k := range config.HouseholdKeys() {
		va, oka := a.Fixed[k.Name]
		if vb, okb := b.Fixed[k.Name]; va != vb || oka != okb {
			changed = append(changed, k.Name)
		}
	}
	return changed
}

// health is what `nestbox status` is told of the server.
func (s *serving) health() admin.ServerHealth {
	h := admin.ServerHealth{Started: s.started.UTC(), Connections: s.imap.Connections(), Listeners: []admin.Listener{}, Process: s.protections.String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		h.Listeners = append(h.Listeners, admin.Listener{Protocol: l.name, Address: l.Addr().String()})
	}
	for a := range s.waiting {
		h.Listeners = append(h.Listeners, admin.Listener{Protocol: a.protocol, Address: a.addr, Waiting: true})
	}
	return h
}
