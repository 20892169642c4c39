package storage

import (
	"bytes"
	"encoding/binary"
)

// The last record of the journal may be half written: a power cut did it, and
// nobody was told that it is there. One that is whole but for a byte was
// acknowledged, and the disk changed it since.

// mendRecordMax is the longest record of which a byte is tried: 20 entries.
const mendRecordMax = journalHeader + 20*journalEntry

// mendRecord makes the record with which b should begin sound, in place. damaged
// says that there is one and that it is not what was written.
func mendRecord(b []byte, epoch uint64, before uint32) (damaged, mended bool) {
	if len(b) < journalHeader || !beginsRecord(b, epoch) {
		return false, false
	}
	for _, n := range recordLengths(b) {
		sound := func(v []byte) bool {
			_, size, _, ok := parseRecord(v, epoch, before)
			return ok && size == n
		}
		if v, ok := mendByte(b[:n], sound); ok {
			copy(b, v)
			return true, true
		}
	}
	return true, false
}

// beginsRecord reports whether b begins with what all records of an epoch
// begin with, but for a byte.
func beginsRecord(b []byte, epoch uint64) bool {
	want := binary.LittleEndian.AppendUint64(bytes.Clone(journalMagic[:]), epoch)
	have := append(bytes.Clone(b[:4]), b[8:16]...)
	differ := 0
	for i := range want {
		if want[i] != have[i] {
			differ++
		}
	}
	return differ <= 1
}

// recordLengths are how long the record at the beginning of b may be: what it
// says, if that can be, or anything.
func recordLengths(b []byte) (all []int) {
	longest := min(len(b), mendRecordMax)
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if n%journalEntry == 0 && n > 0 {
		if journalHeader+n > int64(longest) {
			return nil // too long to try
		}
		return []int{journalHeader + int(n)}
	}
	for n := journalHeader + journalEntry; n <= longest; n += journalEntry {
		all = append(all, n)
	}
	return all
}

// putBack writes records that were mended in memory where they came from. If
// the disk takes nothing, they are mended again by the next load.
func (j *journal) putBack(all []byte) {
	if !j.mended {
		return
	}
	_, err := j.file.WriteAt(all[j.start:j.end], j.start)
	if err == nil {
		err = syncData(j.file)
	}
	j.back = err == nil
}

// tell tells the log what the records that were loaded were like.
func (j *journal) tell(a *Account) {
	if j.mended {
		a.st.log.Warn("journal_mended", "account", string(a.id), "file", j.path, "written_back", j.back)
	}
	if j.torn {
		a.st.log.Warn("journal_torn", "account", string(a.id), "file", j.path)
	}
}
