package auth

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// What doveadm pw, openssl passwd and glibc's crypt made of passwords.
const hashedPassword = "Grüße zuhause 7"

var madeHashes = []string{
	"{SHA512-CRYPT}$6$Zi0URkN7fyCLlzcf$QEJH7cOeBihk8y2l1kvU/Ns9zlpMjT7ldoU5NbNWYPUdiIYaHIeSCtyqCG7z0a0IgqoD/BaDE31tgvhmQaC490",
	"{SHA256-CRYPT}$5$AFTvvF0vNHbrSUze$J9KifDcOHLftNxcsrGOYwBsx/aNlrZPlI6.POe4a3K4",
	"{BLF-CRYPT}$2y$05$k4gT9kZzhM0MsTZgZ2kTn.YuKQ0qXA03FbX8wLTnYKtTQQ4LGmoOO",
	"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$fLO7mIdvn4oPR/BcpBC9WA$WAQk13Ca1d9Gxu7hMUJvXxXgmY6jc4orEO7UuYaMIOM",
	"{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$JA6cmMcmJ/o5RSfX3f8GLw$ko0OJCKFkpXI0y0A3PNFVpyA/ZBsJSJ0/VtHfBVTUIk",
	"{PBKDF2}$1$fVSAx8vKSPnxSWyl$5000$88e08190ea011db6ffe73b96af9f553bf7c76c70",
	"{SSHA}pMLKbbdlJQCpJjaHsNO2a00yhGPficSQ",
	"{SSHA256}wWuS91TP96Iknj+Laysu9PnGwaQKC0wfGGfbIrzAy5IlMYlQ",
	"{SSHA512}R19jDsKSPJAFgVvDp+quD1RCSte8Za1VVZ1Xze+GYMsVRMs7H9uiGfWOygNzPpNA2NxwZ6jocj1BxRUtDjXnra2ULis=",
	"{SSHA256.HEX}9c9f91e78f2382db68506ccc5c91c6fa5be4f4626bd5b54d9dbfa9d8bd33654fee1e0d03",
	"{sha512-crypt}$6$rounds=12345$9sY2/geA78YFLPbT$s0CTKVFEiZgr/lpHWra9QA2lTuF2DrJPtepGqDsKKvBx.5jeBUQlpKkKgxmOWltEu3m2oU.y0lS5a3epMVRkO.",
	"$6$saltstringsaltst$NTxqV9R2UVvWK2lg05U6SrgdqeX7ftuZEzt8ogT/xIpUkh2nxJRCUCeP54NSjao9.S.hk/1CQ1I8J1D.toeAb0",
}

func hashMatches(t *testing.T, text, password string) bool {
	t.Helper()
	h, err := parseHash(text)
	if err != nil {
		t.Fatalf("%.20s: %v", text, err)
	}
	ok, err := h.matches(password)
	if err != nil {
		t.Errorf("%.20s: %v", text, err)
	}
	return ok
}

func TestForeignHashes(t *testing.T) {
	t.Parallel()
	for _, text := range madeHashes {
		if !hashMatches(t, text, hashedPassword) || hashMatches(t, text, hashedPassword+"x") || hashMatches(t, text, "") {
			t.Errorf("%.20s: the wrong passwords are good", text)
		}
	}
	long := strings.Repeat("x", 200)
	for text, password := range map[string]string{
		"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5":                                               "Hello world!",
		"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1":    "Hello world!",
		"$6$rounds=1000$a$Apg42rHkNqagebsTyEz.KuLIS6Wg7D9Kh3BGpZ07vtM4GxdsMlM9D7ItfDbFBfCsXmIVaRd2K0wcYY7MIQfhv.": long,
		"{CRYPT}$5$rounds=1001$bbbbbbbbbbbbbbbb$THKjKHDhu4jrWZOg.5zOOTa72DDUjVhlGaSsPxsSGfC":                      long,
	} {
		if !hashMatches(t, text, password) || hashMatches(t, text, password[1:]) {
			t.Errorf("%.20s: the wrong passwords are good", text)
		}
	}
}

