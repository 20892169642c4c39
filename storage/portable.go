package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// A portable stream holds the mail of a data folder in a form that is the same
// on every machine, and that every later nestbox reads. docs/portable.md has
// every byte. It is a sequence of records after eight octets that say what it
// is; all integers are little-endian:
//
//	record  type u8, length of the payload u32, payload, CRC-32C u32
//
// The checksum covers the record's number (u64, 0 for the first), type, length
// and payload, so that a record that is lost or out of place is noticed.
const (
	portableMagic = "NBXPORT\n"
	// portableFormat is what a writer writes; a reader refuses a stream whose
	// min_reader is above its own.
	portableFormat = 1

	portableMax   = 1 << 20 // octets in a payload
	portablePiece = 64 << 10
)

// Types of records. A reader passes over those from 128 on that it doesn't
// know; another unknown one is an error.
const (
	recordStream    byte = 1 // format u16, min_reader u16, time u64, then the writer's version
	recordHousehold byte = 2 // length of the bucket's name u8, name, length of the key u16, key, value: a row of system.db
	recordAccount   byte = 3 // fields: 1 AccountID, 2 key of EMAILID (32 octets), 3 subscription (repeated), 4 MODSEQ u64, 5 UIDVALIDITY u64
	recordMailbox   byte = 4 // MAILBOXID (16 octets), fields of mailbox_row.go
	recordBody      byte = 5 // size u64: recordData with so many octets follow
	recordData      byte = 6 // octets of a message
	recordMessage   byte = 7 // portableMessage, of the mailbox of the last recordMailbox
	recordAccountOK byte = 8 // messages u64, bodies u64 of the account
	recordEnd       byte = 9 // accounts u64

	recordNote       byte = 128 // text: what could not be written
	recordAnnotation byte = 129 // fields: 1 login, 2 entry, 3 value; of the last recordMailbox, or before the first one of the account
	// Expunged messages that are kept (portable_kept.go).
	recordKeptMailbox byte = 130 // time of its deletion u64 (0: it is there), then as recordMailbox
	recordKeptBody    byte = 131 // as recordBody, of an expunged message: recordKeptData follow
	recordKeptData    byte = 132 // octets of it
	recordKeptMessage byte = 133 // time of the expunge u64, reason u8 (0 expunged, 1 moved), then as recordMessage

	// recordDeleted and recordDeletedMore are added to the types of a deleted
	// account's records: those below 32, and those from 128 to 159.
	recordDeleted     byte = 192
	recordDeletedMore byte = 224 - 128
)

// portableMessageBytes: UID u32, MODSEQ u64, flags u64, date i64, zone i16,
// save date i64, size u64, EMAILID 16 octets.
const portableMessageBytes = 4 + 8 + 8 + 8 + 2 + 8 + 8 + 16

var (
	// ErrNotPortable says that a stream is something else.
	ErrNotPortable = errors.New("is no portable stream of nestbox")
	errPortable    = fmt.Errorf("%w: the portable stream", ErrCorrupt)
)

// deletedKind is the type of a record of a deleted account.
func deletedKind(kind byte) byte {
	if kind >= recordNote {
		return kind + recordDeletedMore
	}
	return kind + recordDeleted
}

func liveKind(kind byte) (live byte, deleted bool) {
	switch {
	case kind >= recordNote+recordDeletedMore:
		return kind - recordDeletedMore, true
	case kind >= recordDeleted:
		return kind - recordDeleted, true
	}
	return kind, false
}

func portableSum(n uint64, head, payload []byte) uint32 {
	sum := crc32.Checksum(binary.LittleEndian.AppendUint64(nil, n), castagnoli)
	return crc32.Update(crc32.Update(sum, castagnoli, head), castagnoli, payload)
}

type portableWriter struct {
	w *bufio.Writer
	n uint64
	// deleted: what is written now is of a deleted account.
	deleted bool
}

func newPortableWriter(w io.Writer) (*portableWriter, error) {
	p := &portableWriter{w: bufio.NewWriterSize(w, portablePiece)}
	_, err := p.w.WriteString(portableMagic)
	return p, err
}

func (p *portableWriter) write(kind byte, payload []byte) error {
	if len(payload) > portableMax {
		return fmt.Errorf("a record of %d octets is too long for a portable stream", len(payload))
	}
	if p.deleted {
		kind = deletedKind(kind)
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	sum := binary.LittleEndian.AppendUint32(nil, portableSum(p.n, head, payload))
	p.n++
	for _, b := range [][]byte{head, payload, sum} {
		if _, err := p.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

type portableReader struct {
	r   *bufio.Reader
	n   uint64
	buf []byte
	// deleted: the last record is of a deleted account.
	deleted bool

	taken time.Time
}

func newPortableReader(r io.Reader) (*portableReader, error) {
	p := &portableReader{r: bufio.NewReaderSize(r, portablePiece)}
	magic := make([]byte, len(portableMagic))
	if _, err := io.ReadFull(p.r, magic); err != nil || string(magic) != portableMagic {
		return nil, errors.Join(ErrNotPortable, portableEOF(err))
	}
	kind, b, err := p.next()
	switch {
	case err != nil:
		return nil, err
	case kind != recordStream || len(b) < 12:
		return nil, fmt.Errorf("%w has no head", errPortable)
	}
	if reader := int(binary.LittleEndian.Uint16(b[2:])); reader > portableFormat {
		return nil, &FormatError{File: "the portable stream", MinReader: reader, Known: portableFormat}
	}
	p.taken = time.Unix(int64(binary.LittleEndian.Uint64(b[4:])), 0).UTC()
	return p, nil
}

func portableEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// next reads a record; its payload is good until the next call. The end of the
// stream is an error: recordEnd comes before it.
func (p *portableReader) next() (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, p.cut(err)
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > portableMax {
		return 0, nil, fmt.Errorf("%w: record %d is damaged", errPortable, p.n)
	}
	if cap(p.buf) < int(n)+4 {
		p.buf = make([]byte, n+4)
	}
	b := p.buf[:n+4]
	if _, err := io.ReadFull(p.r, b); err != nil {
		return 0, nil, p.cut(err)
	}
	payload = b[:n]
	if portableSum(p.n, head[:], payload) != binary.LittleEndian.Uint32(b[n:]) {
		return 0, nil, fmt.Errorf("%w: record %d fails its checksum", errPortable, p.n)
	}
	p.n++
	kind, p.deleted = liveKind(head[0])
	return kind, payload, nil
}

func (p *portableReader) cut(err error) error {
	if portableEOF(err) == nil {
		return fmt.Errorf("%w was cut off: it ends in record %d", errPortable, p.n)
	}
	return err
}

// CheckPortable reads a stream to its end and says what could not be written
// to it.
func CheckPortable(r io.Reader) (notes []string, err error) {
	p, err := newPortableReader(r)
	if err != nil {
		return nil, err
	}
	for {
		kind, b, err := p.next()
		switch {
		case err != nil:
			return notes, err
		case kind == recordNote:
			notes = append(notes, string(b))
		case kind == recordEnd && !p.deleted:
			return notes, p.end()
		}
	}
}

// end makes sure that nothing follows.
func (p *portableReader) end() error {
	if _, err := p.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(err, fmt.Errorf("%w: something follows its end", errPortable))
	}
	return nil
}

// IsPortable reports whether a file begins as a portable stream.
func IsPortable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, len(portableMagic))
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == portableMagic
}
