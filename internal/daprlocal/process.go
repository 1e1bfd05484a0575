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

// process is one of Dapr's, as a child.
type process struct {
	name   string
	health string // URL that answers 2xx when it is up
	binary string
	args   []string
	env    []string
	out    *log.Logger // for its lines; may be nil

	mu     sync.Mutex
	life   *life
	wanted bool // when it ends by itself, it is started again
	tail   tail
}

// life is one run of a process.
type life struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // why; valid once ended is closed
}

// start starts the process; it is killed when this one dies, however it dies.
func (p *process) start(logger zerolog.Logger) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begin(logger)
}

// restart starts it again after a life that ended by itself; it does nothing,
// and returns nil, if that was somebody's doing.
func (p *process) restart(logger zerolog.Logger, after *life) (*life, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wanted || p.life != after {
		return nil, nil
	}
	if err := p.begin(logger); err != nil {
		return nil, err
	}
	return p.life, nil
}

// wants reports whether it is to be started again after that life.
func (p *process) wants(after *life) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted && p.life == after
}

func (p *process) begin(logger zerolog.Logger) error {
	cmd := exec.Command(p.binary, p.args...) //nolint:gosec,noctx // the paths are ours, and stop ends it in order
	cmd.Env = p.env
	dieWithParent(cmd)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	l := &life{cmd: cmd, ended: make(chan struct{})}
	p.life, p.wanted = l, true
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
		_, _ = io.Copy(io.Discard, r) // after a line that is too long: the child must not block
	})
	go func() {
		l.err = cmd.Wait()
		_ = w.Close() // never fails
		reading.Wait()
		close(l.ended)
	}()
	return nil
}

// now is the process's latest life.
func (p *process) now() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

// unwanted says that the process's end is meant.
func (p *process) unwanted() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = false
	return p.life
}

// kill is kill -9.
func (p *process) kill() {
	l := p.unwanted()
	_ = l.cmd.Process.Kill() // it may have ended by itself
	<-l.ended
}

// healthyWithin waits until the process answers.
func (p *process) healthyWithin(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errors.New("not within "+within.String()))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	l := p.now()
	for {
		if answers(ctx, p.health) {
			if fault := p.tail.fault(); fault != "" {
				return fmt.Errorf("%s: %s", p.name, fault)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-l.ended:
			return fmt.Errorf("%s ended before it was up: %s (%w)", p.name, p.tail.reason(atStart), ended(l.err))
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy: %s (%w)", p.name, p.tail.reason(atStart), context.Cause(ctx))
		}
	}
}

func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	res, err := httpcall.Do(probe, req)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // its status is all that counts
	return res.StatusCode < 300
}

var probe = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// stop asks the process to end, and makes it after a while.
func (p *process) stop(within time.Duration) {
	l := p.unwanted()
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
	faults []string // all of those lines that speak of a file that is passed over
}

func (t *tail) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines, t.faults = nil, nil
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if unread.MatchString(line) {
		t.faults = append(t.faults, line)
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > 200 {
		t.lines = t.lines[100:]
	}
}

// atStart mark the lines that say why a process did not come up: what it says
// of a component, its fatal line repeats at length. Later on, errors are what it
// has lived with.
var (
	atStart = []string{"Failed to init component", "level=fatal", "panic:", "level=error"}
	later   = []string{"level=fatal", "panic:"}
)

// reason says, in one line, why a process ended: by the line with the first of
// the marks that is there, or by the last one.
func (t *tail) reason(marks []string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return "it said nothing"
	}
	why := t.lines[len(t.lines)-1]
	for _, mark := range marks {
		if i := slices.IndexFunc(t.lines, func(l string) bool { return strings.Contains(l, mark) }); i >= 0 {
			why = t.lines[i]
			break
		}
	}
	return text(why)
}

// fault is what daprd says of a file that it cannot use. It says it, and goes
// on without that file's policies or components.
func (t *tail) fault() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) == 0 {
		return ""
	}
	i := slices.IndexFunc(t.faults, func(l string) bool { return strings.Contains(l, "daprd load") }) // names the file
	return text(t.faults[max(i, 0)])
}

var unread = regexp.MustCompile(`msg="(Could not (read|parse|determine) (resiliency|resource type)|daprd load \w+ error when )`)

// text is what a line of a log says.
func text(line string) string {
	if m := message.FindStringSubmatch(line); m != nil {
		if text, err := strconv.Unquote(m[1]); err == nil {
			line = text
		}
	}
	line = password.ReplaceAllString(line, "$1…")
	return strings.Join(strings.Fields(line), " ")
}

// password is one in a connection string, which a driver repeats when it cannot
// read it.
var password = regexp.MustCompile(`(://[^:/@\s]*:|password=)[^@\s]+`)

// message is the text in a line of Dapr's logs.
var message = regexp.MustCompile(`msg=("(?:[^"\\]|\\.)*")`)

// ended is how a process that should run on has ended.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
