package main

import (
	"bytes"
	"math"
	"net/mail"
	"strings"
	"testing"
)

func TestCorpus(t *testing.T) {
	t.Parallel()
	subjects, bodies, octets := 0, 0, 0
	const n = 2000
	for i := range n {
		b := message(i)
		if !bytes.Equal(b, message(i)) {
			t.Fatalf("message %d is not the same twice", i)
		}
		if bytes.Contains(bytes.ReplaceAll(b, []byte("\r\n"), nil), []byte("\n")) {
			t.Fatalf("message %d has a bare LF", i)
		}
		m, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if strings.Contains(m.Header.Get("Subject"), rareSubject) {
			subjects++
		}
		if bytes.Contains(b, []byte(rareBody)) {
			bodies++
		}
		octets += len(b)
	}
	if subjects != hitsOf("search_subject", n) || bodies < 1 || bodies > hitsOf("search_body", n) {
		t.Errorf("rare words in %d subjects and %d bodies", subjects, bodies)
	}
	if mean := octets / n; mean < 11_000 || mean > 14_000 {
		t.Errorf("the mean size is %d", mean)
	}
}

func TestSized(t *testing.T) {
	t.Parallel()
	for _, n := range []int{4000, 50_000} {
		m := sized(n, 1)
		stamp(m, 42)
		if len(m) != n || bytes.Count(m, []byte("0000000000000042")) != 3 || bytes.Contains(bytes.ReplaceAll(m, []byte("\r\n"), nil), []byte("\n")) {
			t.Errorf("sized(%d): %d bytes, %.700q", n, len(m), m)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	all := map[string]samples{
		"maildir": {"append1": {50, 100, 300}, "flags": {40}},
		"mdbox":   {"append1": {90, 90, 90}, "flags": {20}},
		"nestbox": {"append1": {120, 150, 180}, "flags": {10}, "rest_pss": {11}},
	}
	for _, c := range []struct {
		row     row
		ratio   float64
		reached bool
	}{
		{row{key: "append1", more: true, goal: 1.3}, 1.5, true},
		{row{key: "append1", more: true, goal: 1.6}, 1.5, false},
		{row{key: "append1", more: true, goal: 1.6, against: "mdbox"}, 150.0 / 90, true},
		{row{key: "flags", goal: 2}, 2, true},
		{row{key: "rest_pss", limit: 12}, math.NaN(), true},
		{row{key: "rest_pss", limit: 11}, math.NaN(), false},
	} {
		v := c.row.judge(all)
		if !(v.ratio == c.ratio || math.IsNaN(v.ratio) && math.IsNaN(c.ratio)) || v.reached != c.reached {
			t.Errorf("%+v: %+v", c.row, v)
		}
	}
	var table strings.Builder
	if err := printTable(&table, rows, []string{"maildir", "mdbox", "nestbox"}, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| APPEND 50 KB, 1 connection, msgs/s | 100 | 90.0 | 150 | 1.50x | 1.3x | won |",
		"| memory at rest, PSS MB |  |  | 11.0 |  | < 12 | won |",
	} {
		if !strings.Contains(table.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, &table)
		}
	}
	if err := checkGate(1.8, all); err == nil || !strings.Contains(err.Error(), "APPEND 50 KB, 1 connection, msgs/s: 1.50x") {
		t.Errorf("gate: %v", err)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-quick", "-messages", "500"})
	if err != nil || o.rounds != 1 || o.messages != 500 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := parse([]string{"more"}); err == nil {
		t.Error("an argument was taken")
	}
}
