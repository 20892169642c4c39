package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A RestoreReport is what the restoring of a data folder did.
type RestoreReport struct {
	Accounts int       `json:"accounts"`
	Messages int64     `json:"messages"`
	Octets   int64     `json:"octets"` // of the files that were read
	Taken    time.Time `json:"taken"`  // when the backup was
	Findings []string  `json:"findings,omitempty"`
}

const (
	// restorePart is where a data folder is made before it is one.
	restorePart = "restore.part"
	// restoreJump is by how much MODSEQs go on above those of the backup, so
	// that they are above all that were given out after it.
	restoreJump = 1 << 24
	// restoreValidity is the same for UIDVALIDITY: mailboxes that the old data
	// folder made in quick succession have numbers ahead of the time.
	restoreValidity = 1 << 12
	lostFound       = "lost+found" // of a file system's top folder
)

// A restoring makes a data folder of something else: below it, under a
// temporary name, until it is complete. nestbox.id comes last.
type restoring struct {
	ctx  context.Context
	to   string // the data folder to be
	part string
	opts Options
	*RestoreReport
}

// startRestoring takes a folder that is missing or empty.
func startRestoring(ctx context.Context, to string, o Options) (*restoring, error) {
	entries, err := os.ReadDir(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() != restorePart && e.Name() != lostFound {
			return nil, fmt.Errorf("%s is not empty: name a new or an empty folder to restore into", to)
		}
	}
	r := &restoring{ctx: ctx, to: to, part: filepath.Join(to, restorePart), opts: o, RestoreReport: &RestoreReport{}}
	if err := os.RemoveAll(r.part); err != nil { // an interrupted restore's
		return nil, err
	}
	return r, mapError(makeFolder(filepath.Join(r.part, accountsFolder)))
}

// RestoreDir makes the data folder to of a backup, or of a snapshot of a data
// folder that nobody uses. It is a data folder of its own, with a new id, and
// each mailbox in it has a new UIDVALIDITY: what clients know is of a later
// time.
func RestoreDir(ctx context.Context, from, to string, o Options) (RestoreReport, error) {
	from, err := filepath.Abs(from)
	if err != nil {
		return RestoreReport{}, err
	}
	if inside(to, from) || inside(from, to) {
		return RestoreReport{}, fmt.Errorf("%s and %s are one within the other: name another folder to restore into", from, to)
	}
	id, err := readStoreID(from)
	if err != nil {
		return RestoreReport{}, err
	}
	lock, err := lookFolder(from)
	if err != nil {
		return RestoreReport{}, err
	}
	defer lock()
	r, err := startRestoring(ctx, to, o)
	if err != nil {
		return RestoreReport{}, err
	}
	if head, err := readBackupHead(from); err == nil {
		r.Taken = head.Finished
	} else if !errors.Is(err, ErrNoBackup) {
		return *r.RestoreReport, err
	}
	err = r.copyFolders(from)
	if err == nil {
		err = r.copySystem(from, id)
	}
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		err = errors.Join(mapError(err), os.RemoveAll(r.part))
	}
	return *r.RestoreReport, err
}

// lookFolder makes sure that no server uses a folder that is read, for as long
// as it is: that one has written in it, or holds its lock.
func lookFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if flock(f) != nil {
		defer f.Close()
		return nil, lockHolder(f, dir)
	}
	return func() { _ = f.Close() }, nil // nothing was written
}

// copyFolders copies the accounts, and deleted ones.
func (r *restoring) copyFolders(from string) error {
	entries, err := os.ReadDir(filepath.Join(from, accountsFolder))
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	for _, e := range entries {
		name := e.Name()
		// What a run of backup left that ended between two renames.
		if base := strings.TrimSuffix(name, formerSuffix); base != name && !there[base] {
			name = base
		}
		if strings.Contains(strings.TrimSuffix(name, deletedSuffix), ".") || !e.IsDir() {
			continue
		}
		if err := r.copyFolder(filepath.Join(from, accountsFolder, e.Name()), filepath.Join(r.part, accountsFolder, name)); err != nil {
			return err
		}
	}
	return syncDir(filepath.Join(r.part, accountsFolder))
}

func (r *restoring) copyFolder(from, to string) error {
	var list backupList
	if data, err := os.ReadFile(filepath.Join(from, backupFile)); err == nil {
		if err := json.Unmarshal(data, &list); err != nil {
			r.Findings = append(r.Findings, fmt.Sprintf("%s can't be read, its files are taken as they are: %v", filepath.Join(from, backupFile), err))
		}
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, volume := volumeOfFile(e.Name()); !volume && e.Name() != flagsFile {
			continue
		}
		if err := r.copyItem(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), list.Files[e.Name()]); err != nil {
			return err
		}
		delete(list.Files, e.Name())
	}
	for name := range list.Files {
		r.Findings = append(r.Findings, fmt.Sprintf("%s is missing", filepath.Join(from, name)))
	}
	return syncDir(to)
}

