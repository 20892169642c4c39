package tls

import (
	"context"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// linkQuiet is how long a network is left to settle: a machine that gets one
// hears of links, addresses and routes within seconds.
const linkQuiet = 2 * time.Second

// whenLinked calls f when a link came up or the machine got another address,
// until ctx ends. The kernel tells (rtnetlink(7)); nothing is asked regularly.
func whenLinked(ctx context.Context, f func()) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return // then retries come at their times
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return
	}
	s := os.NewFile(uintptr(fd), "rtnetlink")
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 4096)
	for had := networks(); ; {
		// What it says is looked up: routers repeat what was known every few
		// minutes, and too many messages at once (ENOBUFS) are lost.
		if _, err := s.Read(buf); os.IsTimeout(err) {
			return
		}
		if !settle(ctx, s, buf) {
			return
		}
		have, news := networks(), false
		for n := range have {
			news = news || !had[n]
		}
		if had = have; news {
			f()
		}
	}
}

// networks are the addresses of the links that are up.
func networks() map[string]bool {
	all := map[string]bool{}
	interfaces, err := net.Interfaces()
	if err != nil {
		return all
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagRunning == 0 || forContainers(i.Name) {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			all[i.Name+" "+a.String()] = true
		}
	}
	return all
}

// settle reads on until nothing has come for a moment. It returns false when
// ctx ends.
func settle(ctx context.Context, s *os.File, buf []byte) bool {
	for end := time.Now().Add(5 * linkQuiet); time.Now().Before(end); {
		if s.SetReadDeadline(time.Now().Add(linkQuiet)) != nil {
			return false
		}
		if _, err := s.Read(buf); os.IsTimeout(err) || ctx.Err() != nil {
			break
		}
	}
	// In this order: when ctx ends, a deadline is set that must stay.
	return s.SetReadDeadline(time.Time{}) == nil && ctx.Err() == nil
}
