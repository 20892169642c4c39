package storage

import (
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// hooks let the power-loss tests see every byte on its way to the disk.
type hooks struct {
	journal func(path string, f *os.File) journalFile
	opened  func(path string, db *bolt.DB)
	// Limits that a test wants smaller: of a body volume, of bodies in mail.db.
	volume, firstBodies int64
	// statFS tells of another file system than the real one.
	statFS func(dir string) (FileSystem, error)
	// A later format than formatVersion, and what is called on the way there.
	migrations []migration
	step       func(point string)
	// upkeep is how often the upkeep looks, and runs its jobs.
	upkeep time.Duration
	// compact has every file compacted in which anything is free.
	compact bool
	// maps is another budget than the process's.
	maps *mapBudget
}

func (o *Options) journalFile(path string, f *os.File) journalFile {
	if o.hooks != nil && o.hooks.journal != nil {
		return o.hooks.journal(path, f)
	}
	return f
}

func (o *Options) opened(path string, db *bolt.DB) {
	if o.hooks != nil && o.hooks.opened != nil {
		o.hooks.opened(path, db)
	}
}

func (o *Options) statFS(dir string) (FileSystem, error) {
	if o.hooks != nil && o.hooks.statFS != nil {
		return o.hooks.statFS(dir)
	}
	return statFS(dir)
}

// upkeepTimes say how often is looked what jobs are due, and over how long
// their first turns are spread.
func (o *Options) upkeepTimes(jobs []upkeepJob) (tick, spread time.Duration) {
	if o.hooks == nil || o.hooks.upkeep == 0 {
		return upkeepTick, upkeepSpread
	}
	for i := range jobs {
		jobs[i].period = o.hooks.upkeep
	}
	return o.hooks.upkeep, o.hooks.upkeep
}
