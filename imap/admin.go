package imap

import (
	"slices"
	"strings"

	"nestbox/storage"
)

// isAdmin reports whether the login is one of those that run the box: the
// household's setting names their accounts.
func (s *session) isAdmin() bool {
	names, err := s.srv.o.Store.HouseholdSetting(storage.SettingAdmins)
	if err != nil || names == "" {
		return false
	}
	info, err := s.srv.o.Store.AccountInfo(s.login.Account)
	return err == nil && slices.ContainsFunc(strings.Fields(names), func(name string) bool { return strings.EqualFold(name, info.Name) })
}
