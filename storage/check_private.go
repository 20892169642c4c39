package storage

import (
	"bytes"
	"encoding/binary"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// accountIDBytes is the length of every AccountID.
const accountIDBytes = 16

// A privateLook goes through the private \Seen flags, and says of each entry
// what is wrong with it. Check tells it, a repair mends it.
type privateLook struct {
	f     *files
	b     *bolt.Bucket
	owned map[Space]imap.UID // UIDNEXT of the mailbox, ^0 for a deleted one
}

func (l *privateLook) entry(k, v []byte) string {
	if len(k) < 4 {
		return "its key is damaged"
	}
	next, owned := l.owned[Space(binary.BigEndian.Uint32(k))]
	if !owned {
		return "there is no such mailbox"
	}
	if len(k) == 4 {
		if len(v) != 1 || v[0] != 1 {
			return "it should say 1"
		}
		return ""
	}
	if len(k) < 4+accountIDBytes+1 {
		return "its key is damaged"
	}
	prefix, rest := k[:4+accountIDBytes], k[4+accountIDBytes+1:]
	p := &private{b: l.b, prefix: prefix}
	switch kind := k[4+accountIDBytes]; {
	case kind == privateBlock && len(rest) == 4:
		index := binary.BigEndian.Uint32(rest)
		b, ok := decodeBlock(index, v)
		if !ok || index > BlockIndex(^imap.UID(0)) || b.Count == 0 || b.Nth(int(b.Count)-1) >= next {
			return "the block is damaged"
		}
	case kind == privateModSeq && len(rest) == 4 && len(v) == 8:
		at, uid := ModSeq(binary.LittleEndian.Uint64(v)), imap.UID(binary.BigEndian.Uint32(rest))
		if uid == 0 || uid >= next {
			return "there was no such UID yet"
		}
		return l.change(p, at, uid)
	case kind == privateLog && len(rest) == 12 && len(v) == 0:
		at, uid := ModSeq(binary.BigEndian.Uint64(rest)), imap.UID(binary.BigEndian.Uint32(rest[8:]))
		if p.modseq(uid) != at {
			return "the log has a change that isn't the message's last"
		}
	case kind == privateHighest && len(rest) == 0 && len(v) == 8:
		if at := ModSeq(binary.LittleEndian.Uint64(v)); at < p.last() || at > l.f.modseq {
			return "the highest MODSEQ isn't that of the last change"
		}
	default:
		return "it is damaged"
	}
	return ""
}

// change looks at the MODSEQ of a message.
func (l *privateLook) change(p *private, at ModSeq, uid imap.UID) string {
	key := p.logKey(at, uid)
	switch got, _ := l.b.Cursor().Seek(key); {
	case at == 0 || at > l.f.modseq:
		return "its MODSEQ is above the account's"
	case !bytes.Equal(got, key):
		return "its MODSEQ is not in the log"
	case at > p.highest():
		return "its MODSEQ is above the highest"
	}
	return ""
}

// last is the MODSEQ of the last change in the log.
func (p *private) last() ModSeq {
	prefix := p.key(privateLog)
	c := p.b.Cursor()
	k, _ := c.Seek(append(bytes.Clone(prefix), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if !bytes.HasPrefix(k, prefix) || len(k) != len(prefix)+12 {
		return 0
	}
	return ModSeq(binary.BigEndian.Uint64(k[len(prefix):]))
}

// nexts are the spaces that somebody owns.
func (c *check) nexts(f *files, tx *bolt.Tx) map[Space]imap.UID {
	owned := map[Space]imap.UID{}
	_ = tx.Bucket(bucketIntents).ForEach(func(k, _ []byte) error {
		if len(k) == 4 {
			owned[Space(binary.BigEndian.Uint32(k))] = ^imap.UID(0)
		}
		return nil
	})
	_ = tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
		if len(id) == 16 {
			if m, err := f.mailboxRow(tx, MailboxID(id)); err == nil {
				owned[m.Space] = m.UIDNext
			}
		}
		return nil
	})
	return owned
}

// private: the \Seen flags that each login has of its own.
func (c *check) private() error {
	return c.view(func() error {
		b := c.tx.Bucket(bucketPrivate)
		if b == nil {
			return nil
		}
		l := &privateLook{c.f, b, c.nexts(c.f, c.tx)}
		return paced(b, func(k, v []byte) error {
			if why := l.entry(k, v); why != "" {
				c.find("private flags: entry %x: %s", k, why)
			}
			return errorOr(c.ctx.Err(), c.failed)
		})
	})
}

// urlKeys: each is one. The mailbox may be another account's.
func (c *check) urlKeys() error {
	return c.view(func() error {
		b := c.tx.Bucket(bucketURLKeys)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if why := urlKeyFault(k, v); why != "" {
				c.find("the key for URLs of mailbox %x: %s", k, why)
			}
			return c.failed
		})
	})
}

func urlKeyFault(k, v []byte) string {
	if len(k) != 16 {
		return "it belongs to no mailbox"
	}
	if len(v) != URLKeySize {
		return "it is damaged"
	}
	return ""
}
