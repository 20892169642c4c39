package tls

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// dnsValues are the lines of a provider's file.
type dnsValues map[string]string

// dnsKeys are all that providers know.
var dnsKeys = []string{"server", "zone", "key", "algorithm", "secret", "token", "username", "password", "subdomain", "fulldomain", "resolvers", "wait"}

// readDNSFile reads lines "key = value". Empty ones and those that begin with
// # are nothing. Errors have no values in them: some are secret.
func readDNSFile(text string) (dnsValues, error) {
	values := dnsValues{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		switch {
		case !ok:
			return nil, fmt.Errorf("line %d: wants key = value", n)
		case !slices.Contains(dnsKeys, key):
			return nil, fmt.Errorf("line %d: wants one of %s", n, strings.Join(dnsKeys, ", "))
		case values[key] != "":
			return nil, fmt.Errorf("line %d: %s stands there twice", n, key)
		}
		values[key] = value
	}
	return values, nil
}

// longestPropagation bounds how long a record is looked for: an attempt ends too.
const longestPropagation = 8 * time.Minute

// wait is how long the record is looked for; 0: it isn't.
func (v dnsValues) wait() (time.Duration, error) {
	text := v["wait"]
	if text == "" {
		return 2 * time.Minute, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case text == "0" || err == nil && d == 0:
		return 0, nil
	case err != nil || d < 0 || d > longestPropagation:
		return 0, fmt.Errorf("wait must be a time such as 2m, at most %v, or 0", longestPropagation)
	}
	return d, nil
}

// need is an error that names the first key that is missing.
func (v dnsValues) need(keys ...string) error {
	for _, key := range keys {
		if v[key] == "" {
			return errors.New("acme_dns_file must have a line " + key + " = ...")
		}
	}
	return nil
}
