package tls

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

var errDNSAnswer = errors.New("the answer is not what DNS servers say")

// readAnswer is the code of an answer to what mac signed. One that says that
// all is well must be signed itself.
func (k *tsigKey) readAnswer(b []byte, id uint16, mac []byte, now time.Time) (uint16, error) {
	if len(b) < dnsHeader || binary.BigEndian.Uint16(b) != id || b[2]>>3 != 0x80>>3|opcodeUpdate {
		return 0, errDNSAnswer
	}
	code := uint16(b[3] & 0xF)
	at, err := lastRecord(b)
	if err != nil {
		return 0, err
	}
	if at == 0 {
		if code == codeNoError {
			return 0, errors.New("the answer is not signed")
		}
		return code, nil // a refusal by whom does no harm
	}
	t, err := readTSIG(b, at)
	switch {
	case err != nil:
		return 0, err
	case t.code != 0:
		return 0, fmt.Errorf("the key: %s", codeText(t.code))
	case t.name != k.name || t.algorithm != k.algorithm:
		return 0, errors.New("the answer is signed with another key")
	}
	plain := append([]byte{}, b[:at]...)
	binary.BigEndian.PutUint16(plain[10:], binary.BigEndian.Uint16(b[10:])-1)
	if !hmac.Equal(t.mac, k.mac(plain, mac, t.times, t.code, t.other)) {
		return 0, errors.New("the answer's signature is wrong")
	}
	if d := now.Sub(t.at).Abs(); d > tsigFudge*time.Second {
		return 0, fmt.Errorf("the server's clock is %v off", d.Round(time.Second))
	}
	return code, nil
}

// lastRecord is where the last additional record begins, if that is a TSIG; 0: it isn't.
func lastRecord(b []byte) (at int, err error) {
	counts := [4]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(b[4+2*i:]))
	}
	i := dnsHeader
	for range counts[0] {
		if _, i, err = readName(b, i); err != nil || i+4 > len(b) {
			return 0, errDNSAnswer
		}
		i += 4
	}
	kind := uint16(0)
	for range counts[1] + counts[2] + counts[3] {
		at = i
		if _, i, err = readName(b, i); err != nil || i+10 > len(b) {
			return 0, errDNSAnswer
		}
		kind = binary.BigEndian.Uint16(b[i:])
		i += 10 + int(binary.BigEndian.Uint16(b[i+8:]))
		if i > len(b) {
			return 0, errDNSAnswer
		}
	}
	if counts[3] == 0 || kind != typeTSIG {
		return 0, nil
	}
	return at, nil
}

// readName reads a name, which may go on elsewhere (RFC 1035 §4.1.4).
func readName(b []byte, i int) (name string, end int, err error) {
	var labels []string
	for jumps, size := 0, 0; ; {
		if i >= len(b) {
			return "", 0, errDNSAnswer
		}
		n := int(b[i])
		switch {
		case n == 0:
			if end == 0 {
				end = i + 1
			}
			return strings.ToLower(strings.Join(labels, ".")), end, nil
		case n >= 0xC0:
			if jumps++; i+1 >= len(b) || jumps > 10 {
				return "", 0, errDNSAnswer
			}
			if end == 0 {
				end = i + 2
			}
			i = n&0x3F<<8 | int(b[i+1])
		default:
			if size += n + 1; n > 63 || size > 255 || i+1+n > len(b) {
				return "", 0, errDNSAnswer
			}
			labels = append(labels, string(b[i+1:i+1+n]))
			i += 1 + n
		}
	}
}

// A tsig is a signature as it came.
type tsig struct {
	name, algorithm   string
	times, mac, other []byte
	at                time.Time
	code              uint16
}

// readTSIG reads the record at a place where lastRecord found one.
func readTSIG(b []byte, at int) (t tsig, err error) {
	var i int
	if t.name, i, err = readName(b, at); err != nil {
		return t, err
	}
	end := i + 10 + int(binary.BigEndian.Uint16(b[i+8:]))
	if t.algorithm, i, err = readName(b, i+10); err != nil || i+10 > end {
		return t, errDNSAnswer
	}
	t.times = b[i : i+8]
	t.at = time.Unix(int64(binary.BigEndian.Uint16(t.times))<<32|int64(binary.BigEndian.Uint32(t.times[2:])), 0)
	n := int(binary.BigEndian.Uint16(b[i+8:]))
	if i += 10; i+n+6 > end {
		return t, errDNSAnswer
	}
	t.mac = b[i : i+n]
	i += n + 2 // and the id
	t.code = binary.BigEndian.Uint16(b[i:])
	n = int(binary.BigEndian.Uint16(b[i+2:]))
	if i += 4; i+n != end {
		return t, errDNSAnswer
	}
	t.other = b[i:end]
	return t, nil
}
