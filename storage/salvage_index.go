package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// A salvageIndex is what was found in the files of an account, before it is
// put together. What there is little of is in memory, the rest in tables:
//
//	rows    space u32, UID u32, MODSEQ u64, rank u8, kept u8, length u8, row (78)
//	blobs   BlobID u64, rank u8, length u8, blob row (39)
//	chunks  kind u8, id u64, n u32 (place, chunk.go), rank u8, file u16, offset u64, length u32
//
// all numbers big-endian.
type salvageIndex struct {
	ctx   context.Context
	files []*salvageFile
	state *rawState // of mail.db; nil if there is none

	rows, blobs, chunks *sortTable

	meta    map[string][]byte // of mail.db
	boxes   map[MailboxID]Mailbox
	ranks   map[MailboxID]byte // of boxes
	names   map[string]MailboxID
	deleted map[Space]*keptOwner
	copies  map[Space]imap.UID
	blocks  map[blockKey]Block
	open    map[BlobID]bool
	gone    []goneRange // UIDs that were expunged
	added   []goneRange // UIDs that came
	mended  int
	spoilt  map[string]int // elements that fail their checksum, by bucket
	top     BlobID         // highest id that was seen
	rec     []byte
}

// A salvageFile is mail.db (volume 0) or a body volume.
type salvageFile struct {
	raw    *rawFile
	volume uint16
	alien  bool // another account's
	state  *rawState
	unread map[uint64]error // pages
}

const (
	rowRecord   = 8 + 8 + 3 + keptBytes + 1 + sumBytes
	blobRecord  = 8 + 2 + blobRowBytes + 4 + sumBytes
	chunkRecord = 13 + 1 + 2 + 8 + 4
)

func newSalvageIndex(ctx context.Context, temp string) *salvageIndex {
	return &salvageIndex{
		ctx: ctx, rows: newSortTable(temp, rowRecord), blobs: newSortTable(temp, blobRecord), chunks: newSortTable(temp, chunkRecord),
		meta: map[string][]byte{}, boxes: map[MailboxID]Mailbox{}, ranks: map[MailboxID]byte{}, names: map[string]MailboxID{},
		deleted: map[Space]*keptOwner{}, copies: map[Space]imap.UID{}, blocks: map[blockKey]Block{}, open: map[BlobID]bool{}, spoilt: map[string]int{},
	}
}

// bucketNamesOf are the buckets of mail.db or of a body volume.
func bucketNamesOf(volume uint16) (names []string) {
	all := [][]byte{bucketMeta, bucketHeads, bucketChunks, bucketRuns, bucketOpen}
	if volume == 0 {
		all = append(all, bucketNames, bucketSubs, bucketKept, bucketBlocks, bucketLog, bucketIntents, bucketBlobs, bucketEmails, bucketRecords, bucketThreads)
		names = append(names, kindRows, kindMailboxes)
	}
	for _, b := range all {
		names = append(names, string(b))
	}
	return names
}

// read takes in what is in a file.
func (x *salvageIndex) read(f *salvageFile) (err error) {
	w := &rawWalk{ctx: x.ctx, f: f.raw, names: bucketNamesOf(f.volume)}
	w.sink = func(kind string, parent uint64, e *rawItem, rank byte) error {
		if kind == "" {
			kind, parent = guessKind(e)
		}
		if f.volume != 0 {
			return x.body(f, kind, parent, e, rank)
		}
		return x.item(f, kind, parent, e, rank)
	}
	x.files = append(x.files, f)
	f.state, err = w.run()
	if f.volume == 0 {
		x.state = f.state
	}
	return err
}

// body takes in an element that any of the files can have.
func (x *salvageIndex) body(f *salvageFile, kind string, parent uint64, e *rawItem, rank byte) error {
	switch kind {
	case string(bucketHeads):
		if len(e.key) == 8 {
			return x.chunk(f, place{placeBlob, binary.BigEndian.Uint64(e.key), 0}, e, rank)
		}
	case kindChunk:
		if len(e.key) == 4 && parent != 0 {
			return x.chunk(f, place{placeBlob, parent, binary.BigEndian.Uint32(e.key)}, e, rank)
		}
	case string(bucketRecords):
		switch len(e.key) {
		case 8:
			return x.chunk(f, place{kind: placeRecords, id: binary.BigEndian.Uint64(e.key)}, e, rank)
		case 9:
			return x.chunk(f, place{placeRecords, binary.BigEndian.Uint64(e.key), 1 + uint32(e.key[8])}, e, rank)
		}
	case string(bucketOpen):
		if len(e.key) == 8 && rank == 0 && len(x.open) < goneMax {
			x.open[BlobID(binary.BigEndian.Uint64(e.key))] = true
		}
	case string(bucketMeta):
		if f.volume != 0 {
			return x.volumeMeta(f, e)
		}
	}
	return nil
}

// volumeMeta sees that a volume can be read, and is this account's.
func (x *salvageIndex) volumeMeta(f *salvageFile, e *rawItem) error {
	switch string(e.key) {
	case "min_reader":
		return readable(f.raw.name, e.value)
	case "account":
		if has := x.meta["account"]; has != nil && string(has) != string(e.value) {
			f.alien = true
			return fmt.Errorf("%w: it belongs to account %s, not %s, and was put here by hand", errForeignVolume, e.value, has)
		}
	}
	return nil
}

// errForeignVolume: a body volume of another account.
var errForeignVolume = errors.New("not this account's")

func readable(name string, v []byte) error {
	if len(v) == 2 && binary.LittleEndian.Uint16(v) > formatVersion {
		return &FormatError{File: name, MinReader: int(binary.LittleEndian.Uint16(v)), Known: formatVersion}
	}
	return nil
}

