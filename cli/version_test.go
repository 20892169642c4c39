package cli

import (
	"testing"
	"time"
)

// The build date is a floor of the clock: unreadable, it would be none; in the
// future, every box would be ahead.
func TestBuilt(t *testing.T) {
	t.Parallel()
	at, err := time.Parse(time.DateOnly, versionDate)
	if err != nil {
		t.Fatal(err)
	}
	if built().Before(at) || at.Year() < 2026 {
		t.Errorf("built %v, version of %v", built(), at)
	}
}