// TestDoveadmHashes: what the Dovecot of this machine makes.
func TestDoveadmHashes(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Skip("doveadm is not there (Debian: dovecot-core)")
	}
	for _, scheme := range []string{"SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "ARGON2ID", "PBKDF2", "SSHA", "SSHA256", "SSHA512", "SSHA512.HEX"} {
		out, err := exec.CommandContext(t.Context(), "doveadm", "pw", "-s", scheme, "-p", hashedPassword).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", scheme, err, out)
			continue
		}
		if text := strings.TrimSpace(string(out)); !hashMatches(t, text, hashedPassword) || hashMatches(t, text, "another") {
			t.Errorf("%s: the wrong passwords are good", scheme)
		}
	}
}

func TestBadHashes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "plain", "{PLAIN}secret", "{MD5-CRYPT}$1$x$y", "$1$saltsalt$abc", "{SSHA}", "{SSHA}!!", "{SSHA}pMLKbbdlJQCpJjaHsNO2a00yhGM=",
		"{SSHA256.HEX}zz", "{SSHA.XX}00", "$6$", "$6$salt$short", "$6$rounds=x$salt$" + strings.Repeat("a", 86),
		"$6$rounds=2000000$salt$" + strings.Repeat("a", 86), "$6$rounds=10$salt$" + strings.Repeat("a", 86),
		"$6$saltsaltsaltsaltsalt$" + strings.Repeat("a", 86), "$5$salt$" + strings.Repeat("!", 43),
		"$2y$20$k4gT9kZzhM0MsTZgZ2kTn.YuKQ0qXA03FbX8wLTnYKtTQQ4LGmoOO", "$2y$05$short",
		"$argon2id$v=16$m=65536,t=3,p=1$fLO7mIdvn4oPR/BcpBC9WA$WAQk13Ca1d9Gxu7hMUJvXxXgmY6jc4orEO7UuYaMIOM",
		"$argon2id$v=19$m=4194304000,t=3,p=1$fLO7mIdvn4oPR/BcpBC9WA$WAQk13Ca1d9Gxu7hMUJvXxXgmY6jc4orEO7UuYaMIOM",
		"$argon2id$v=19$m=65536,t=3000,p=1$fLO7mIdvn4oPR/BcpBC9WA$WAQk13Ca1d9Gxu7hMUJvXxXgmY6jc4orEO7UuYaMIOM",
		"$argon2id$v=19$m=65536,t=3,p=1x$fLO7mIdvn4oPR/BcpBC9WA$WAQk13Ca1d9Gxu7hMUJvXxXgmY6jc4orEO7UuYaMIOM",
		"{PBKDF2}$1$salt$5000$00", "{PBKDF2}$1$salt$5000000$88e08190ea011db6ffe73b96af9f553bf7c76c70", "{PBKDF2}$2$a$1$b",
		strings.Repeat("$6$", maxHash),
	} {
		h, err := parseHash(text)
		if err == nil || !errors.Is(err, ErrHash) || h != nil {
			t.Errorf("%.60q: %v, %v", text, h, err)
		}
	}
}

// FuzzHash: no text is too much for the parsers, nor what they take for a check.
func FuzzHash(f *testing.F) {
	for _, text := range madeHashes {
		f.Add(text, hashedPassword)
	}
	f.Fuzz(func(t *testing.T, text, password string) {
		h, err := parseHash(text)
		switch h := h.(type) {
		case nil:
			if !errors.Is(err, ErrHash) {
				t.Errorf("%q: %v", text, err)
			}
			return
		case shaCrypt:
			h.rounds = minCryptRounds // as many as it may be take a second
			_, err = h.matches(password)
		case saltedHash:
			_, err = h.matches(password)
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
