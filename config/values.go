package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

func assignBool(p *bool, value any) error {
	switch v := value.(type) {
	case bool:
		*p = v
		return nil
	case string:
		switch strings.ToLower(v) {
		case "true", "yes", "on", "1":
			*p = true
			return nil
		case "false", "no", "off", "0":
			*p = false
			return nil
		}
	}
	return fmt.Errorf("wants true or false, not %v", value)
}

// integer takes a number or a text that parse understands.
func integer[N int | Size](value any, parse func(string) (N, error)) (int64, error) {
	switch v := value.(type) {
	case int64:
		return v, nil
	case string:
		n, err := parse(v)
		if err != nil {
			if errors.Is(err, errSize) {
				return 0, err
			}
			return 0, fmt.Errorf("wants a whole number, not %q", v)
		}
		return int64(n), nil
	}
	return 0, fmt.Errorf("wants a number, not %v", value)
}

func (f field) inRange(n int64, err error) error {
	if err != nil || f.key.Min == "" {
		return nil // the range is not what is wrong
	}
	lo, _ := ParseSize(f.key.Min) // a test holds that they are good
	hi, _ := ParseSize(f.key.Max)
	if n < int64(lo) || n > int64(hi) {
		return fmt.Errorf("must be from %s to %s", f.key.Min, f.key.Max)
	}
	return nil
}

var errSize = errors.New(`wants a size such as "50 MB"`)

// maxSize is a petabyte: what is more is a slip of the hand.
const maxSize = 1 << 50

// ParseSize reads a number of bytes with or without a unit: KB, MB, GB, TB, of
// 1024, 1024², 1024³, 1024⁴ bytes.
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "kKmMgGtTiIbB \t")
	shift := 0
	switch strings.ToUpper(strings.TrimSpace(s[len(digits):])) {
	case "", "B":
	case "K", "KB", "KIB":
		shift = 10
	case "M", "MB", "MIB":
		shift = 20
	case "G", "GB", "GIB":
		shift = 30
	case "T", "TB", "TIB":
		shift = 40
	default:
		return 0, fmt.Errorf("%w, not %q", errSize, s)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > maxSize>>shift {
		return 0, fmt.Errorf("%w, not %q", errSize, s)
	}
	return Size(n << shift), nil
}

// room takes a size, or percents: "5%" or "5 %".
func room(value any) (Room, error) {
	if s, ok := value.(string); ok {
		if digits, ok := strings.CutSuffix(strings.TrimSpace(s), "%"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(digits))
			if err != nil || n < 0 || n > 90 {
				return Room{}, fmt.Errorf(`wants a size such as "500 MB" or a percentage up to 90 such as "5%%", not %q`, s)
			}
			return Room{Percent: n}, nil
		}
	}
	n, err := integer(value, ParseSize)
	if err == nil && n < 0 {
		err = fmt.Errorf("must not be below 0")
	}
	return Room{Bytes: Size(n)}, err
}

// String is the shortest form that ParseSize reads.
func (s Size) String() string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{40, "TB"}, {30, "GB"}, {20, "MB"}, {10, "KB"}} {
		if s > 0 && s&(1<<u.shift-1) == 0 {
			return fmt.Sprintf("%d %s", s>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d", int64(s))
}

// Networks are networks of IP addresses.
type Networks []netip.Prefix

// networks takes a list of networks or single addresses.
func networks(value any) (all Networks, err error) {
	list, err := texts(value)
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil || a.Zone() != "" {
				return nil, fmt.Errorf(`wants networks such as 192.0.2.0/24, or addresses, not %q`, s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf(`wants %s as IPv4`, s)
		}
		all = append(all, p.Masked())
	}
	return all, err
}

// Paths are files or folders.
type Paths []string

// paths takes a list of absolute paths: the server's current folder is chance.
func paths(value any) (Paths, error) {
	list, err := texts(value)
	for _, p := range list {
		if !strings.HasPrefix(p, "/") {
			return nil, fmt.Errorf("wants absolute paths, not %q", p)
		}
	}
	return list, err
}

// addresses takes a list of host:port; a text has blanks or commas between them.
func addresses(value any) ([]string, error) {
	list, err := texts(value)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			return nil, fmt.Errorf(`wants host:port or :port, not %q`, a)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, fmt.Errorf("has port %q in %q; a port is a number up to 65535", port, a)
		}
	}
	return list, nil
}

// texts takes a list of texts, or one text with blanks or commas in it.
func texts(value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }), nil
	case []string:
		var list []string
		for _, s := range v {
			part, _ := texts(s)
			list = append(list, part...)
		}
		return list, nil
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf(`wants texts in "quotes", not %v`, e)
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, fmt.Errorf(`wants a list such as ["one", "two"], not %v`, value)
}
