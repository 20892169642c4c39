package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"nestbox/config"
)

// protections are what keeps a server that was taken over from doing more
// harm, and secrets in its memory from getting to the disk.
type protections struct {
	user     string
	root     bool
	noPrivs  bool
	noDumps  bool
	umask    bool
	landlock int // its version; 0: off
	why      string
}

// String is the line that `nestbox status` and the log show.
func (p protections) String() string {
	parts := []string{"user " + p.user}
	if p.noPrivs {
		parts = append(parts, "no new privileges")
	}
	if p.landlock > 0 {
		parts = append(parts, "Landlock "+strconv.Itoa(p.landlock))
	} else {
		parts = append(parts, "no Landlock ("+p.why+")")
	}
	if p.noDumps {
		parts = append(parts, "no core dumps")
	}
	if p.umask {
		parts = append(parts, "umask 077")
	}
	return strings.Join(parts, ", ")
}

// protectMemory comes before the first secret is read: files are for the
// owner only, and no core is dumped.
func (s *serving) protectMemory() {
	if !s.OwnProcess {
		return
	}
	syscall.Umask(0o077)
	s.protections.umask = true
	s.protections.noDumps = noCoreDumps() == nil
}

// restrict comes when all is open that root's rights or other folders are
// wanted for. What the machine can't do is no reason not to serve.
func (s *serving) restrict() {
	p := &s.protections
	p.user, p.root = strconv.Itoa(os.Geteuid()), os.Geteuid() == 0
	switch {
	case !s.OwnProcess:
		p.why = "part of another program"
		return
	case s.leftRoot:
		p.user = s.cfg.User
		// A change of user makes the system forget it.
		p.noDumps = noCoreDumps() == nil
	}
	p.noPrivs = noNewPrivileges() == nil
	s.allowed = s.wantedPaths(s.cfg)
	switch version, err := landlock(s.cfg.Landlock, s.allowed); {
	case err != nil:
		p.why = err.Error()
	default:
		p.landlock = version
	}
	s.log.Info("process_protected", "user", p.user, "root", p.root, "no_new_privs", p.noPrivs, "landlock", p.landlock,
		"landlock_off", p.why, "core_dumps", !p.noDumps, "umask", p.umask)
}

// A wantedPath is a file or folder that the server opens, with all below it.
type wantedPath struct {
	path   string
	access access
}

// access is what is done there.
type access uint8

const (
	reading access = iota
	writing
	socketing // only a socket is made and removed
)

// systemPaths are read by Go's libraries: names, time, certificates, and what
// the kernel tells of this process and the machine.
var systemPaths = []string{
	"/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/localtime", "/etc/zoneinfo",
	"/proc/self", "/proc/meminfo", "/proc/sys/net", "/proc/sys/kernel", "/proc/stat", "/sys/fs/cgroup", "/sys/devices/system/cpu",
	"/sys/kernel/mm/transparent_hugepage", "/dev/urandom", "/dev/random",
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/local/share/certs",
	"/usr/share/pki", "/usr/local/etc/ssl",
}

// etcPaths are single files of /etc.
var etcPaths = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/services", "/etc/protocols",
	"/etc/passwd", "/etc/group", "/etc/hostname", "/etc/gai.conf", "/etc/mdns.allow",
}

// wantedPaths are all that a server of this configuration opens.
func (s *serving) wantedPaths(cfg *config.Config) []wantedPath {
	paths := []wantedPath{
		{s.cfg.Data, writing},
		{filepath.Dir(controlSocket(s.cfg, s.getenv)), socketing},
		{"/dev/null", writing},
	}
	// A disk that is pulled and put back is another one to the kernel: what
	// was allowed below its mount point is not any more.
	if dir := aboveMount(s.cfg.Data); dir != "" {
		paths = append(paths, wantedPath{dir, writing})
	}
	for _, p := range systemPaths {
		paths = append(paths, wantedPath{p, reading})
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "ZONEINFO"} {
		for _, p := range filepath.SplitList(s.getenv(name)) {
			paths = append(paths, wantedPath{p, reading})
		}
	}
	files := slices.Concat(etcPaths, config.ReadPaths(cfg))
	if cfg.File != "" {
		files = append(files, cfg.File)
	}
	for _, f := range files {
		paths = append(paths, fileAndFolder(f)...)
	}
	return paths
}

// fileAndFolder lets a file be read, and the one that takes its place: its
// folder, and that of what it is a link to. The root folder never is, and
// /etc not for root, who could read shadow there.
func fileAndFolder(path string) []wantedPath {
	paths := []wantedPath{{path, reading}}
	links := []string{path}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		links = append(links, real)
	}
	for _, p := range links {
		if dir := filepath.Dir(p); dir != "/" && dir != "." && (dir != "/etc" || os.Geteuid() != 0) {
			paths = append(paths, wantedPath{dir, reading})
		}
	}
	return paths
}

// warnOfPaths names the paths of a new configuration that the process may not
// open before a restart.
func (s *serving) warnOfPaths(cfg *config.Config) {
	if s.protections.landlock == 0 {
		return
	}
	var outside []string
	for _, p := range config.ReadPaths(cfg) {
		if !slices.ContainsFunc(s.allowed, func(a wantedPath) bool { return a.path == p || strings.HasPrefix(p, a.path+"/") }) {
			outside = append(outside, p)
		}
	}
	if len(outside) > 0 {
		s.log.Warn("path_after_restart", "paths", outside)
	}
}
