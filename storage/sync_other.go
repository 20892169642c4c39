//go:build !linux

package storage

func syncData(f journalFile) error { return f.(interface{ Sync() error }).Sync() }
