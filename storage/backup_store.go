package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Backup hands out the data folder: each account as it is between two commits,
// and system.db as it is when all accounts have been handed out. What the
// receiver has is not handed out again. The folder's locks and sockets, what
// can be made anew, and the reserve are no part of it. sink may take its time:
// nobody else waits for it.
func (st *Store) Backup(ctx context.Context, have BackupHave, sink func(*BackupPart) error) error {
	copied := map[AccountID]string{} // with the name it had
	for {
		accounts, err := st.Accounts()
		if err != nil {
			return err
		}
		for _, info := range accounts {
			if _, ok := copied[info.ID]; ok {
				continue
			}
			copied[info.ID] = info.Name
			if err := st.backupAccount(ctx, info, have, sink); err != nil {
				return err
			}
		}
		if err := st.backupDeleted(ctx, have, sink); err != nil {
			return err
		}
		complete, system, err := st.backupSystem(copied)
		if err != nil {
			return err
		}
		if complete {
			return st.sendHousehold(system, sink)
		}
	}
}

func (st *Store) backupAccount(ctx context.Context, info AccountInfo, have BackupHave, sink func(*BackupPart) error) error {
	folder := string(info.ID)
	if err := sink(&BackupPart{Kind: BackupFolder, Folder: folder, Name: info.Name}); err != nil {
		return err
	}
	a, err := st.Account(info.ID)
	var stopped error
	if err == nil {
		err = a.backup(ctx, folder, have[folder], func(p *BackupPart) error {
			stopped = sink(p)
			return stopped
		})
	}
	switch {
	case stopped != nil:
		return stopped
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return sink(&BackupPart{Kind: BackupWhole, Folder: folder})
	}
	if _, gone := st.AccountInfo(info.ID); errors.Is(gone, ErrNoAccount) {
		return nil // deleted meanwhile: its next folder is handed out later
	} else if gone != nil {
		return gone
	}
	st.log.Error("backup_account_failed", "account", folder, "error", err)
	return sink(&BackupPart{Kind: BackupFailed, Folder: folder, Name: info.Name, Text: err.Error()})
}

// backupSystem reads system.db, if it has no account that was not handed out.
func (st *Store) backupSystem(copied map[AccountID]string) (complete bool, system []byte, err error) {
	st.admin.Lock()
	defer st.admin.Unlock()
	accounts, err := st.Accounts()
	if err != nil {
		return false, nil, err
	}
	for _, info := range accounts {
		name, ok := copied[info.ID]
		if !ok {
			return false, nil, nil
		}
		if name != info.Name { // its folder repeats the name
			delete(copied, info.ID)
			return false, nil, nil
		}
	}
	var b bytes.Buffer
	err = st.view(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(&b)
		return err
	})
	return true, b.Bytes(), err
}

func (st *Store) sendHousehold(system []byte, sink func(*BackupPart) error) error {
	id, err := os.ReadFile(filepath.Join(st.dir, idFile))
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{systemFile: system, idFile: id} {
		size := int64(len(data))
		parts := []*BackupPart{{Kind: BackupFile, Name: name}}
		for at := 0; at < len(data); at += copySlice {
			parts = append(parts, &BackupPart{Kind: BackupData, Name: name, Offset: int64(at), Data: data[at:min(at+copySlice, len(data))]})
		}
		for _, p := range append(parts, &BackupPart{Kind: BackupDone, Name: name, Size: size}) {
			if err := sink(p); err != nil {
				return err
			}
		}
	}
	return sink(&BackupPart{Kind: BackupEnd, Text: st.opts.Version})
}

// StoreID is the id in nestbox.id.
func (st *Store) StoreID() string { return st.id }

// backupDeleted hands out the folders of deleted accounts, which nobody has
// open.
func (st *Store) backupDeleted(ctx context.Context, have BackupHave, sink func(*BackupPart) error) error {
	entries, err := os.ReadDir(filepath.Join(st.dir, accountsFolder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), deletedSuffix) || !e.IsDir() {
			continue
		}
		if err := st.backupStill(ctx, e.Name(), have[e.Name()], sink); err != nil {
			return err
		}
	}
	return nil
}

// backupStill hands out a folder whose files don't change. If they do, because
// the account is brought back or erased, the folder's former copy stays until
// the next run.
func (st *Store) backupStill(ctx context.Context, folder string, have map[string]string, sink func(*BackupPart) error) error {
	dir := filepath.Join(st.dir, accountsFolder, folder)
	if err := sink(&BackupPart{Kind: BackupFolder, Folder: folder, Name: "(deleted)"}); err != nil {
		return err
	}
	var stopped error
	send := func(p *BackupPart) error {
		p.Folder = folder
		stopped = errors.Join(ctx.Err(), sink(p))
		return stopped
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if _, volume := volumeOfFile(e.Name()); err != nil || !volume && e.Name() != flagsFile {
			continue
		}
		err = sendStill(filepath.Join(dir, e.Name()), have[e.Name()], send)
	}
	switch {
	case stopped != nil:
		return stopped
	case err == nil:
		return sink(&BackupPart{Kind: BackupWhole, Folder: folder})
	case errors.Is(err, fs.ErrNotExist):
		return sink(&BackupPart{Kind: BackupFailed, Folder: folder, Name: folder, Text: "it was erased or brought back while it was copied"})
	}
	return sink(&BackupPart{Kind: BackupFailed, Folder: folder, Name: folder, Text: err.Error()})
}

func sendStill(path, have string, send func(*BackupPart) error) error {
	name := filepath.Base(path)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := stillState(f)
	if err != nil {
		return err
	}
	if before == have {
		return send(&BackupPart{Kind: BackupKeep, Name: name, State: have})
	}
	if err := send(&BackupPart{Kind: BackupFile, Name: name}); err != nil {
		return err
	}
	at := int64(0)
	for {
		buf := make([]byte, copySlice)
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			if err := send(&BackupPart{Kind: BackupData, Name: name, Offset: at, Data: buf[:n]}); err != nil {
				return err
			}
			at += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	after, err := stillState(f)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("%w: %s changed while it was copied", ErrUnavailable, path)
	}
	return send(&BackupPart{Kind: BackupDone, Name: name, Size: at, State: before})
}

func stillState(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano()), nil
}

// BackupTo takes a backup of this store into dir, in this process.
func (st *Store) BackupTo(ctx context.Context, dir string) (BackupReport, error) {
	b, err := OpenBackupDir(ctx, dir, st.dir, false)
	if err != nil {
		return BackupReport{}, err
	}
	if err = b.Check(st.id); err == nil {
		err = st.Backup(ctx, b.Have(), b.Take)
	}
	return b.Report(), errors.Join(err, b.Close())
}
