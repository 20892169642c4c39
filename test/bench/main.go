// Command bench measures IMAP servers side by side: nestbox and Debian's
// Dovecot in its three formats, in one run on one machine, on loopback. It
// prints a table with what the project has promised for each row.
//
// Every server is started with data of its own in a temporary folder, alone,
// and stopped by its process id. With -addr a server that runs already is
// measured instead of Dovecot.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	servers              string
	only                 string
	messages, rounds     int
	seconds, rest        time.Duration
	connections, idle    int
	big                  int
	gate                 float64
	dir, binary          string
	addr, tlsAddr, names string
	pass                 string
	process, users       int
	quick                bool
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "one round of 2000 messages and short loads, unless other flags say otherwise")
	f.StringVar(&o.servers, "servers", "maildir,mdbox,sdbox,nestbox", "columns of the table")
	f.StringVar(&o.only, "only", "", "only these groups of rows: "+strings.Join(groupNames(), ","))
	f.IntVar(&o.messages, "messages", 20000, "messages in the mailbox that is read")
	f.IntVar(&o.rounds, "rounds", 3, "rounds; the table has the medians")
	f.DurationVar(&o.seconds, "seconds", 8*time.Second, "length of each load that is counted per second")
	f.DurationVar(&o.rest, "rest", 90*time.Second, "rest before memory at rest is read; 0: it is not read")
	f.IntVar(&o.connections, "connections", 1000, "idle connections")
	f.IntVar(&o.idle, "idle", 10, "messages sent to an idling connection")
	f.IntVar(&o.big, "big", 50<<20-1000, "bytes of the big message")
	f.Float64Var(&o.gate, "gate", 0, "fail if nestbox is behind the best Dovecot by more than this factor in any row (0.5: half as fast)")
	f.StringVar(&o.dir, "dir", "", "folder for the servers' data (a temporary one)")
	f.StringVar(&o.binary, "binary", "", "nestbox to measure (built from this tree)")
	f.IntVar(&o.users, "users", 16, "users on each server")
	f.StringVar(&o.addr, "addr", "", "address of a server that runs already, for the column \"other\"")
	f.StringVar(&o.tlsAddr, "tls-addr", "", "its address with TLS")
	f.StringVar(&o.names, "user", "user%d", "its users; %d becomes 1, 2, ...")
	f.StringVar(&o.pass, "password", commonPassword, "the password of all its users")
	f.IntVar(&o.process, "pid", 0, "its first process, for memory and processor time")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.quick {
		set := map[string]bool{}
		f.Visit(func(f *flag.Flag) { set[f.Name] = true })
		for name, value := range map[string]string{"messages": "2000", "rounds": "1", "seconds": "2s", "rest": "0s", "connections": "200", "idle": "3"} {
			if !set[name] {
				if err := f.Set(name, value); err != nil {
					return o, err
				}
			}
		}
	}
	return o, nil
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "nestbox-bench-"); err != nil {
			return err
		}
		if err := os.Chmod(o.dir, 0o755); err != nil { // Dovecot's mail processes are others
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	servers, err := makeServers(o)
	if err != nil {
		return err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	all, names := map[string]samples{}, []string{}
	for _, s := range servers {
		all[s.name()], names = samples{}, append(names, s.name())
	}
	for round := range o.rounds {
		for _, s := range servers {
			m := &measurement{options: o, server: s, samples: all[s.name()], interrupted: interrupted}
			if err := m.round(round); err != nil {
				return fmt.Errorf("%s, round %d: %w", s.name(), round+1, err)
			}
		}
	}
	fmt.Printf("%s, %d CPUs, %d messages, medians of %d, %s\n\n", runtime.GOARCH, runtime.NumCPU(), o.messages, o.rounds, time.Now().UTC().Format("2006-01-02"))
	if err := printTable(os.Stdout, rows, names, all); err != nil {
		return err
	}
	fmt.Println()
	if err := printTable(os.Stdout, cpuRows(), names, all); err != nil {
		return err
	}
	return checkGate(o.gate, all)
}

// checkGate is an error if a row is behind by more than the gate allows.
func checkGate(gate float64, all map[string]samples) error {
	var behind []string
	for _, r := range rows {
		if v := r.judge(all); gate > 0 && r.goal > 0 && r.against == "" && !math.IsNaN(v.ratio) && v.ratio < gate {
			behind = append(behind, fmt.Sprintf("%s: %.2fx", r.what, v.ratio))
		}
	}
	if behind != nil {
		return fmt.Errorf("behind the best other server by more than the gate of %.2fx: %s", gate, strings.Join(behind, "; "))
	}
	return nil
}

func makeServers(o options) (servers []server, err error) {
	if o.addr != "" {
		if o.servers == "maildir,mdbox,sdbox,nestbox" {
			o.servers = "other"
		}
		servers = append(servers, &otherServer{plain: o.addr, tls: o.tlsAddr, process: o.process, names: o.names, pass: o.pass, users: o.users})
	}
	for _, name := range strings.Split(o.servers, ",") {
		var s server
		switch name {
		case "other":
			continue
		case "nestbox":
			s, err = newNestbox(o.dir, o.binary, o.users)
		case "maildir", "mdbox", "sdbox":
			s, err = newDovecot(filepath.Join(o.dir, "dovecot"), name, o.users)
		default:
			err = fmt.Errorf("no server is called %q", name)
		}
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// raiseFileLimit is for the idle connections; the servers inherit it.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
