package imap

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// Keys are search keys as in SEARCH (RFC 9051 §6.4.4), without a session:
// commands find messages by them.
type Keys struct {
	program criterion
	slots   int
	s       *session
}

// ParseKeys reads search keys, such as `FROM anna SINCE 1-Jan-2026`.
func ParseKeys(text string) (*Keys, error) {
	if strings.ContainsAny(text, "\r\n\x00") {
		return nil, errors.New("search keys are one line")
	}
	tables, _ := newTables(nil)
	s := &session{srv: &Server{tables: tables}, c: new(conn), w: wire.NewEncoder(io.Discard)}
	d := wire.NewDecoder(strings.NewReader(text + "\r\n"))
	d.SetLoggedIn(true)
	d.SetUTF8(true)
	if err := d.Next(); err != nil {
		return nil, err
	}
	p := &searchParser{r: &request{s: s, cmd: &cmdSearch, uid: true}, decode: fromUTF8}
	k := &Keys{s: s}
	var charset error
	k.program, charset = p.program(d)
	d.End()
	k.slots = p.slots
	return k, errors.Join(d.Err(), charset)
}

// Find calls hit with the messages of a mailbox that the keys match, in UID
// order.
func (k *Keys) Find(ctx context.Context, a *storage.Account, id storage.MailboxID, hit func(box *storage.Mailbox, row *storage.Row) error) error {
	box, blocks, err := a.Snapshot(id)
	if err != nil {
		return err
	}
	s := k.s
	s.account, s.sel = a, &selection{home: ownHome(a), rights: storage.AllRights, box: box, view: view.New(box, blocks)}
	e, err := newSearcher(s, k.program.clone(), k.slots)
	if err != nil {
		return err
	}
	defer e.free()
	e.told = time.Now().AddDate(1, 0, 0) // nobody waits for a word
	var failed error
	res := &found{view: s.sel.view}
	err = res.forward(e, func(row *storage.Row) bool {
		if failed = ctx.Err(); failed == nil {
			failed = k.row(a, &box, row, hit)
		}
		return failed == nil
	})
	return errors.Join(failed, err)
}

// row completes a row of which the search may know no more than the UID.
func (k *Keys) row(a *storage.Account, box *storage.Mailbox, row *storage.Row, hit func(*storage.Mailbox, *storage.Row) error) error {
	if row.Blob == 0 {
		rows, err := a.Rows(box.Space, []imap.UID{row.UID}, nil)
		if err != nil || len(rows) == 0 || rows[0].Expunged {
			return err
		}
		row = &rows[0]
	}
	return hit(box, row)
}
