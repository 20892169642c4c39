package cli

import (
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func testLog(format, journal string) (*slog.Logger, *logOutput, *syncBuffer) {
	var b syncBuffer
	log, out := newLog(&b, format, new(slog.LevelVar), func(name string) string {
		if name == "JOURNAL_STREAM" {
			return journal
		}
		return ""
	})
	return log, out, &b
}

func TestLogText(t *testing.T) {
	t.Parallel()
	log, _, b := testLog(logText, "")
	log.With("peer", "192.0.2.1:5").WithGroup("g").Warn("a_thing", "n", 7, "text", "two words\n", "error", errors.New(`say "x"`), "empty", "")
	want := regexp.MustCompile(`^event=a_thing time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=warn peer=192\.0\.2\.1:5 g\.n=7 g\.text="two words\\n" g\.error="say \\"x\\"" g\.empty=""\n$`)
	if !want.MatchString(b.String()) {
		t.Errorf("got %q", b.String())
	}
	log, _, b = testLog(logText, "8:123")
	log.Info("a_thing", slog.Group("who", "name", "anna"))
	if b.String() != "event=a_thing who.name=anna\n" {
		t.Errorf("under journald %q", b.String())
	}
	log.Info("a_thing", "x y=1\nevent", "v")
	if !strings.HasSuffix(b.String(), "event=a_thing x_y_1_event=v\n") {
		t.Errorf("a bad key: %q", b.String())
	}
	log.Debug("hidden")
	log.Info("long", "v", strings.Repeat("x", 5000))
	if strings.Contains(b.String(), "hidden") || len(b.String()) > 1200 {
		t.Errorf("%d bytes", len(b.String()))
	}
}

func TestLogJSON(t *testing.T) {
	t.Parallel()
	log, _, b := testLog(logJSON, "")
	log.Info("a_thing", "n", 7, "ok", true, "text", "two \"words\"", "d", time.Second)
	if !strings.HasPrefix(b.String(), `{"event":"a_thing","time":"2`) {
		t.Errorf("got %s", b.String())
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got["n"] != 7.0 || got["ok"] != true || got["text"] != `two "words"` || got["level"] != "info" || got["d"] != "1s" {
		t.Errorf("got %v", got)
	}
}

func TestLogRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, out, b := testLog(logText, "x")
		for i := range 50 {
			log.Info("login_failed", "peer", "192.0.2.1:"+string(rune('0'+i%10)), "reason", "unknown")
		}
		log.Info("login_failed", "peer", "192.0.2.2:1", "reason", "unknown")
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want 2:\n%s", n, b.String())
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if want := "event=login_failed peer=192.0.2.1:9 reason=unknown repeated=49\n"; !strings.HasSuffix(b.String(), want) {
			t.Errorf("after a minute:\n%s", b.String())
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n := strings.Count(b.String(), "\n"); n != 3 {
			t.Errorf("%d lines after rest, want 3:\n%s", n, b.String())
		}
		log.Info("login_failed", "peer", "192.0.2.1:1", "reason", "unknown")
		log.Info("login_failed", "peer", "192.0.2.1:1", "reason", "unknown")
		log.Info("login_failed", "peer", "192.0.2.1:1", "reason", "unknown")
		out.repeat.close()
		if !strings.HasSuffix(b.String(), "reason=unknown repeated=2\n") {
			t.Errorf("at the end:\n%s", b.String())
		}
	})
}
