package config

import (
	"fmt"
	"strconv"
	"strings"
)

// checkNumber takes whole numbers from 0 to most.
func checkNumber(most int64) func(string) (string, error) {
	return func(value string) (string, error) {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil || n < 0 || n > most {
			return "", fmt.Errorf("wants a whole number from 0 to %d, not %q", most, value)
		}
		return strconv.FormatInt(n, 10), nil
	}
}

// checkQuota takes a size and makes a number of bytes of it, which storage reads.
func checkQuota(value string) (string, error) {
	n, err := ParseSize(strings.TrimSpace(value))
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(int64(n), 10), nil
}
