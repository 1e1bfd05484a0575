package daprlocal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// process is one of Dapr's, as a child.
type process struct {
	name   string
	health string // URL that answers 2xx when it is up
	binary string
	args   []string
	env    []string

	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // why; valid once ended is closed
	tail  tail
}

// start starts the process; it is killed when this one dies, however it dies.
func (p *process) start(log zerolog.Logger) error {
	p.ended = make(chan struct{})
	p.cmd = exec.Command(p.binary, p.args...) //nolint:gosec,noctx // the paths are ours, and stop ends it in order
	p.cmd.Env = p.env
	dieWithParent(p.cmd)
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		close(p.ended)
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	cmd, ended := p.cmd, p.ended
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.tail.add(lines.Text())
			log.Debug().Str("process", p.name).Msg(lines.Text())
		}
		_, _ = io.Copy(io.Discard, r) // after a line that is too long: the child must not block
	})
	go func() {
		p.err = cmd.Wait()
		_ = w.Close() // never fails
		reading.Wait()
		close(ended)
	}()
	return nil
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// healthy waits until the process answers.
func (p *process) healthy(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, p.health) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("%s ended before it was up: %w\n%s", p.name, errors.Join(p.err), p.tail.reason())
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy: %w\n%s", p.name, context.Cause(ctx), p.tail.reason())
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
	res, err := probe.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // its status is all that counts
	return res.StatusCode < 300
}

var probe = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// stop asks the process to end, and makes it after a while.
func (p *process) stop(within time.Duration) {
	if err := terminate(p.cmd.Process); err == nil {
		timer := time.NewTimer(within)
		defer timer.Stop()
		select {
		case <-p.ended:
			return
		case <-timer.C:
		}
	}
	p.kill()
}

// tail keeps the last lines of a log.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > 200 {
		t.lines = t.lines[100:]
	}
}

// reason picks the lines that say why: errors and worse, else the last few.
func (t *tail) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var bad []string
	for _, l := range t.lines {
		if strings.Contains(l, "level=fatal") || strings.Contains(l, "level=error") || strings.Contains(l, "panic:") {
			bad = append(bad, l)
		}
	}
	if len(bad) == 0 {
		bad = t.lines
	}
	return strings.Join(bad[max(0, len(bad)-3):], "\n")
}
