//go:build !linux

package storage

import bolt "go.etcd.io/bbolt"

func willNeed([]byte) {}

func dropPages(*bolt.Tx) {}
