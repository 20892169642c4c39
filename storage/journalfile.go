package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

// The journal's file begins with
//
//	"NBFH", format u16, min_reader u16, AccountID in 32 octets (NUL behind it),
//	zeros, CRC-32C u32 of all before it: journalStart octets
//
// and has journalSize octets from the start, so that the sync of a record has
// no metadata of the file system to write. Files that were made before there
// was a header begin with the first record; they are made anew when they are
// empty.
const (
	journalFormat = 1
	journalStart  = 64
)

var (
	journalMagic     = [4]byte{'N', 'B', 'F', 'J'}
	journalFileMagic = [4]byte{'N', 'B', 'F', 'H'}
)

func journalHead(account AccountID) []byte {
	b := append(make([]byte, 0, journalStart), journalFileMagic[:]...)
	b = binary.LittleEndian.AppendUint16(b, journalFormat)
	b = binary.LittleEndian.AppendUint16(b, journalFormat)
	b = append(b, account...)[:journalStart-4]
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openJournal opens the journal, if there is one. One that isn't this
// account's is put aside.
func openJournal(f *files) (*journal, error) {
	j := &journal{path: filepath.Join(f.dir, "flags.journal"), account: f.a.id, opts: &f.a.st.opts, next: newEpoch()}
	file, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	refused, err := j.readHead(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if refused == nil {
		j.file = j.opts.journalFile(j.path, file)
		return j, nil
	}
	aside := fmt.Sprintf("%s.refused-%d", j.path, time.Now().Unix())
	if err := errors.Join(file.Close(), os.Rename(j.path, aside), syncDir(f.dir)); err != nil {
		return nil, err
	}
	f.a.st.log.Error("journal_refused", "account", string(f.a.id), "file", j.path, "aside", aside, "error", refused)
	return j, nil
}

// readHead finds where the records begin. refused says why the file can't be
// this account's.
func (j *journal) readHead(file io.ReaderAt) (refused, err error) {
	b := make([]byte, journalStart)
	n, err := file.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	le := binary.LittleEndian
	switch b = b[:n]; {
	case len(bytes.Trim(b, "\x00")) == 0: // a crash came before the first record
		j.renew = true
		return nil, nil
	case bytes.HasPrefix(b, journalMagic[:]):
		j.renew = true
		return nil, nil
	case n < journalStart, !bytes.HasPrefix(b, journalFileMagic[:]), le.Uint32(b[journalStart-4:]) != crc32.Checksum(b[:journalStart-4], castagnoli):
		return errors.New("not a journal of nestbox, or damaged"), nil
	case le.Uint16(b[6:]) > journalFormat:
		return nil, &FormatError{File: j.path, MinReader: int(le.Uint16(b[6:])), Known: journalFormat}
	}
	if id := string(bytes.TrimRight(b[8:40], "\x00")); id != string(j.account) {
		return fmt.Errorf("it is the journal of account %s and was put here by hand", id), nil
	}
	j.start = journalStart
	return nil, nil
}

// make creates the file with all its blocks.
func (j *journal) make() error {
	tmp := j.path + ".new"
	file, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(journalHead(j.account), make([]byte, journalSize-journalStart)...))
	if err = errors.Join(err, file.Sync()); err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(tmp))
	}
	err = j.close()
	j.file = j.opts.journalFile(j.path, file)
	j.start, j.end, j.crc, j.renew = journalStart, journalStart, 0, false
	return err
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
