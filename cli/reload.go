package cli

import (
	"reflect"
	"strings"

	"nestbox/config"
)

// reload reads the configuration again. What can change while the server runs
// does; of the rest the log says that it waits for a restart.
func (s *serving) reload() {
	cfg, err := s.env.config()
	if err != nil {
		s.log.Error("config_reload_failed", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.LogLevel = cfg.LogLevel
	s.setLogLevel()
	s.log.Info("config_reloaded", "file", cfg.File, "after_restart", strings.Join(changedKeys(s.cfg, cfg), " "))
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
	return changed
}
