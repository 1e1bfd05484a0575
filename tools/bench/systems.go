package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// system is something that runs sagas.
type system struct {
	name  string
	syncs string // what is on disk when a step or a saga is acknowledged
	where string // that says so
	start func(ctx context.Context, dir string) (peer, error)
}

// peer is a system that runs: saga starts one of three activities that do
// nothing and waits for its end.
type peer struct {
	saga  func(ctx context.Context, id string) error
	stops []func()
}

func (p *peer) stop() {
	for i := len(p.stops) - 1; i >= 0; i-- {
		p.stops[i]()
	}
}

func (p *peer) atStop(f func()) { p.stops = append(p.stops, f) }

// Names that ratios are made of.
const (
	ours       = "**embedded, fsync=group**"
	dbosName   = "DBOS Go 0.8.0, PostgreSQL"
	dtmName    = "DTM 1.18.0, bolt"
	sqliteName = "durabletask-go 0.12.1, SQLite"
)

func systems(bin string) []system {
	return []system{
		{ours, "each step, many in one fsync", "`internal/journal`", embeddedEngine(true, journal.SyncGroup)},
		{"embedded, fsync=always", "each step, an fsync each", "`internal/journal`", embeddedEngine(true, journal.SyncAlways)},
		{"embedded, fsync=off", "nothing; written, so it survives the process, not the power", "`internal/journal`", embeddedEngine(true, journal.SyncOff)},
		{"embedded, memory", "nothing", "", embeddedEngine(false, journal.SyncOff)},
		{dbosName, "each step, by PostgreSQL's group commit", "`fsync` and `synchronous_commit` are on by default", dbosOnPostgreSQL},
		{dtmName, "the saga's start and end; its steps up to 200 ms later", "`bolt.Open` without `NoSync` in `dtmsvr/storage/boltdb/boltdb.go`; `updateBranchAsync` in `dtmsvr/svr.go`", dtm(bin)},
		{sqliteName + " (WAL, synchronous=NORMAL)", "nothing until a checkpoint of the WAL", "the pragmas", sqliteBackend("?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")},
		{sqliteName, "each step, two or more fsyncs each", "no pragmas in `backend/sqlite/sqlite.go`, so SQLite's defaults: `journal_mode=DELETE`, `synchronous=FULL`", sqliteBackend("")},
		{"Dapr 1.18.2, Redis", "Redis: within a second; the scheduler's etcd: each reminder", "Redis runs with `--appendfsync everysec`; etcd's default", daprOnRedis(bin)},
		{"Temporal dev server (CLI 1.5.0), SQLite", "each transition, two or more fsyncs each", "no pragmas in `buildSQLConfig`, `temporalcli/devserver/server.go`, so SQLite's defaults: `journal_mode=DELETE`, `synchronous=FULL`", temporal(bin)},
	}
}

// pick keeps those whose name contains a word.
func pick(all []system, word string) (picked []system) {
	for _, s := range all {
		if strings.Contains(strings.ToLower(s.name), strings.ToLower(word)) {
			picked = append(picked, s)
		}
	}
	return picked
}

