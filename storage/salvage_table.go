package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// A sortTable sorts more records than memory has room for. Records have one
// length, and come out in the order of their bytes. Beyond tableMemory they
// are in a temporary file, which has no name, so that nothing is left of it.
type sortTable struct {
	dir   string
	width int
	buf   []byte
	runs  []int64 // where each sorted run in file ends
	file  *os.File
	end   int64
	index []byte // each indexEvery'th record of the sorted file
	max   int
}

const (
	tableMemory = 4 << 20
	indexEvery  = 256
	mergeRead   = 64 << 10
)

func newSortTable(dir string, width int) *sortTable {
	return &sortTable{dir: dir, width: width, max: tableMemory / width * width}
}

func (t *sortTable) Len() int { return len(t.buf) / t.width }

func (t *sortTable) Less(i, j int) bool {
	w := t.width
	return bytes.Compare(t.buf[i*w:i*w+w], t.buf[j*w:j*w+w]) < 0
}

func (t *sortTable) Swap(i, j int) {
	var tmp [128]byte
	w := t.width
	a, b := t.buf[i*w:i*w+w], t.buf[j*w:j*w+w]
	copy(tmp[:w], a)
	copy(a, b)
	copy(b, tmp[:w])
}

// add takes in a record.
func (t *sortTable) add(rec []byte) error {
	if len(rec) != t.width {
		return fmt.Errorf("a record of %d octets in a table of %d", len(rec), t.width)
	}
	if len(t.buf) >= t.max {
		if err := t.spill(); err != nil {
			return err
		}
	}
	t.buf = append(t.buf, rec...)
	return nil
}

// spill writes what is in memory as a sorted run.
func (t *sortTable) spill() (err error) {
	if t.file == nil {
		if t.file, err = unnamedFile(t.dir); err != nil {
			return err
		}
	}
	sort.Sort(t)
	if _, err := t.file.WriteAt(t.buf, t.end); err != nil {
		return err
	}
	t.end += int64(len(t.buf))
	t.runs = append(t.runs, t.end)
	t.buf = t.buf[:0]
	return nil
}

func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".salvage-*.tmp")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// sort ends the adding.
func (t *sortTable) sort() error {
	if t.file == nil {
		sort.Sort(t)
		return nil
	}
	if err := t.spill(); err != nil {
		return err
	}
	t.buf = nil
	return t.merge()
}

// A tableRun reads one sorted run.
type tableRun struct {
	r   io.Reader
	rec []byte
}

// merge makes one sorted file of the runs.
func (t *sortTable) merge() error {
	sorted, err := unnamedFile(t.dir)
	if err != nil {
		return err
	}
	var runs []*tableRun
	start := int64(0)
	size := max(t.width, min(mergeRead, (8<<20)/len(t.runs)))
	for _, end := range t.runs {
		r := &tableRun{r: newBlockReader(t.file, start, end, size), rec: make([]byte, t.width)}
		if _, err := io.ReadFull(r.r, r.rec); err == nil {
			runs = append(runs, r)
		} else if err != io.EOF {
			return errors.Join(err, sorted.Close())
		}
		start = end
	}
	less := func(i, j int) bool { return bytes.Compare(runs[i].rec, runs[j].rec) < 0 }
	sort.Slice(runs, less)
	var out []byte
	written, n := int64(0), 0
	for len(runs) > 0 {
		if n%indexEvery == 0 {
			t.index = append(t.index, runs[0].rec...)
		}
		n++
		out = append(out, runs[0].rec...)
		if len(out) >= mergeRead {
			if _, err := sorted.WriteAt(out, written); err != nil {
				return errors.Join(err, sorted.Close())
			}
			written, out = written+int64(len(out)), out[:0]
		}
		switch _, err := io.ReadFull(runs[0].r, runs[0].rec); err {
		case nil: // sink to its place
			for i := 0; i+1 < len(runs) && less(i+1, i); i++ {
				runs[i], runs[i+1] = runs[i+1], runs[i]
			}
		case io.EOF:
			runs = runs[1:]
		default:
			return errors.Join(err, sorted.Close())
		}
	}
	_, err = sorted.WriteAt(out, written)
	err = errors.Join(err, t.file.Close())
	t.file, t.end = sorted, written+int64(len(out))
	return err
}

// newBlockReader reads [start, end) of f in blocks.
func newBlockReader(f io.ReaderAt, start, end int64, block int) io.Reader {
	return &blockReader{r: io.NewSectionReader(f, start, end-start), buf: make([]byte, 0, block)}
}

type blockReader struct {
	r   io.Reader
	buf []byte
	at  int
}

func (b *blockReader) Read(p []byte) (int, error) {
	if b.at == len(b.buf) {
		n, err := io.ReadFull(b.r, b.buf[:cap(b.buf)])
		b.buf, b.at = b.buf[:n], 0
		if n == 0 {
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			return 0, err
		}
	}
	n := copy(p, b.buf[b.at:])
	b.at += n
	return n, nil
}

// from calls fn with the records from key on, in order, until it returns
// false. Of a record only the beginning is compared with key. rec is valid in
// fn only.
func (t *sortTable) from(key []byte, fn func(rec []byte) bool) error {
	w := t.width
	if t.file == nil {
		i := sort.Search(len(t.buf)/w, func(i int) bool { return bytes.Compare(t.buf[i*w:i*w+len(key)], key) >= 0 })
		for ; i < len(t.buf)/w; i++ {
			if !fn(t.buf[i*w : i*w+w]) {
				return nil
			}
		}
		return nil
	}
	i := sort.Search(len(t.index)/w, func(i int) bool { return bytes.Compare(t.index[i*w:i*w+len(key)], key) >= 0 })
	start := int64(max(0, i-1)) * indexEvery * int64(w)
	r := newBlockReader(t.file, start, t.end, indexEvery*w/4)
	rec := make([]byte, w)
	for {
		if _, err := io.ReadFull(r, rec); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if bytes.Compare(rec[:len(key)], key) >= 0 && !fn(rec) {
			return nil
		}
	}
}

func (t *sortTable) close() error {
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}