func (x *salvageIndex) chunk(f *salvageFile, at place, e *rawItem, rank byte) error {
	if at.kind == placeBlob {
		x.top = max(x.top, BlobID(at.id))
	}
	be := binary.BigEndian
	b := append(x.rec[:0], at.kind)
	b = be.AppendUint32(be.AppendUint64(b, at.id), at.n)
	b = be.AppendUint16(append(b, rank), f.volume)
	b = be.AppendUint64(b, uint64(e.off))
	x.rec = be.AppendUint32(b, uint32(len(e.value)))
	return x.chunks.add(x.rec)
}

// item takes in an element of mail.db.
func (x *salvageIndex) item(f *salvageFile, kind string, parent uint64, e *rawItem, rank byte) error {
	k, v := e.key, e.value
	switch kind {
	case string(bucketMeta):
		if _, have := x.meta[string(k)]; !have || rank == 0 {
			x.meta[string(k)] = slices.Clone(v)
		}
		if string(k) == "min_reader" && rank == 0 {
			return readable(f.raw.name, v)
		}
	case kindRows, string(bucketKept):
		return x.row(kind, k, v, rank)
	case string(bucketBlobs):
		return x.blob(k, v, rank)
	case kindMailboxes:
		x.mailbox(k, v, rank)
	case string(bucketNames):
		if _, have := x.names[string(k)]; len(v) == 16 && (!have || rank == 0) {
			x.names[string(k)] = MailboxID(v)
		}
	case string(bucketIntents):
		if o, ok := decodeDeleted(k, v); ok {
			x.deleted[o.Space] = o
		} else if len(k) == 4 && len(v) == 5 && v[0] == intentCopy && rank == 0 {
			x.copies[Space(binary.BigEndian.Uint32(k))] = imap.UID(binary.LittleEndian.Uint32(v[1:]))
		}
	case string(bucketBlocks):
		if len(k) == 8 && rank == 0 {
			space, index := Space(binary.BigEndian.Uint32(k)), binary.BigEndian.Uint32(k[4:])
			if b, ok := decodeBlock(index, v); ok {
				x.blocks[blockKey{space, index}] = b
			} else {
				x.spoilt[kind]++
			}
		}
	case string(bucketLog):
		if l, ok := decodeLog(k, v); ok && (l.kind == logExpunge || l.kind == logGone) && len(x.gone) < goneMax {
			x.gone = append(x.gone, goneRange{l.space, l.uid, l.last, l.at})
		} else if ok && l.kind == logAdd && len(x.added) < goneMax {
			x.added = append(x.added, goneRange{l.space, l.uid, l.last, l.at})
		}
	default:
		return x.body(f, kind, parent, e, rank)
	}
	return nil
}

// row takes in a message row, and mends it if one byte changed.
func (x *salvageIndex) row(kind string, k, v []byte, rank byte) error {
	if len(k) != 8 {
		x.spoilt[kind]++
		return nil
	}
	uid := imap.UID(binary.BigEndian.Uint32(k[4:]))
	if !rowSound(uid, v) {
		mended, ok := mendByte(v, func(v []byte) bool { return len(v) >= rowBytes+sumBytes && rowSound(uid, v) })
		if !ok || x.mended > 10_000 { // which takes a minute
			x.spoilt[kind]++
			return nil
		}
		v = mended
		x.mended++
	}
	r, err := decodeRow(uid, v)
	if err != nil || uid == 0 {
		x.spoilt[kind]++
		return nil
	}
	x.top = max(x.top, r.Blob)
	v = v[:min(len(v), keptBytes+1+sumBytes)]
	b := append(x.rec[:0], k...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.ModSeq))
	b = append(b, rank, byte(bit(kind != kindRows)), byte(len(v)))
	b = append(b, v...)
	x.rec = append(b, make([]byte, rowRecord-len(b))...)
	return x.rows.add(x.rec)
}

func (x *salvageIndex) blob(k, v []byte, rank byte) error {
	if len(k) != 8 || !blobRowSound(v) {
		x.spoilt[string(bucketBlobs)]++
		return nil
	}
	x.top = max(x.top, BlobID(binary.BigEndian.Uint64(k)))
	b := append(x.rec[:0], k...)
	b = append(b, rank, byte(len(v)))
	b = append(b, v...)
	x.rec = append(b, make([]byte, blobRecord-len(b))...)
	return x.blobs.add(x.rec)
}

// mailbox takes in a mailbox row; the newest of a mailbox counts.
func (x *salvageIndex) mailbox(k, v []byte, rank byte) {
	if len(k) != 16 {
		x.spoilt[kindMailboxes]++
		return
	}
	m, err := decodeMailbox(k, v)
	if err != nil && rank == 0 {
		if mended, ok := mendByte(v, func(v []byte) bool { return hasMailboxSum(v) && mailboxSound(k, v) }); ok {
			m, err = decodeMailbox(k, mended)
			x.mended++
		}
	}
	if err != nil {
		x.spoilt[kindMailboxes]++ // its name may still be among the names
		if m.Space == 0 || m.Name == "" {
			return
		}
	}
	if have, ok := x.boxes[m.ID]; ok && have.HighestModSeq >= m.HighestModSeq {
		return
	}
	x.ranks[m.ID] = rank
	x.boxes[m.ID] = m
}

// sort ends the reading.
func (x *salvageIndex) sort() error {
	return errors.Join(x.rows.sort(), x.blobs.sort(), x.chunks.sort())
}

func (x *salvageIndex) close() error {
	return errors.Join(x.rows.close(), x.blobs.close(), x.chunks.close())
}