// copyItem copies a file, and sees whether it is still what was backed up. If
// not it is used all the same: each chunk of it has a checksum of its own.
func (r *restoring) copyItem(from, to string, item *backupItem) error {
	if err := byteOrderOf(from); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum, n, err := copySummed(r.ctx, out, in)
	r.Octets += n
	if err == nil && item != nil && sum != item.SHA256 {
		r.Findings = append(r.Findings, fmt.Sprintf("%s is not as it was backed up: its checksum differs", from))
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func byteOrderOf(path string) error {
	if !strings.HasSuffix(path, ".db") {
		return nil
	}
	return byteOrder(path)
}

// copySystem takes system.db over, with a new id: copies of the old data
// folder and of this one are not to be taken for each other.
func (r *restoring) copySystem(from, id string) error {
	path := filepath.Join(r.part, systemFile)
	if err := r.copyItem(filepath.Join(from, systemFile), path, nil); err != nil {
		return err
	}
	if err := verifyHousehold(path, id); err != nil {
		// The checked copy that a data folder has.
		if cerr := errors.Join(os.Remove(path), r.copyItem(filepath.Join(from, systemCopyFile), path, nil)); cerr != nil {
			return errors.Join(err, cerr)
		}
		if cerr := verifyHousehold(path, id); cerr != nil {
			return errors.Join(err, cerr)
		}
		r.Findings = append(r.Findings, fmt.Sprintf("%s is damaged; %s took its place: %v", systemFile, systemCopyFile, err))
	}
	db, err := openSystem(path, id, &bolt.Options{})
	if err != nil {
		return err
	}
	fresh := newStoreID()
	err = db.Update(func(tx *bolt.Tx) error { return putSystem(tx, bucketMeta, []byte("store"), []byte(fresh)) })
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return writeInto(filepath.Join(r.part, idFile), []byte("nestbox data folder "+fresh+"\n"))
}

// finish renews and checks the accounts, and makes the folder one of data.
func (r *restoring) finish() error {
	st, err := Open(r.part, r.opts)
	if err != nil {
		return err
	}
	err = r.renew(st)
	if err = errors.Join(err, st.Close()); err != nil {
		return err
	}
	for _, name := range []string{accountsFolder, systemFile, systemCopyFile, idFile} {
		if name == idFile {
			if err := syncDir(r.to); err != nil {
				return err
			}
		}
		err := os.Rename(filepath.Join(r.part, name), filepath.Join(r.to, name))
		if err != nil && (name != systemCopyFile || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return errors.Join(syncDir(r.to), os.RemoveAll(r.part))
}

// renew gives all mailboxes a new UIDVALIDITY.
func (r *restoring) renew(st *Store) error {
	accounts, err := st.Accounts()
	if err != nil {
		return err
	}
	for _, info := range accounts {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		a, err := st.Account(info.ID)
		if err == nil {
			err = r.renewAccount(a)
		}
		var boxes []Mailbox
		if err == nil {
			boxes, err = a.Mailboxes()
		}
		if err != nil {
			r.Findings = append(r.Findings, fmt.Sprintf("account %s (%s): %v", info.Name, info.ID, err))
			continue
		}
		r.Accounts++
		for _, m := range boxes {
			r.Messages += int64(m.Messages)
		}
	}
	entries, err := os.ReadDir(filepath.Join(st.dir, accountsFolder))
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), deletedSuffix) {
			continue
		}
		a := newAccount(st, accountOfFolder(e.Name()))
		a.dir = filepath.Join(st.dir, accountsFolder, e.Name())
		if err := errors.Join(r.renewAccount(a), a.close()); err != nil {
			r.Findings = append(r.Findings, fmt.Sprintf("deleted account %s: %v", e.Name(), err))
		}
	}
	if err != nil {
		return err
	}
	findings, err := st.Check()
	r.Findings = append(r.Findings, findings...)
	return err
}

func (r *restoring) renewAccount(a *Account) error {
	var at ModSeq
	if err := a.exec(func(f *files) error { at = f.modseq; return nil }); err != nil {
		return err
	}
	now := max(a.now().Unix(), r.Taken.Unix())
	if err := a.renewValidity(highWater{Validity: uint32(now) + restoreValidity, ModSeq: at + restoreJump}); err != nil {
		return err
	}
	return nil
}

// copySummed copies until the end of in.
func copySummed(ctx context.Context, out, in *os.File) (sum string, n int64, err error) {
	buf := make([]byte, 256<<10)
	for err == nil {
		var k int
		if k, err = in.Read(buf); k > 0 {
			// Blocks of zeros are what a backup left out.
			if !allZero(buf[:k]) {
				if _, werr := out.WriteAt(buf[:k], n); werr != nil {
					return "", n, werr
				}
			}
			n += int64(k)
		}
		if cerr := ctx.Err(); cerr != nil {
			return "", n, cerr
		}
	}
	if !errors.Is(err, io.EOF) {
		return "", n, err
	}
	if err := out.Truncate(n); err != nil {
		return "", n, err
	}
	sum, err = sumOf(out)
	return sum, n, err
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
