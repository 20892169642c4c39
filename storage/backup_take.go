package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A backupFolder is an account's folder on its way.
type backupFolder struct {
	b      *BackupDir
	folder string
	dir    string // under its temporary name
	list   backupList
	former backupList
	fresh  []uint16            // volumes that were written
	files  map[string]*os.File // begun and not done
}

// Take takes the next part.
func (b *BackupDir) Take(p *BackupPart) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if p.Folder != "" && (p.Folder != filepath.Base(p.Folder) || strings.HasPrefix(p.Folder, ".")) || p.Name != filepath.Base(p.Name) && p.Name != "" && p.Kind != BackupFolder {
		return fmt.Errorf("%w: a backup names the file %q in %q", ErrCorrupt, p.Name, p.Folder)
	}
	var err error
	switch p.Kind {
	case BackupFolder:
		err = b.beginFolder(p)
	case BackupFile:
		err = b.folder(p).begin(p.Name)
	case BackupData:
		err = b.folder(p).data(p)
	case BackupDone:
		err = b.folder(p).done(p)
	case BackupKeep:
		err = b.folder(p).keep(p)
	case BackupWhole:
		err = b.whole()
	case BackupFailed:
		b.report.Findings = append(b.report.Findings, fmt.Sprintf("account %s: %s", p.Name, p.Text))
		b.kept[p.Folder] = true // its former copy stays
		err = b.cur.drop()
		b.cur = nil
	case BackupEnd:
		err = b.end(p)
	}
	return mapError(err)
}

func (b *BackupDir) beginFolder(p *BackupPart) error {
	if err := b.cur.drop(); err != nil {
		return err
	}
	c := &backupFolder{b: b, folder: p.Folder, dir: b.path(p.Folder+stagedSuffix, "")}
	c.files = map[string]*os.File{}
	c.list = backupList{Format: backupFormat, Name: p.Name, Taken: time.Now().UTC(), Files: map[string]*backupItem{}}
	c.former, _ = b.list(p.Folder) // none, or one that can't be read: all comes anew
	b.cur = c
	b.kept[p.Folder] = true
	delete(b.staged, p.Folder)
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	return os.Mkdir(c.dir, 0o700)
}

// folder is where the part's file goes: the account's folder, or the data
// folder itself, where files have their temporary name until the end.
func (b *BackupDir) folder(p *BackupPart) *backupFolder {
	if p.Folder != "" && b.cur != nil && b.cur.folder == p.Folder {
		return b.cur
	}
	if p.Folder == "" && (b.cur == nil || b.cur.folder != "") {
		b.cur = &backupFolder{b: b, dir: b.dir, files: map[string]*os.File{}, list: backupList{Files: map[string]*backupItem{}}}
	}
	return b.cur
}

var errBackupOrder = fmt.Errorf("%w: the parts of a backup are out of order", ErrCorrupt)

func (c *backupFolder) begin(name string) error {
	if c == nil || name == "" || c.folder == "" && name != systemFile && name != idFile {
		return errBackupOrder
	}
	if f := c.files[name]; f != nil {
		return f.Truncate(0)
	}
	path := filepath.Join(c.dir, name)
	if c.folder == "" {
		path += backupHouseNew
	}
	delete(c.list.Files, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		c.files[name] = f
	}
	return err
}

func (c *backupFolder) data(p *BackupPart) error {
	if c == nil || c.files[p.Name] == nil {
		return errBackupOrder
	}
	c.b.report.Octets += int64(len(p.Data))
	_, err := c.files[p.Name].WriteAt(p.Data, p.Offset)
	if err != nil {
		return err
	}
	return c.b.pace.wrote(c.b.ctx, len(p.Data), c.files[p.Name].Sync)
}

func (c *backupFolder) done(p *BackupPart) error {
	if c == nil || c.files[p.Name] == nil {
		return errBackupOrder
	}
	f := c.files[p.Name]
	if err := errors.Join(f.Truncate(p.Size), f.Sync()); err != nil {
		return err
	}
	sum, err := sumOf(f)
	if err != nil {
		return err
	}
	c.list.Files[p.Name] = &backupItem{State: p.State, Size: p.Size, SHA256: sum}
	if n, ok := volumeOfFile(p.Name); ok {
		c.fresh = append(c.fresh, n)
	}
	c.b.report.Files++
	c.b.report.Total += p.Size
	delete(c.files, p.Name)
	return f.Close()
}

// sumOf reads a file from its beginning.
func sumOf(f *os.File) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62))
	return hex.EncodeToString(h.Sum(nil)), err
}

func (c *backupFolder) closeFiles() error {
	if c == nil {
		return nil
	}
	var err error
	for name, f := range c.files {
		err = errors.Join(err, f.Close())
		delete(c.files, name)
	}
	return err
}

