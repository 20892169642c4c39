package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// progressTerminal and progressPlain are how often progress is shown.
	progressTerminal = 200 * time.Millisecond
	progressPlain    = 10 * time.Second
	// progressSettle is the time before a rate is worth a guess at what is left.
	progressSettle = 2 * time.Second
)

// A progress shows how far long work is: on a terminal in one line that
// changes, elsewhere in a line now and then. Calls can come from any goroutine.
type progress struct {
	w        io.Writer
	what     string // "imported"
	terminal bool

	mu      sync.Mutex
	start   time.Time
	shown   time.Time
	done    int64 // bytes of total
	total   int64 // 0: not known
	count   int64 // messages
	octets  int64
	width   int // of the line on the terminal
	skipped int64
}

func newProgress(w io.Writer, what string) *progress {
	now := time.Now()
	return &progress{w: w, what: what, terminal: isTerminal(w), start: now, shown: now}
}

// at says how much of the work is done.
func (p *progress) at(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total = done, total
	p.show()
}

// counted says how many messages are done.
func (p *progress) counted(count, octets, skipped int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count, p.octets, p.skipped = count, octets, skipped
	p.show()
}

// bytes says how much is done where messages are not counted.
func (p *progress) bytes(octets int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.octets = octets
	p.show()
}

// show writes the state if it is time to.
func (p *progress) show() {
	interval := progressPlain
	if p.terminal {
		interval = progressTerminal
	}
	if now := time.Now(); now.Sub(p.shown) >= interval {
		p.shown = now
		p.print(p.line(now))
	}
}

func (p *progress) print(line string) {
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	fmt.Fprintf(p.w, "\r%-*s", p.width, line)
	p.width = len(line)
}

func (p *progress) line(now time.Time) string {
	elapsed := now.Sub(p.start)
	line := fmt.Sprintf("%d messages %s, %s", p.count, p.what, byteCount(p.octets))
	if p.count == 0 && p.octets > 0 {
		return fmt.Sprintf("%s %s, %s/s", byteCount(p.octets), p.what, byteCount(int64(float64(p.octets)/max(elapsed.Seconds(), 0.001))))
	}
	if p.skipped > 0 {
		line += fmt.Sprintf(", %d already there", p.skipped)
	}
	if s := elapsed.Seconds(); s > 0 {
		line += fmt.Sprintf(", %.0f messages/s, %s/s", float64(p.count+p.skipped)/s, byteCount(int64(float64(p.octets)/s)))
	}
	if p.total > 0 {
		line = fmt.Sprintf("%3d%%  ", min(100, p.done*100/p.total)) + line
		if p.done > 0 && elapsed > progressSettle {
			left := time.Duration(float64(elapsed) * float64(max(0, p.total-p.done)) / float64(p.done))
			line += ", " + roundTime(left) + " left"
		}
	}
	return line
}

// message writes a line beside the progress.
func (p *progress) message(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *progress) clear() {
	if p.terminal && p.width > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.width, "")
		p.width = 0
	}
}

// finish takes the changing line away.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// roundTime is a duration as people say it.
func roundTime(d time.Duration) string {
	switch {
	case d > time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	case d > time.Minute:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds())+1)
}

// byteCount is a number of bytes as people say it.
func byteCount(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
