package storage

import (
	"context"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A message whose bytes are in a body volume and whose row is not in mail.db
// comes from a crash between the two commits, or from a mail.db that is one
// commit older than the volume: a copy that somebody put back. Then it was
// acknowledged, and nothing in the files tells. So a body volume's list of
// open blobs says which are whole, and since when, u40, and these are not
// swept before orphanKept is over. "check --restored" gives them messages.

// orphanKept is how long the bytes of a whole message without a row stay.
const orphanKept = defaultKeptDays * oneDay

// openEntry is what a volume's list of open blobs says of an upload.
func (b *blobStore) openEntry(u *Upload) []byte {
	if u.volume == 0 || !u.closed {
		return nil
	}
	return appendUint40(nil, b.f.a.now().Unix())
}

// wholeSince reads such an entry: 0 for bytes that may be the half of a message.
func wholeSince(entry []byte) int64 {
	if len(entry) != 5 {
		return 0
	}
	return uint40(entry)
}

// spared reports whether an open blob without a row has to wait.
func (b *blobStore) spared(o openBlob) bool {
	if o.whole == 0 {
		return false
	}
	st := b.f.a.st
	return !st.clockTrusted() || st.now().Sub(time.Unix(o.whole, 0)) < orphanKept
}

// orphans lists the whole messages without a row in the body volumes.
func (b *blobStore) orphans() (all []strayBlob, err error) {
	for n := uint16(1); n != 0 && n <= b.volumes.last; n++ {
		open, err := b.openBlobsOf(func(fn func(tx *bolt.Tx) error) error { return b.volumes.view(n, fn) })
		if errors.Is(err, ErrUnavailable) {
			continue // Check says so
		}
		if err != nil {
			return nil, err
		}
		for _, o := range open {
			if o.whole != 0 && !o.hasRow && b.live[o.id] == nil {
				all = append(all, strayBlob{n, o.id})
			}
		}
	}
	return all, nil
}

// recoverOrphans gives them a message each in the mailbox Recovered.
func (a *Account) recoverOrphans(ctx context.Context) error {
	var all []strayBlob
	if err := a.exec(func(f *files) (err error) { all, err = f.blobs.orphans(); return err }); err != nil || len(all) == 0 {
		return err
	}
	return a.recoverBlobs(ctx, all, func(mailbox string, r recoveredBlob) {
		switch {
		case r.err != nil:
			a.st.log.Warn("orphan_lost", "account", string(a.id), "volume", r.volume, "blob", uint64(r.id), "error", r.err)
		case !r.known:
			a.st.log.Info("orphan_recovered", "account", string(a.id), "volume", r.volume, "blob", uint64(r.id), "mailbox", mailbox, "uid", uint32(r.uid))
		}
	})
}