// keep takes a file over from the former copy: the same file under a second
// name, or where that can't be, a copy of it.
func (c *backupFolder) keep(p *BackupPart) error {
	if c == nil {
		return errBackupOrder
	}
	item := c.former.Files[p.Name]
	if item == nil || item.State != p.State {
		return fmt.Errorf("%w: the copy lacks %s, which it said it had", ErrCorrupt, p.Name)
	}
	from, to := c.b.path(c.folder, p.Name), filepath.Join(c.dir, p.Name)
	if err := os.Link(from, to); err != nil {
		if err := copyBig(from, to); err != nil {
			return err
		}
	}
	c.list.Files[p.Name] = item
	c.b.report.Kept++
	c.b.report.Total += item.Size
	return nil
}

// copyBig copies a file of any size.
func copyBig(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return mapError(errors.Join(err, out.Close()))
}

func (c *backupFolder) drop() error {
	if c == nil {
		return nil
	}
	err := c.closeFiles()
	if c.folder != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// whole checks the account's new folder.
func (b *BackupDir) whole() error {
	c := b.cur
	if c == nil || c.folder == "" {
		return errBackupOrder
	}
	if err := c.closeFiles(); err != nil {
		return err
	}
	// A file that was begun and never done is none.
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if c.list.Files[e.Name()] == nil {
			if err := os.Remove(filepath.Join(c.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	var findings []string
	c.list.ModSeq, findings, err = verifyAccount(b.ctx, c.dir, accountOfFolder(c.folder), c.fresh)
	if cerr := b.ctx.Err(); cerr != nil {
		return cerr
	}
	if err != nil {
		findings = append(findings, err.Error())
	}
	for _, f := range findings {
		b.report.Findings = append(b.report.Findings, fmt.Sprintf("account %s (%s): %s", c.list.Name, c.folder, f))
	}
	list, err := json.MarshalIndent(c.list, "", "\t")
	if err != nil {
		return err
	}
	if err := writeInto(filepath.Join(c.dir, backupFile), list); err != nil {
		return err
	}
	b.report.Accounts++
	b.staged[c.folder] = len(findings) == 0
	b.cur = nil
	return syncDir(c.dir)
}

// end puts all in place.
func (b *BackupDir) end(p *BackupPart) error {
	if c := b.cur; c != nil {
		if err := c.closeFiles(); err != nil {
			return err
		}
		b.cur = nil
	}
	system := filepath.Join(b.dir, systemFile)
	if err := verifyHousehold(system+backupHouseNew, b.head.Store); err != nil {
		return err
	}
	for folder, isSound := range b.staged {
		if err := b.place(folder, isSound); err != nil {
			return err
		}
		delete(b.staged, folder)
	}
	for _, name := range []string{systemFile, idFile} {
		if err := os.Rename(filepath.Join(b.dir, name+backupHouseNew), filepath.Join(b.dir, name)); err != nil {
			return err
		}
	}
	if err := b.sweep(); err != nil {
		return err
	}
	// What a command left that looked at the former backup.
	for _, name := range []string{lockFile, clockFile, systemCopyFile, eventsFile, eventsFile + eventsAside, "reserve"} {
		if err := os.Remove(filepath.Join(b.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	b.head.Format, b.head.MinReader, b.head.Version = backupFormat, backupFormat, p.Text
	b.head.Finished, b.head.Accounts, b.head.Octets = time.Now().UTC(), b.report.Accounts, b.report.Octets
	head, err := json.MarshalIndent(b.head, "", "\t")
	if err != nil {
		return err
	}
	if err := writeInto(filepath.Join(b.dir, backupFile), head); err != nil {
		return err
	}
	return syncDir(filepath.Join(b.dir, accountsFolder))
}

// place gives a new folder its name. One that is not sound doesn't take the
// place of a former one.
func (b *BackupDir) place(folder string, isSound bool) error {
	staged, to := b.path(folder+stagedSuffix, ""), b.path(folder, "")
	_, err := os.Stat(to)
	there := err == nil
	if there && !isSound {
		to = b.path(folder+unsoundSuffix, "")
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		b.report.Findings = append(b.report.Findings, fmt.Sprintf("account folder %s: its former copy stays, the new one is %s", folder, to))
		return os.Rename(staged, to)
	}
	if err := os.RemoveAll(b.path(folder+unsoundSuffix, "")); err != nil {
		return err
	}
	if !there {
		return os.Rename(staged, to)
	}
	if exchange(staged, to) == nil {
		return errors.Join(syncDir(filepath.Dir(to)), os.RemoveAll(staged))
	}
	// In two steps: recoverBackup knows what to do about a crash in between.
	former := b.path(folder+formerSuffix, "")
	if err := os.Rename(to, former); err != nil {
		return err
	}
	if err := os.Rename(staged, to); err != nil {
		return errors.Join(err, os.Rename(former, to))
	}
	return errors.Join(syncDir(filepath.Dir(to)), os.RemoveAll(former))
}

// sweep removes the folders that the data folder has no more.
func (b *BackupDir) sweep() error {
	entries, err := os.ReadDir(filepath.Join(b.dir, accountsFolder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if b.kept[strings.TrimSuffix(name, unsoundSuffix)] {
			continue
		}
		b.report.Gone = append(b.report.Gone, name)
		if err := os.RemoveAll(b.path(name, "")); err != nil {
			return err
		}
	}
	return nil
}
