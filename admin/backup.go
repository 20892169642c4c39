package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"nestbox/storage"
)

// A backup goes over the socket as its parts: the length of a JSON object (u32,
// big-endian), the object, and as many octets of data as it says. The last one
// says that all is finished, or what failed.

// BackupSource is the data folder that a backup is taken of.
type BackupSource struct {
	Store string `json:"store"` // its id
	Data  string `json:"data"`  // absolute path
}

type backupLine struct {
	*storage.BackupPart
	Octets int    `json:"octets,omitempty"` // of the data that follow
	Error  *Error `json:"failed,omitempty"`
	End    bool   `json:"finished,omitempty"`
}

const (
	// maxBackupData bounds the data of a part.
	maxBackupData = 80 << 20
	// maxBackupHave bounds the list of what a copy has: a line a file.
	maxBackupHave = 64 << 20
)

// BackupSource says which data folder this is.
func (l *Local) BackupSource(context.Context) (BackupSource, error) {
	return BackupSource{Store: l.st.StoreID(), Data: l.st.Dir()}, nil
}

// Backup hands out the data folder.
func (l *Local) Backup(ctx context.Context, have storage.BackupHave, sink func(*storage.BackupPart) error) error {
	return l.st.Backup(ctx, have, sink)
}

// BackupSource says which data folder the server has.
func (r *Remote) BackupSource(ctx context.Context) (s BackupSource, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/backup", nil, nil, &s)
	return s, err
}

// Backup hands out the server's data folder.
func (r *Remote) Backup(ctx context.Context, have storage.BackupHave, sink func(*storage.BackupPart) error) error {
	b, err := json.Marshal(have)
	if err != nil {
		return err
	}
	resp, err := r.do(ctx, http.MethodPost, "/v1/backup", nil, bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	var data []byte
	for {
		line, err := readBackupLine(in)
		if err != nil {
			return serverLeft(ctx, err)
		}
		switch {
		case line.Error != nil:
			return line.Error
		case line.End:
			return nil
		}
		if line.Octets < 0 || line.Octets > maxBackupData {
			return fmt.Errorf("%w: %d bytes in one part", errWrongUse, line.Octets)
		}
		if cap(data) < line.Octets {
			data = make([]byte, line.Octets)
		}
		line.Data = data[:line.Octets]
		if _, err := io.ReadFull(in, line.Data); err != nil {
			return serverLeft(ctx, cutOff(err))
		}
		if err := sink(line.BackupPart); err != nil {
			return err
		}
	}
}

func readBackupLine(in *bufio.Reader) (*backupLine, error) {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, cutOff(err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrameLine {
		return nil, fmt.Errorf("%w: line of %d bytes", errWrongUse, n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, cutOff(err)
	}
	line := &backupLine{BackupPart: new(storage.BackupPart)}
	if err := json.Unmarshal(text, line); err != nil {
		return nil, fmt.Errorf("%w: %w", errWrongUse, err)
	}
	return line, nil
}

func writeBackupLine(out *bufio.Writer, line *backupLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text)))); err != nil {
		return err
	}
	if _, err = out.Write(text); err == nil && line.BackupPart != nil {
		_, err = out.Write(line.Data)
	}
	return err
}

// backupData answers with the parts of a backup.
func (s *Server) backupData(w http.ResponseWriter, r *http.Request) {
	var have storage.BackupHave
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBackupHave))
	if err == nil && json.Unmarshal(b, &have) != nil {
		err = errWrongUse
	}
	if err != nil {
		s.answer(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	s.log.Info("backup_started")
	out := bufio.NewWriterSize(w, 64<<10)
	octets := int64(0)
	err = s.api.Backup(r.Context(), have, func(p *storage.BackupPart) error {
		octets += int64(len(p.Data))
		return writeBackupLine(out, &backupLine{BackupPart: p, Octets: len(p.Data)})
	})
	end := &backupLine{End: err == nil}
	if err != nil {
		end.Error, _ = wireError(err)
		s.log.Error("backup_failed", "octets", octets, "error", err)
	} else {
		s.log.Info("backup_sent", "octets", octets)
	}
	if err := errors.Join(writeBackupLine(out, end), out.Flush()); err != nil {
		s.log.Warn("control_answer_failed", "error", err)
	}
}

// Portable writes a portable stream of all accounts.
func (l *Local) Portable(ctx context.Context, w io.Writer) error { return l.st.WritePortable(ctx, w) }

// Portable writes a portable stream of the server's accounts. One that the
// server could not end has no end record.
func (r *Remote) Portable(ctx context.Context, w io.Writer) error {
	resp, err := r.do(ctx, http.MethodGet, "/v1/portable", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

func (s *Server) portable(w http.ResponseWriter, r *http.Request) {
	if err := s.api.Portable(r.Context(), w); err != nil {
		s.log.Error("backup_failed", "error", err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
}
