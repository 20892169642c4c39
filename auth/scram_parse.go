package auth

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxScram bounds a message of SCRAM: two names, two nonces and little else.
const maxScram = 8 << 10

// A scramFirst is the client's first message, RFC 5802 §7.
type scramFirst struct {
	header  string // gs2-header, as it came
	bare    string // what follows it
	authzid string
	login   string
	nonce   string
	binding string // name of the channel binding, or ""
	strip   bool   // the client could bind channels, and thinks that we can't
}

type scramFinal struct {
	binding      []byte
	nonce        string
	withoutProof string
	proof        []byte
}

func scramError(why string) error { return fmt.Errorf("%w: SCRAM: %s", ErrMalformed, why) }

func parseScramFirst(b []byte) (f scramFirst, err error) {
	if len(b) > maxScram || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return f, scramError("a message is UTF-8 without NUL, and short")
	}
	flag, rest, ok := strings.Cut(string(b), ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	switch {
	case !ok || !ok2:
		return f, scramError("a first message begins with a binding flag and a name")
	case strings.HasPrefix(flag, "p="):
		f.binding = flag[2:]
	case flag == "y":
		f.strip = true
	case flag != "n":
		return f, scramError("the binding flag is n, y or p=")
	}
	f.header, f.bare = flag+","+authzid+",", bare
	if authzid != "" {
		name, ok := strings.CutPrefix(authzid, "a=")
		if !ok {
			return f, scramError("the name to act as begins with a=")
		}
		if f.authzid, err = scramName(name); err != nil {
			return f, err
		}
	}
	fields := strings.Split(bare, ",")
	if strings.HasPrefix(fields[0], "m=") {
		return f, scramError("the client insists on an extension that is not known")
	}
	name, ok := strings.CutPrefix(fields[0], "n=")
	if !ok || len(fields) < 2 {
		return f, scramError("a first message has n= and r=")
	}
	if f.login, err = scramName(name); err != nil {
		return f, err
	}
	if f.nonce, ok = strings.CutPrefix(fields[1], "r="); !ok || !printable(f.nonce) {
		return f, scramError("a nonce is printable and not empty")
	}
	return f, nil
}

// scramName undoes the escapes of a name: "=2C" a comma, "=3D" an equals sign.
func scramName(s string) (string, error) {
	if s == "" || len(s) > maxLogin {
		return "", scramError("a name is empty or too long")
	}
	var name strings.Builder
	for {
		before, after, found := strings.Cut(s, "=")
		name.WriteString(before)
		switch {
		case !found:
			return name.String(), nil
		case strings.HasPrefix(after, "2C"):
			name.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			name.WriteByte('=')
		default:
			return "", scramError("an equals sign in a name is written =3D")
		}
		s = after[2:]
	}
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

func parseScramFinal(b []byte, proof int) (f scramFinal, err error) {
	if len(b) > maxScram || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return f, scramError("a message is UTF-8 without NUL, and short")
	}
	text := string(b)
	at := strings.LastIndex(text, ",p=")
	if at < 0 {
		return f, scramError("a last message ends with p=")
	}
	f.withoutProof = text[:at]
	fields := strings.Split(f.withoutProof, ",")
	binding, ok := strings.CutPrefix(fields[0], "c=")
	if !ok || len(fields) < 2 {
		return f, scramError("a last message has c=, r= and p=")
	}
	if f.nonce, ok = strings.CutPrefix(fields[1], "r="); !ok {
		return f, scramError("a last message has c=, r= and p=")
	}
	if f.binding, err = base64.StdEncoding.DecodeString(binding); err != nil {
		return f, scramError("c= is base64")
	}
	f.proof, err = base64.StdEncoding.DecodeString(text[at+len(",p="):])
	if err != nil || len(f.proof) != proof {
		return f, scramError("p= is a proof in base64")
	}
	return f, nil
}
