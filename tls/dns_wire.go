package tls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"
)

// The little of DNS that an update wants (RFC 1035 §4, RFC 2136 §2, RFC 8945 §4).
const (
	opcodeUpdate = 5
	typeSOA      = 6
	typeTXT      = 16
	typeTSIG     = 250
	classIN      = 1
	classNone    = 254
	classAny     = 255

	codeNoError = 0
	codeRefused = 5
	codeNotAuth = 9
	codeNotZone = 10

	dnsHeader = 12
	tsigFudge = 300 // seconds that the clocks may differ (RFC 8945 §10)
)

var dnsCodes = map[uint16]string{
	1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", codeRefused: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET",
	codeNotAuth: "NOTAUTH", codeNotZone: "NOTZONE", 16: "BADSIG", 17: "BADKEY", 18: "BADTIME",
}

func codeText(code uint16) string {
	if text := dnsCodes[code]; text != "" {
		return text
	}
	return fmt.Sprintf("code %d", code)
}

func newDNSID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.BigEndian.Uint16(b[:])
}

// appendName is a name as on the wire; "" is the root.
func appendName(b []byte, name string) ([]byte, error) {
	if len(name) > maxServerName {
		return nil, fmt.Errorf("%.40q is too long for a name", name)
	}
	for label := range strings.SplitSeq(name, ".") {
		if name == "" {
			break
		}
		if label == "" || len(label) > 63 {
			return nil, fmt.Errorf("%.40q is no name of the DNS", name)
		}
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0), nil
}

// updateMessage is an update of one TXT record (RFC 2136 §2.3, §2.5).
func updateMessage(id uint16, zone string, r dnsRecord, class uint16, ttl uint32) ([]byte, error) {
	if len(r.value) > 255 {
		return nil, errors.New("the value is too long for a record")
	}
	b := binary.BigEndian.AppendUint16(nil, id)
	b = binary.BigEndian.AppendUint16(b, opcodeUpdate<<11)
	b = append(b, 0, 1, 0, 0, 0, 1, 0, 0) // one zone, no conditions, one record, nothing else
	b, err := appendName(b, zone)
	if err != nil {
		return nil, err
	}
	b = append(b, 0, typeSOA, 0, classIN)
	if b, err = appendName(b, r.name); err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint16(b, typeTXT)
	b = binary.BigEndian.AppendUint16(b, class)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.value)+1))
	return append(append(b, byte(len(r.value))), r.value...), nil
}

// A tsigKey signs messages (RFC 8945). Its name was checked by appendName.
type tsigKey struct {
	name, algorithm string
	secret          []byte
}

var tsigHashes = map[string]func() hash.Hash{
	"hmac-sha224": sha256.New224, "hmac-sha256": sha256.New, "hmac-sha384": sha512.New384, "hmac-sha512": sha512.New,
}

// seconds48 are a signature's time and fudge.
func seconds48(t time.Time, fudge uint16) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(t.Unix()))
	return binary.BigEndian.AppendUint16(b[2:], fudge)
}

// mac is the signature of a message (RFC 8945 §4.3). An answer's has that of
// the question in it, with its length.
func (k *tsigKey) mac(message, question, times []byte, errCode uint16, other []byte) []byte {
	h := hmac.New(tsigHashes[k.algorithm], k.secret)
	if question != nil {
		_, _ = h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(question))))
		_, _ = h.Write(question)
	}
	_, _ = h.Write(message)
	b, _ := appendName(nil, k.name)
	b = append(b, 0, classAny, 0, 0, 0, 0)
	b, _ = appendName(b, k.algorithm)
	b = append(b, times...)
	b = binary.BigEndian.AppendUint16(b, errCode)
	b = binary.BigEndian.AppendUint16(b, uint16(len(other)))
	_, _ = h.Write(append(b, other...))
	return h.Sum(nil)
}

// sign appends the signature to a message that has no additional records.
func (k *tsigKey) sign(message, question []byte, now time.Time) (signed, mac []byte) {
	times := seconds48(now, tsigFudge)
	mac = k.mac(message, question, times, 0, nil)
	data, _ := appendName(nil, k.algorithm)
	data = append(data, times...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(mac)))
	data = append(data, mac...)
	data = append(append(data, message[:2]...), 0, 0, 0, 0) // the id; no error, nothing else
	signed = append([]byte{}, message...)
	signed[11]++ // of the additional records
	signed, _ = appendName(signed, k.name)
	signed = append(signed, 0, typeTSIG, 0, classAny, 0, 0, 0, 0)
	signed = binary.BigEndian.AppendUint16(signed, uint16(len(data)))
	return append(signed, data...), mac
}
