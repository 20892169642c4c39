package storage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// keptHour is how finely kept messages are told apart by age when space runs
// out: what is older goes first, to the hour.
const keptHour = 3600

// freeKept removes kept messages and deleted accounts for good, the oldest first,
// until about need octets are free, and says how many are. What a hold keeps
// stays. Space that it frees is in the files of the accounts, for their new
// mail; compaction gives it back to the disk.
//
// It goes by the times of the expunges as they are stored and needs no clock.
func (st *Store) freeKept(ctx context.Context, need int64) (freed int64, err error) {
	accounts, err := st.Accounts()
	if err != nil {
		return 0, err
	}
	open := make([]*Account, 0, len(accounts))
	byHour := map[int64]int64{}
	for _, info := range accounts {
		a, err := st.Account(info.ID)
		if err != nil {
			continue // deleted meanwhile
		}
		if err := a.keptByHour(ctx, byHour); err != nil {
			st.log.Warn("kept_not_freed", "account", string(info.ID), "error", err)
			continue
		}
		open = append(open, a)
	}
	deleted, err := st.DeletedAccounts()
	if err != nil {
		return 0, err
	}
	for _, d := range deleted {
		byHour[d.Deleted.Unix()/keptHour] += d.Octets
	}
	hours := slices.Sorted(maps.Keys(byHour))
	// Blobs that have other references bring nothing: each round aims higher.
	for target := need; freed < need && len(hours) > 0; target *= 2 {
		n, octets := 0, int64(0)
		for n < len(hours) && octets < target {
			octets += byHour[hours[n]]
			n++
		}
		until := (hours[n-1]+1)*keptHour - 1
		for _, a := range open {
			got, err := a.freeKeptUntil(ctx, until, need-freed)
			if freed += got; freed >= need || ctx.Err() != nil {
				return freed, ctx.Err()
			}
			if err != nil {
				st.log.Warn("kept_not_freed", "account", string(a.id), "error", err)
			}
		}
		// A whole account is more to lose than messages of its time.
		freed += st.freeDeletedUntil(deleted, until, need-freed)
		hours = hours[n:]
	}
	return freed, nil
}

// freeDeletedUntil erases accounts that were deleted up to a time, until need
// octets are freed. The slice is used up.
func (st *Store) freeDeletedUntil(deleted []DeletedAccount, until, need int64) (freed int64) {
	for i := range deleted {
		d := &deleted[i]
		if freed >= need || d.Deleted.Unix() > until || d.Octets == 0 {
			continue
		}
		st.admin.Lock()
		err := st.eraseStill(d.ID)
		st.admin.Unlock()
		if err != nil {
			st.log.Warn("kept_not_freed", "account", string(d.ID), "error", err)
			continue
		}
		st.log.Warn("kept_freed", "account", string(d.ID), "messages", 0, "octets", d.Octets)
		freed, d.Octets = freed+d.Octets, 0
	}
	return freed
}

// keptByHour adds the octets of kept messages that may go, by the hour of
// their expunge.
func (a *Account) keptByHour(ctx context.Context, byHour map[int64]int64) error {
	if err := a.settleDeleted(); err != nil {
		return err
	}
	rules := a.policy()
	return a.eachKept(ctx, func(p *keptPage) error {
		for i := range p.entries {
			e := &p.entries[i]
			if _, ok := rules.keptUntil(p.owners[e.space], time.Time{}, e.why); ok {
				byHour[e.when/keptHour] += e.row.Size
			}
		}
		return nil
	})
}

// freeKeptUntil removes kept messages up to a time of their expunge, until
// need octets are freed.
func (a *Account) freeKeptUntil(ctx context.Context, until, need int64) (freed int64, err error) {
	rules := a.policy()
	n, _, err := a.forgetKept(ctx, nil, func(o *keptOwner, why keptReason) (int64, bool) {
		_, ok := rules.keptUntil(o, time.Time{}, why)
		return until, ok
	}, func(n forgotten) bool { return n.bytes >= need })
	if n.Messages > 0 || n.bytes > 0 {
		a.st.log.Warn("kept_freed", "account", string(a.id), "messages", n.Messages, "octets", n.bytes)
		err = errors.Join(err, a.sweepNow(ctx))
	}
	return n.bytes, err
}

// sweepNow gives up the bytes of blobs that nothing refers to, without waiting
// for a quiet moment.
func (a *Account) sweepNow(ctx context.Context) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := a.exec(func(f *files) (err error) {
			more, err = f.blobs.sweep()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
