package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// portableBuckets are the buckets of system.db whose rows a portable stream
// has.
var portableBuckets = [][]byte{bucketDomains, bucketAddresses, bucketAccounts, bucketLogins, bucketCredentials, bucketSettings, bucketSecrets}

// WritePortable writes a portable stream of all accounts while they are in
// use: each mailbox with the messages it has when its turn comes, each message
// as it is when it is read. Expunged messages that are kept follow their
// account, and deleted accounts come last.
func (st *Store) WritePortable(ctx context.Context, w io.Writer) error {
	p, err := newPortableWriter(w)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	head := le.AppendUint16(le.AppendUint16(nil, portableFormat), portableFormat)
	head = append(le.AppendUint64(head, uint64(st.now().Unix())), st.opts.Version...)
	if err := p.write(recordStream, head); err != nil {
		return err
	}
	accounts, err := st.portableHousehold(p)
	if err != nil {
		return err
	}
	n := uint64(0)
	for _, id := range accounts {
		a, err := st.Account(id)
		if errors.Is(err, ErrNoAccount) {
			continue // deleted meanwhile
		}
		if err == nil {
			x := portableAccount{ctx: ctx, a: a, p: p}
			err = x.write()
		}
		if err != nil {
			return fmt.Errorf("account %s: %w", id, err)
		}
		n++
	}
	x := portableAccount{ctx: ctx, p: p}
	if err := x.writeDeletedAccounts(st); err != nil {
		return err
	}
	if err := p.write(recordEnd, le.AppendUint64(nil, n)); err != nil {
		return err
	}
	return p.w.Flush()
}

