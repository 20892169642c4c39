package e2e

import (
	"strings"
	"testing"
)

// TestActAs: a program with an account of its own works in others' mailboxes, as
// long as it may: curl's --sasl-authzid.
func TestActAs(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	n := install(t)
	command(t, n, "", "init")
	for _, name := range []string{"mover", "anna", "bert"} {
		if err := n.AddAccount(t.Context(), name, "password of "+name); err != nil {
			t.Fatal(err)
		}
	}
	command(t, n, "", "act-as", "add", "mover", "anna") // without a server
	s := start(t, n)
	mover := func(whom, path string, args ...string) (string, error) {
		args = append([]string{"-sS", "--max-time", "30", "-k", "-u", "mover:password of mover", "--sasl-authzid", whom,
			"--login-options", "AUTH=PLAIN", "imaps://" + s.TLSAddr + path}, args...)
		return try(t, n.Data, "curl", args...)
	}
	if out, err := mover("anna", "/", "-X", "CREATE Moved"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c, err := s.Connect("anna", "password of anna")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Select("Moved"); err != nil || n != 0 {
		t.Errorf("anna has no mailbox Moved: %v", err)
	}
	if out, err := mover("bert", "/"); err == nil {
		t.Errorf("it is bert:\n%s", out)
	}
	// With a server, which needn't start again.
	command(t, n, "", "act-as", "add", "mover", "--all")
	if out, err := mover("bert", "/"); err != nil || !strings.Contains(out, "INBOX") {
		t.Errorf("as bert: %v\n%s", err, out)
	}
	if out := command(t, n, "", "act-as", "list", "--json"); !strings.Contains(out, `"actor": "mover"`) || !strings.Contains(out, `"all": true`) {
		t.Errorf("list:\n%s", out)
	}
	if out, err := n.Run(t.Context(), "", "act-as", "delete", "mover", "anna"); err == nil {
		t.Errorf("one of all is taken away: %s", out)
	}
	command(t, n, "", "act-as", "delete", "mover", "--all")
	if out, err := mover("anna", "/"); err == nil {
		t.Errorf("it still is anna:\n%s", out)
	}
	if out := command(t, n, "", "act-as", "list"); strings.Contains(out, "mover") {
		t.Errorf("list:\n%s", out)
	}
	audit := command(t, n, "", "audit")
	for _, want := range []string{"by mover", "acts for anna", "may act for all", "may no longer act for all", "not_allowed_for_another"} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit log lacks %q:\n%s", want, audit)
		}
	}
}
