package daprlocal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/httpcall"
)

// process is a child process that runs one of Dapr's programs.
type process struct {
	name   string
	health string // URL that returns 2xx when the process is up
	binary string
	args   []string
	env    []string
	out    *log.Logger // gets its output lines; may be nil

	mu       sync.Mutex
	run      *processRun // the latest
	restarts bool        // restart it when it exits by itself
	tail     tail
}

// processRun is one run of a process.
type processRun struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has exited
	err   error         // of cmd.Wait; valid once ended is closed
}

// start starts the process. The kernel kills it when this program exits, for
// whatever reason (on Linux).
func (p *process) start(logger zerolog.Logger) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.launch(logger)
}

// restart starts the process again after a run that ended by itself. It does
// nothing and returns nil if that exit was requested, or if it runs again already.
func (p *process) restart(logger zerolog.Logger, after *processRun) (*processRun, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.restarts || p.run != after {
		return nil, nil
	}
	if err := p.launch(logger); err != nil {
		return nil, err
	}
	return p.run, nil
}

// shouldRestart reports whether the process is to be restarted after that run.
func (p *process) shouldRestart(after *processRun) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts && p.run == after
}

func (p *process) launch(logger zerolog.Logger) error {
	cmd := exec.Command(p.binary, p.args...) //nolint:gosec,noctx // the paths are from Find, and stop ends it gracefully
	cmd.Env = p.env
	killWithParent(cmd)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	l := &processRun{cmd: cmd, ended: make(chan struct{})}
	p.run, p.restarts = l, true
	p.tail.clear()
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.tail.add(lines.Text())
			logger.Debug().Str("process", p.name).Msg(lines.Text())
			if p.out != nil {
				p.out.Printf("%-18s| %s", p.name, lines.Text())
			}
		}
		_, _ = io.Copy(io.Discard, r) // after a line that is too long, so that the child does not block
	})
	go func() {
		l.err = cmd.Wait()
		_ = w.Close() // never fails
		reading.Wait()
		close(l.ended)
	}()
	return nil
}

// current returns the latest run.
func (p *process) current() *processRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// expectExit marks the process's exit as requested, and returns the latest run.
func (p *process) expectExit() *processRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restarts = false
	return p.run
}

// kill sends SIGKILL and waits for the exit.
func (p *process) kill() {
	l := p.expectExit()
	_ = l.cmd.Process.Kill() // it may have exited by itself
	<-l.ended
}

// healthyWithin waits until the process's health check succeeds. It fails if the
// process exits, or has reported a file that it cannot use.
func (p *process) healthyWithin(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errors.New("not within "+within.String()))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	l := p.current()
	for {
		if responds(ctx, p.health) {
			if fault := p.tail.fault(); fault != "" {
				return fmt.Errorf("%s: %s", p.name, fault)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-l.ended:
			return fmt.Errorf("%s ended before it was up: %s (%w)", p.name, p.tail.reason(startMarks), exitError(l.err))
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy: %s (%w)", p.name, p.tail.reason(startMarks), context.Cause(ctx))
		}
	}
}

func responds(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	res, err := httpcall.Do(probeClient, req)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // only the status matters
	return res.StatusCode < 300
}

var probeClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// stop sends SIGTERM, and kills the process if it has not exited within the time.
func (p *process) stop(within time.Duration) {
	l := p.expectExit()
	if err := terminate(l.cmd.Process); err == nil {
		timer := time.NewTimer(within)
		defer timer.Stop()
		select {
		case <-l.ended:
			return
		case <-timer.C:
		}
	}
	p.kill()
}

// tail keeps the last lines of a log.
type tail struct {
	mu     sync.Mutex
	lines  []string
	faults []string // all lines that report an ignored file
}

func (t *tail) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines, t.faults = nil, nil
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if unreadableFile.MatchString(line) {
		t.faults = append(t.faults, line)
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > 200 {
		t.lines = t.lines[100:]
	}
}

// Marks of the log lines that explain an exit, the most specific first. A process
// that did not start repeats its component's error at length in its fatal line.
// Later in its run, lines of level error are not why it exited.
var (
	startMarks = []string{"Failed to init component", "level=fatal", "panic:", "level=error"}
	exitMarks  = []string{"level=fatal", "panic:"}
)

// reason returns the log line that explains why a process exited: the one with the
// first of the marks that occurs, or else the last line.
func (t *tail) reason(marks []string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return "it wrote no log"
	}
	why := t.lines[len(t.lines)-1]
	for _, mark := range marks {
		if i := slices.IndexFunc(t.lines, func(l string) bool { return strings.Contains(l, mark) }); i >= 0 {
			why = t.lines[i]
			break
		}
	}
	return messageOf(why)
}

// fault returns daprd's report of a file that it cannot use, or "". daprd only logs
// it, and continues without that file's policies or components.
func (t *tail) fault() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) == 0 {
		return ""
	}
	i := slices.IndexFunc(t.faults, func(l string) bool { return strings.Contains(l, "daprd load") }) // names the file
	return messageOf(t.faults[max(i, 0)])
}

var unreadableFile = regexp.MustCompile(`msg="(Could not (read|parse|determine) (resiliency|resource type)|daprd load \w+ error when )`)

// messageOf returns the message of a line of a log, without passwords.
func messageOf(line string) string {
	if m := message.FindStringSubmatch(line); m != nil {
		if text, err := strconv.Unquote(m[1]); err == nil {
			line = text
		}
	}
	line = password.ReplaceAllString(line, "$1…")
	return strings.Join(strings.Fields(line), " ")
}

// password matches a password in a connection string, which drivers repeat when
// they cannot parse it.
var password = regexp.MustCompile(`(://[^:/@\s]*:|password=)[^@\s]+`)

// message matches the text in a line of Dapr's logs.
var message = regexp.MustCompile(`msg=("(?:[^"\\]|\\.)*")`)

// exitError returns why a process that should not exit has exited; err is that of
// cmd.Wait.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
