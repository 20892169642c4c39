package imap

import (
	"strings"
	"testing"
)

// TestEachSwitchedOff: every extension that can be switched off can be so for an
// account alone: it is neither announced to it nor are its commands known, nor
// those of what needs it; another account has it all the same.
func TestEachSwitchedOff(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	must(t, b.st.SetSetting("admins", "ann")) // QUOTASET is for nobody else
	all := b.login().ok("CAPABILITY")
	for _, x := range protocol() {
		if x.fixed {
			continue
		}
		must(t, b.st.SetExtensions(b.account.ID(), []string{x.name}))
		c := b.login()
		caps := c.ok("CAPABILITY")
		for _, other := range protocol() {
			off := other.name == x.name || reaches(other, x.name)
			for _, cap := range other.caps {
				name, _, _ := strings.Cut(cap.name, " ")
				was, is := announced(all, name), announced(caps, name)
				if !off && cap.when != nil && !is {
					continue // it makes no sense without the other
				}
				if off && is || !off && is != was {
					t.Errorf("%s is off: %s announced %v, before %v", x.name, name, is, was)
				}
			}
			if !off {
				continue
			}
			for _, cmd := range other.commands {
				if cmd.state&authenticated != 0 {
					c.fails(cmd.name, "BAD unknown command")
				}
			}
			if other.enable != "" {
				if lines := c.ok("ENABLE " + other.enable); len(lines) != 1 || lines[0] != "* ENABLED" {
					t.Errorf("%s is off: ENABLE %s: %q", x.name, other.enable, lines)
				}
			}
		}
		c.ok("LIST \"\" *")
		c.ok("SELECT INBOX")
		c.ok("NOOP")
	}
}

// TestBits: each extension has a bit of its own in an extSet.
func TestBits(t *testing.T) {
	t.Parallel()
	if n := len(protocol()); n > 64 {
		t.Errorf("%d extensions, and a set has room for 64: give extSet another type", n)
	} else {
		t.Logf("%d extensions of 64", n)
	}
}

// reaches reports whether an extension needs the named one, or what needs it.
func reaches(x *extension, name string) bool {
	for _, needed := range x.needs {
		if needed.name == name || reaches(needed, name) {
			return true
		}
	}
	return false
}

func announced(lines []string, name string) bool {
	for _, line := range lines {
		for _, word := range strings.Fields(line) {
			if word == name || strings.HasPrefix(word, name+"=") {
				return true
			}
		}
	}
	return false
}

// TestTexts: German says what it is told to.
func TestTexts(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"limit of 59 keywords in a mailbox":           "Grenze überschritten: 59 keywords in a mailbox",
		"want SP at offset 10 near \"(bad\"":          "erwartet wird SP an Stelle 10, vor \"(bad\"",
		"UID FETCH completed":                         "UID FETCH ausgeführt",
		"the right \"r%s\" to the mailbox is missing": "am Postfach fehlt das Recht \"r%s\"",
		"what nobody translated":                      "what nobody translated",
	} {
		if got := german.say(from); got != want {
			t.Errorf("%q is %q, not %q", from, got, want)
		}
	}
	for from, to := range german.texts {
		if strings.Count(from, "%") != strings.Count(to, "%") {
			t.Errorf("%q and %q have not the same holes", from, to)
		}
	}
	if got := readable("[x]\r\n\xff"); got != "(x]???" {
		t.Errorf("%q", got)
	}
}
