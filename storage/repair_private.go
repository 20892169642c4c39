package storage

import (
	"bytes"
	"encoding/binary"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// mendPrivate takes out private \Seen flags that can't be, and makes their
// change log anew. Messages whose block is damaged count as not seen.
func (c *check) mendPrivate() error {
	// What has a number above all others gets one that can be, the log follows,
	// and the highest comes last.
	for _, pass := range []string{"", string(privateModSeq), string(privateLog), string(privateHighest)} {
		var in *txn // of the look
		var l *privateLook
		if err := c.inKeys(bucketPrivate, func(w *txn, b *bolt.Bucket, k, v []byte) ([]change, error) {
			if in != w {
				in, l = w, &privateLook{nil, b, c.nexts(w.f, w.tx)}
			}
			l.f = w.here()
			why := l.entry(k, v)
			if why == "" {
				return nil, nil
			}
			return c.mendPrivateEntry(w, l, pass, k, v, why), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// mendPrivateEntry is what becomes of an entry that is wrong.
func (c *check) mendPrivateEntry(w *txn, l *privateLook, pass string, k, v []byte, why string) []change {
	key, kind := bytes.Clone(k), byte(0)
	if len(k) > 4+accountIDBytes {
		kind = k[4+accountIDBytes]
	}
	_, owned := Space(0), false
	if len(k) >= 4 {
		_, owned = l.owned[Space(binary.BigEndian.Uint32(k))]
	}
	p := &private{b: l.b, prefix: bytes.Clone(k[:min(len(k), 4+accountIDBytes)])}
	number := func(at ModSeq) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(at)) }
	switch {
	case owned && len(k) == 4 && pass == "":
		c.did("private flags: space %x has them", k)
		return []change{{key, []byte{1}}}
	case owned && kind == privateModSeq && len(k) == 4+accountIDBytes+5 && len(v) == 8:
		uid := imap.UID(binary.BigEndian.Uint32(k[4+accountIDBytes+1:]))
		if uid == 0 || uid >= l.owned[Space(binary.BigEndian.Uint32(k))] {
			break
		}
		if pass != string(privateModSeq) {
			return nil
		}
		at := ModSeq(binary.LittleEndian.Uint64(v))
		if at == 0 || at > l.f.modseq {
			at = w.next()
		}
		c.did("private flags: the change of UID %d has MODSEQ %d and is in the log", uid, at)
		changes := []change{{key, number(at)}, {p.logKey(at, uid), []byte{}}}
		if p.highest() < at {
			changes = append(changes, change{p.key(privateHighest), number(at)})
		}
		return changes
	case owned && kind == privateLog && len(k) == 4+accountIDBytes+13 && pass != string(privateLog):
		return nil // until the messages have theirs
	case owned && kind == privateHighest && len(k) == 4+accountIDBytes+1:
		if pass != string(privateHighest) {
			return nil
		}
		c.did("private flags: the highest MODSEQ is %d", p.last())
		return []change{{key, number(p.last())}}
	}
	c.did("private flags: entry %x is taken out: %s", k, why)
	return []change{{key, nil}}
}

// mendURLKeys takes out keys that can't be: who wants a URL gets a new one.
func (c *check) mendURLKeys() error {
	var gone []MailboxID
	err := c.inKeys(bucketURLKeys, func(w *txn, _ *bolt.Bucket, k, v []byte) ([]change, error) {
		if urlKeyFault(k, v) == "" {
			return nil, nil
		}
		if len(k) == 16 {
			gone = append(gone, MailboxID(k))
		}
		c.did("the key for URLs of mailbox %x is taken out: URLs signed with it are good no more", k)
		return []change{{bytes.Clone(k), nil}}, nil
	})
	for _, id := range gone {
		c.a.urlKeys.changed(id)
	}
	return err
}
