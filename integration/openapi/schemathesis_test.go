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

// TestSchemathesis has Schemathesis try all operations of the document, with what
// it allows and with what it does not: nothing is answered with 5xx, with a
// status or a content type that is not in the document, or to whoever has no
// token. It is in parts, for some operations wait: its own threads do not do
// (Hypothesis looks at the depth of the stack, and threads change that).
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
	for _, p := range parts { // all at once: most of the time they wait
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

// judge says how many requests were made.
func (p *part) judge(t *testing.T) (requests int) {
	if p.err != nil {
		t.Errorf("%v\n%s", p.err, p.out)
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
		t.Errorf("not all was tried: %+v %v", run, err)
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
			t.Errorf("%s was never refused: %v", label, statuses)
		}
	}
	t.Logf("%d requests to %d operations, %d of them with success", requests, run.Operations.Tested, good)
	if requests < p.least || (good > 0) != p.token {
		t.Errorf("%d requests, %d of them with success: %v", requests, good, tried)
	}
	return requests
}

// closedSystem lets nobody in without a token.
func closedSystem(t *testing.T) (testkit.System, *authtest.Issuer) {
	t.Helper()
	var issuer *authtest.Issuer
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		issuer = testkit.RequireTokens(t, w)
	}, nil)
	s.SetStock(t, map[string]int64{"A": 1000, "SKU-1": 1000})
	return s, issuer
}

// answers reads how often each operation was answered with which status; 0 is no
// answer, as of a stream that was left.
func answers(t *testing.T, events string) map[string]map[int]int {
	t.Helper()
	f, err := os.Open(events)
	if err != nil {
		t.Fatal(err)
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
				t.Fatal(err)
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
			t.Fatal(readErr)
		}
	}
}