// portableHousehold writes system.db's rows, as they are at one moment.
func (st *Store) portableHousehold(p *portableWriter) (accounts []AccountID, err error) {
	type row struct{ bucket, key, value []byte }
	var rows []row
	err = st.view(func(tx *bolt.Tx) error {
		for _, bucket := range portableBuckets {
			if err := eachSystem(tx, bucket, nil, func(k, data []byte) error {
				rows = append(rows, row{bucket, append([]byte(nil), k...), append([]byte(nil), data...)})
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, r := range rows {
		if err == nil {
			err = p.row(r.bucket, r.key, r.value)
		}
		if string(r.bucket) == string(bucketAccounts) {
			accounts = append(accounts, AccountID(r.key))
		}
	}
	return accounts, err
}

// row writes a row of system.db.
func (p *portableWriter) row(bucket, key, value []byte) error {
	b := append([]byte{byte(len(bucket))}, bucket...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	return p.write(recordHousehold, append(append(b, key...), value...))
}

// A portableAccount writes one account.
type portableAccount struct {
	ctx      context.Context
	a        *Account
	p        *portableWriter
	written  bitmap // blobs
	messages uint64
	bodies   uint64
	begun    bool // its first record is written
}

func (x *portableAccount) write() error {
	f, err := x.a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	subs, err := x.a.Subscriptions()
	if err != nil {
		return err
	}
	var modseq ModSeq
	if err := x.a.exec(func(f *files) error { modseq = f.modseq; return nil }); err != nil {
		return err
	}
	b := appendField(nil, 1, []byte(x.a.id))
	b = appendField(b, 2, f.secret)
	if err := x.a.read(func(_ *files, tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		b = appendField(b, 4, binary.LittleEndian.AppendUint64(nil, uint64(modseq)))
		b = appendField(b, 5, binary.LittleEndian.AppendUint64(nil, uint64(getUint32(meta, "validity"))))
		return nil
	}); err != nil {
		return err
	}
	// The names may be many: they go into as many records as it takes.
	for _, name := range subs {
		if len(b)+len(name)+16 > portableMax/2 {
			if err := x.p.write(recordAccount, b); err != nil {
				return err
			}
			b = appendField(nil, 1, []byte(x.a.id))
		}
		b = appendField(b, 3, []byte(name))
	}
	x.begun = true
	if err := x.p.write(recordAccount, b); err != nil {
		return err
	}
	if err := x.annotations(MailboxID{}); err != nil {
		return err
	}
	boxes, err := x.a.Mailboxes()
	for i := 0; i < len(boxes) && err == nil; i++ {
		err = x.mailbox(boxes[i].ID)
	}
	if err == nil {
		err = x.kept()
	}
	if err != nil {
		return err
	}
	return x.end()
}

// end writes the account's last record.
func (x *portableAccount) end() error {
	end := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, x.messages), x.bodies)
	return x.p.write(recordAccountOK, end)
}

func (x *portableAccount) mailbox(id MailboxID) error {
	box, blocks, err := x.a.Snapshot(id)
	if errors.Is(err, ErrNoMailbox) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if err := x.p.write(recordMailbox, append(box.ID[:], encodeMailbox(&box)...)); err != nil {
		return err
	}
	if err := x.annotations(id); err != nil {
		return err
	}
	uids := make([]imap.UID, 0, BlockUIDs) // Append fills the capacity
	var rows []Row
	for i := range blocks {
		uids = blocks[i].Append(uids[:0], 0, ^imap.UID(0))
		for rest := uids; len(rest) > 0; {
			n := min(len(rest), ReadRows)
			if rows, err = x.a.Rows(box.Space, rest[:n], rows[:0]); err != nil {
				return err
			}
			for i := range rows {
				if err := x.message(&box, &rows[i]); err != nil {
					return err
				}
			}
			rest = rest[n:]
		}
	}
	return nil
}

func (x *portableAccount) message(box *Mailbox, r *Row) error {
	if r.Expunged {
		return nil
	}
	return x.put(box, r, liveRecords, nil)
}

// bodyRecords are the types of a message's records.
type bodyRecords struct{ body, data, message byte }

var (
	liveRecords = bodyRecords{recordBody, recordData, recordMessage}
	keptRecords = bodyRecords{recordKeptBody, recordKeptData, recordKeptMessage}
)

// put writes a message, and its bytes if the account's records have them not
// yet. Its record begins with head.
func (x *portableAccount) put(box *Mailbox, r *Row, kinds bodyRecords, head []byte) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	// A keyword that the mailbox got after its record was written has no name
	// in the stream.
	flags := r.Flags & (1<<(systemFlags+len(box.Keywords)) - 1)
	if len(box.Keywords) == MaxKeywords {
		flags = r.Flags
	}
	if !x.written.has(uint64(r.Blob)) {
		if lost, err := x.body(r.Blob, kinds); err != nil {
			return err
		} else if errors.Is(lost, ErrNoMessage) {
			return nil // expunged and forgotten meanwhile
		} else if lost != nil {
			return x.p.write(recordNote, []byte(fmt.Sprintf("%s, UID %d of account %s is left out: %v", box.Name, r.UID, x.a.id, lost)))
		}
		x.written.set(uint64(r.Blob))
	}
	le := binary.LittleEndian
	b := le.AppendUint64(le.AppendUint32(head, uint32(r.UID)), uint64(r.ModSeq))
	b = le.AppendUint64(le.AppendUint64(b, uint64(flags)), uint64(r.Date))
	b = le.AppendUint64(le.AppendUint16(b, uint16(r.Zone)), uint64(r.SaveDate))
	b = append(le.AppendUint64(b, uint64(r.Size)), r.Email[:]...)
	if kinds == liveRecords {
		x.messages++
	}
	return x.p.write(kinds.message, b)
}

// body writes a message's bytes. One that can't be read is lost; it is read
// through first if it is not small, so that the stream has whole bodies only.
func (x *portableAccount) body(id BlobID, kinds bodyRecords) (lost, err error) {
	b, lost := x.a.OpenBlob(id)
	if lost != nil {
		return lost, nil
	}
	defer b.Close()
	if _, lost := b.WriteRange(io.Discard, 0, b.Size()); lost != nil {
		return lost, nil
	}
	if err := x.p.write(kinds.body, binary.LittleEndian.AppendUint64(nil, uint64(b.Size()))); err != nil {
		return nil, err
	}
	if kinds == liveRecords {
		x.bodies++
	}
	_, err = b.WriteRange(portableData{x.p, kinds.data}, 0, b.Size())
	return nil, err
}

// portableData writes pieces of a body.
type portableData struct {
	p    *portableWriter
	kind byte
}

func (w portableData) Write(b []byte) (int, error) {
	for at := 0; at < len(b); at += portablePiece {
		if err := w.p.write(w.kind, b[at:min(at+portablePiece, len(b))]); err != nil {
			return at, err
		}
	}
	return len(b), nil
}