func dbosOnPostgreSQL(ctx context.Context, dir string) (p peer, err error) {
	url, stop, err := postgresql(ctx, dir)
	p.atStop(stop)
	if err != nil {
		return p, err
	}
	c, err := dbos.NewDBOSContext(ctx, dbos.Config{AppName: "bench", DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return p, fmt.Errorf("open DBOS: %w", err)
	}
	p.atStop(func() { dbos.Shutdown(c, 10*time.Second) })
	nothing := func(context.Context) (string, error) { return "", nil }
	chain := func(ctx dbos.DBOSContext, input string) (string, error) {
		for range 3 {
			if _, err := dbos.RunAsStep(ctx, nothing); err != nil {
				return "", err
			}
		}
		return input, nil
	}
	dbos.RegisterWorkflow(c, chain)
	if err := dbos.Launch(c); err != nil {
		return p, fmt.Errorf("launch DBOS: %w", err)
	}
	p.saga = func(_ context.Context, id string) error {
		h, err := dbos.RunWorkflow(c, chain, "", dbos.WithWorkflowID(id))
		if err == nil {
			_, err = h.GetResult()
		}
		return err
	}
	return p, nil
}

// dtm calls each of the three steps by HTTP: it has no other activities.
func dtm(bin string) func(ctx context.Context, dir string) (peer, error) {
	return func(ctx context.Context, dir string) (p peer, err error) {
		binary := filepath.Join(bin, "dtm")
		if _, err := os.Stat(binary); err != nil {
			return p, missing("`make bin/dtm`")
		}
		var ports [3]string
		for i := range ports {
			if ports[i], err = freePort(); err != nil {
				return p, err
			}
		}
		cmd := exec.Command(binary) //nolint:gosec,noctx // stop ends it
		cmd.Dir = dir               // where it puts dtm.bolt
		cmd.Env = append(os.Environ(), "LOG_LEVEL=error", "HTTP_PORT="+ports[0], "GRPC_PORT="+ports[1], "JSON_RPC_PORT="+ports[2])
		stop, err := child(ctx, ports[0], cmd)
		p.atStop(stop)
		if err != nil {
			return p, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
		if err != nil {
			return p, fmt.Errorf("listen for DTM's steps: %w", err)
		}
		steps := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"dtm_result":"SUCCESS"}`) // DTM tries again without it
		})}
		go func() { _ = steps.Serve(l) }()     // ends with the next line
		p.atStop(func() { _ = steps.Close() }) // nobody waits for an answer
		web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
		p.atStop(web.CloseIdleConnections)
		step := map[string]string{"action": "http://" + l.Addr().String() + "/do", "compensate": "http://" + l.Addr().String() + "/undo"}
		p.saga = func(ctx context.Context, id string) error {
			body, err := json.Marshal(map[string]any{
				"gid": id, "trans_type": "saga", "wait_result": true,
				"steps": []any{step, step, step}, "payloads": []string{"{}", "{}", "{}"},
			})
			if err != nil {
				return err
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+ports[0]+"/api/dtmsvr/submit", bytes.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := web.Do(req)
			if err != nil {
				return err
			}
			answer, err := io.ReadAll(res.Body)
			err = errors.Join(err, res.Body.Close())
			if err == nil && !bytes.Contains(answer, []byte("SUCCESS")) {
				err = fmt.Errorf("DTM answers %s: %s", res.Status, answer)
			}
			return err
		}
		return p, nil
	}
}

func temporal(bin string) func(ctx context.Context, dir string) (peer, error) {
	return func(ctx context.Context, dir string) (p peer, err error) {
		binary := filepath.Join(bin, "temporal")
		if _, err := os.Stat(binary); err != nil {
			return p, missing("`make bin/temporal`")
		}
		port, err := freePort()
		if err != nil {
			return p, err
		}
		stop, err := child(ctx, port, exec.Command(binary, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", port, //nolint:gosec,noctx // stop ends it
			"--db-filename", filepath.Join(dir, "temporal.db"), "--log-level", "error"))
		p.atStop(stop)
		if err != nil {
			return p, err
		}
		c, err := client.Dial(client.Options{HostPort: "127.0.0.1:" + port, Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
		if err != nil {
			return p, fmt.Errorf("connect to Temporal: %w", err)
		}
		p.atStop(c.Close)
		nothing := func(context.Context) error { return nil }
		chain := func(ctx workflow.Context) error {
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
			for range 3 {
				if err := workflow.ExecuteActivity(ctx, "nothing").Get(ctx, nil); err != nil {
					return err
				}
			}
			return nil
		}
		w := worker.New(c, "bench", worker.Options{})
		w.RegisterWorkflowWithOptions(chain, workflow.RegisterOptions{Name: "chain"})
		w.RegisterActivityWithOptions(nothing, activity.RegisterOptions{Name: "nothing"})
		if err := w.Start(); err != nil {
			return p, fmt.Errorf("start Temporal worker: %w", err)
		}
		p.atStop(w.Stop)
		p.saga = func(ctx context.Context, id string) error {
			run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "bench"}, "chain")
			if err == nil {
				err = run.Get(ctx, nil)
			}
			return err
		}
		return p, nil
	}
}
