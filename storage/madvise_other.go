//go:build !linux

package storage

func willNeed([]byte) {}
