package tls

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// GuessNames are the names and addresses under which a client may reach this
// machine: its host name, as a router or mDNS would call it too, and its
// addresses in a home. In a container only loopback: what the container is
// called, nobody else knows.
func GuessNames(container bool) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if container {
		return names
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return append(hostNames(host), append(names, homeAddresses()...)...)
}

// hostNames are what a machine of a host name is called.
func hostNames(host string) []string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || !isASCII(host) {
		return nil
	}
	if host == "localhost" {
		return []string{host}
	}
	short, _, dotted := strings.Cut(host, ".")
	names := []string{}
	if dotted {
		names = append(names, host)
	}
	for _, name := range []string{short, short + ".local", short + ".lan", short + ".home.arpa"} {
		if name != host || !dotted {
			names = append(names, name)
		}
	}
	return names
}

// InContainer reports whether this process is in a container: then host name
// and addresses are those of the container.
func InContainer(getenv func(string) string) bool {
	if getenv("container") != "" || getenv("KUBERNETES_SERVICE_HOST") != "" {
		return true
	}
	for _, path := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// homeAddresses are the machine's addresses that others in a home reach.
func homeAddresses() []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil // addresses are worth less than a start that fails
	}
	var all []string
	passing := passingAddrs()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || forContainers(i.Name) {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && atHome(p.Addr().Unmap()) && !passing[p.Addr()] {
				all = append(all, p.Addr().Unmap().String())
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// atHome: global ones change with the provider's prefix, and addresses with a
// zone are of no use in a certificate.
func atHome(a netip.Addr) bool {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return false
	}
	for _, text := range homeRanges {
		if netip.MustParsePrefix(text).Contains(a) {
			return true
		}
	}
	return false
}

// forContainers tells the interfaces that come and go with containers and
// virtual machines, from OpenWrt's br-lan among others.
func forContainers(name string) bool {
	for _, prefix := range []string{"docker", "veth", "virbr", "cni", "flannel", "cali", "podman", "lxc", "vnet"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	id, ok := strings.CutPrefix(name, "br-")
	return ok && len(id) == 12 && strings.Trim(id, "0123456789abcdef") == ""
}
