package openapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ordersaga/ordersaga/internal/auth/authtest"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestSchemathesis runs Schemathesis on all operations of the document, with valid and
// invalid requests. No response has a 5xx status, or a status or content type that is not in
// the document, and none is a success without a token. It runs in parts at the same time, as
// some operations wait. Schemathesis' own threads do not help: Hypothesis checks the depth
// of the stack, which threads change.
func TestSchemathesis(t *testing.T) {
	program := testkit.Pinned(t, "schemathesis/bin/st", "schemathesis")
	const letters, streams, all = "^/v1/(dead-letters|customers)/", "/events$", "."
	parts := map[string]*part{
		"operator":               {token: true, paths: all, except: letters + "|" + streams, examples: "320", least: 5000},
		"operator, dead letters": {token: true, paths: letters, examples: "4", least: 80},
		"operator, streams":      {token: true, paths: streams, examples: "4", least: 20},
		"nobody":                 {paths: all, examples: "115", least: 4000},
	}
	var running sync.WaitGroup
	for _, p := range parts { // at the same time: most of the time they wait
		s, issuer := closedSystem(t)
		p.dir = t.TempDir()
		args := []string{
			"--config-file", filepath.Join(testkit.Root(t), "tools/schemathesis/schemathesis.toml"), "run", s.API + "/openapi.json",
			"--include-path-regex", p.paths, "--max-examples", p.examples, "--report", "json,ndjson",
			"--report-json-path", filepath.Join(p.dir, "run"), "--report-ndjson-path", filepath.Join(p.dir, "events"),
		}
		if p.except != "" {
			args = append(args, "--exclude-path-regex", p.except)
		}
		if p.token {
			args = append(args, "--header", "Authorization: Bearer "+issuer.Token("operator"))
		}
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = p.dir
		running.Go(func() { p.out, p.err = cmd.CombinedOutput() })
	}
	running.Wait()
	total := 0
	for name, p := range parts {
		t.Run(name, func(t *testing.T) { total += p.judge(t) })
	}
	t.Logf("%d requests", total)
}

// part is a run of Schemathesis.
type part struct {
	token         bool   // an operator's
	paths, except string // expressions
	examples      string // of each operation, at most
	least         int    // requests that it must make

	dir string // for its reports
	out []byte
	err error
}

// judge checks the reports of the run and returns the number of requests.
func (p *part) judge(t *testing.T) (requests int) {
	if p.err != nil {
		t.Errorf("Schemathesis: %v, want success: %s", p.err, p.out)
	}
	var run struct {
		Complete   bool
		Operations struct{ Selected, Tested int }
	}
	b, err := os.ReadFile(filepath.Join(p.dir, "run"))
	if err == nil {
		err = json.Unmarshal(b, &run)
	}
	if err != nil || !run.Complete || run.Operations.Tested < 1 || run.Operations.Tested != run.Operations.Selected {
		t.Errorf("run = %+v, error = %v, want all selected operations tested", run, err)
	}
	good := 0
	tried := answers(t, filepath.Join(p.dir, "events"))
	for label, statuses := range tried {
		behind := strings.Contains(label, " /v1/") // the token
		for status, n := range statuses {
			requests += n
			if behind && status >= 200 && status < 300 {
				good += n
			}
		}
		if behind && !p.token && statuses[http.StatusUnauthorized] == 0 {
			t.Errorf("%s without a token: statuses = %v, want some 401", label, statuses)
		}
	}
	t.Logf("%d requests to %d operations, %d of them with success", requests, run.Operations.Tested, good)
	if requests < p.least || (good > 0) != p.token {
		t.Errorf("requests = %d, successful = %d, want at least the minimum, and successes only with a token: %v", requests, good, tried)
	}
	return requests
}

// closedSystem returns a system that requires a token.
func closedSystem(t *testing.T) (testkit.System, *authtest.Issuer) {
	t.Helper()
	var issuer *authtest.Issuer
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		issuer = testkit.RequireTokens(t, w)
	}, nil)
	s.SetStock(t, map[string]int64{"A": 1000, "SKU-1": 1000})
	return s, issuer
}

// answers returns the number of responses by operation and status. Status 0 is no response,
// as for a stream that the client closed.
func answers(t *testing.T, events string) map[string]map[int]int {
	t.Helper()
	f, err := os.Open(events)
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	defer f.Close()
	all := map[string]map[int]int{}
	for lines := bufio.NewReader(f); ; {
		line, readErr := lines.ReadBytes('\n')
		var event struct {
			ScenarioFinished struct {
				Recorder struct {
					Label        string
					Interactions map[string]struct {
						Response *struct {
							Status int `json:"status_code"`
						}
					}
				}
			}
		}
		if len(line) > 0 {
			if err := json.Unmarshal(line, &event); err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
		}
		for _, i := range event.ScenarioFinished.Recorder.Interactions {
			label, status := event.ScenarioFinished.Recorder.Label, 0
			if i.Response != nil {
				status = i.Response.Status
			}
			if all[label] == nil {
				all[label] = map[int]int{}
			}
			all[label][status]++
		}
		if errors.Is(readErr, io.EOF) {
			return all
		}
		if readErr != nil {
			t.Fatalf("readErr = %v", readErr)
		}
	}
}
