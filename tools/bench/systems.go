package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

// system is a workflow system that is measured.
type system struct {
	name    string
	syncs   string // what is on disk when a step or a saga is acknowledged
	source  string // the evidence for syncs
	measure measureFunc
}

// measureFunc starts a system with its data in dir, measures and stops it.
type measureFunc func(ctx context.Context, dir string, inFlight int, window time.Duration) (measure.System, error)

// peer is a system that runs its steps in this process.
type peer struct {
	saga  measure.Saga // three empty activities
	stops []func()
}

// peerSystem returns the measure function of a peer.
func peerSystem(start func(ctx context.Context, dir string) (peer, error)) measureFunc {
	return func(ctx context.Context, dir string, inFlight int, window time.Duration) (m measure.System, err error) {
		p, err := start(ctx, dir)
		defer p.stop() // also what was started before an error
		if err == nil {
			m, err = measure.Both(ctx, p.saga, inFlight, window)
		}
		if err != nil {
			return m, withLogs(err, dir)
		}
		return m, nil
	}
}

// stop stops the system, in the reverse order of its start.
func (p *peer) stop() {
	for _, v := range slices.Backward(p.stops) {
		v()
	}
}

// atStop adds a function for stop to call.
func (p *peer) atStop(f func()) { p.stops = append(p.stops, f) }

// Names of the systems for which there are targets.
const (
	ours        = "**embedded as `worker` runs it: fsync=group, `GOGC=400`**"
	dbosName    = "DBOS Go 1.8.0, PostgreSQL"
	restateName = "Restate 1.7.12, workflow"
	serviceName = "Restate 1.7.12, service with idempotency keys"
)

// baselineName returns the name of the engine of an older commit.
func baselineName(commit string) string { return "embedded at " + commit + ", fsync=group" }

// systems returns the systems in the order of the report. bin is the directory with their
// programs.
func systems(bin, baseline string, today, older build) []system {
	const group, none = "each step, several steps per fsync", "nothing"
	const sqliteDefaults = "so SQLite's defaults apply: `journal_mode=DELETE`, `synchronous=FULL`"
	return []system{
		{name: ours, measure: today.engine("group", "GOGC=400"), syncs: group, source: "`internal/journal`; `cmd/ordersaga/gogc.go`"},
		{name: baselineName(baseline), measure: older.engine("group"), syncs: group}, // as its worker ran it
		{
			name: dbosName, measure: peerSystem(dbosOnPostgreSQL),
			syncs: "each step, by PostgreSQL's group commit", source: "`fsync` and `synchronous_commit` are on by default",
		},
		{
			name: restateName, measure: peerSystem(restateServer(bin, true)),
			syncs: "each step", source: "24 partitions and `rocksdb-disable-wal-fsync = false` by default (`restate-server --dump-config`)",
		},
		{name: serviceName, measure: peerSystem(restateServer(bin, false)), syncs: "each step"},
		{name: "embedded, memory", measure: today.engine(""), syncs: none},
		{name: "embedded at " + baseline + ", memory", measure: older.engine(""), syncs: none},
		{name: "embedded, fsync=group, `GOGC=100`", measure: today.engine("group"), syncs: group},
		{name: "embedded at " + baseline + ", fsync=group, `GOGC=400`", measure: older.engine("group", "GOGC=400"), syncs: group},
		{name: "embedded, fsync=always", measure: today.engine("always"), syncs: "each step, one fsync per step"},
		{
			name: "embedded, fsync=off", measure: today.engine("off"),
			syncs: "nothing; it is written, so it survives a crash of the process but not a power failure",
		},
		{
			name: "DTM 1.18.0, bolt", measure: peerSystem(dtm(bin)),
			syncs: "the start and the end of a saga; its steps up to 200 ms later",
			source: "`bolt.Open` without `NoSync` in `dtmsvr/storage/boltdb/boltdb.go`; " +
				"`updateBranchAsync` in `dtmsvr/svr.go`",
		},
		{
			name:    "durabletask-go 0.12.1, SQLite (WAL, synchronous=NORMAL)",
			measure: peerSystem(sqliteBackend("?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")),
			syncs:   "nothing until a checkpoint of the WAL", source: "the pragmas",
		},
		{
			name: "durabletask-go 0.12.1, SQLite", measure: peerSystem(sqliteBackend("")),
			syncs: "each step, two or more fsyncs per step", source: "no pragmas in `backend/sqlite/sqlite.go`, " + sqliteDefaults,
		},
		{
			name: "Dapr 1.18.2, Redis", measure: peerSystem(daprOnRedis(bin)),
			syncs:  "Redis: within a second; etcd of the scheduler: each reminder",
			source: "Redis runs with `--appendfsync everysec`; etcd's default",
		},
		{
			name: "Temporal dev server (CLI 1.9.1), SQLite", measure: peerSystem(temporal(bin)),
			syncs:  "each transition, two or more fsyncs per transition",
			source: "no pragmas in `buildSQLConfig`, `internal/devserver/server.go`, " + sqliteDefaults,
		},
	}
}

// pick returns the systems whose name contains a word, in any case.
func pick(all []system, word string) (picked []system) {
	for _, s := range all {
		if strings.Contains(strings.ToLower(s.name), strings.ToLower(word)) {
			picked = append(picked, s)
		}
	}
	return picked
}

// dbosOnPostgreSQL starts DBOS on a PostgreSQL of its own.
func dbosOnPostgreSQL(ctx context.Context, dir string) (p peer, err error) {
	url, stop, err := postgresql(ctx, dir)
	p.atStop(stop)
	if err != nil {
		return p, err
	}
	c, err := dbos.NewContext(ctx, dbos.Config{AppName: "bench", DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return p, fmt.Errorf("open DBOS: %w", err)
	}
	p.atStop(func() { _ = dbos.Shutdown(c, 10*time.Second) }) // its database is removed next
	nothing := func(context.Context) (string, error) { return "", nil }
	chain := func(ctx dbos.Context, input string) (string, error) {
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

// dtm starts DTM with bolt storage, and an HTTP server for its three steps: DTM has no other
// kind of activity.
func dtm(bin string) func(ctx context.Context, dir string) (peer, error) {
	return func(ctx context.Context, dir string) (p peer, err error) {
		binary := filepath.Join(bin, "dtm")
		if _, err := os.Stat(binary); err != nil {
			return p, missingError("`make bin/dtm`")
		}
		var ports [3]string
		for i := range ports {
			ports[i], err = freePort()
			if err != nil {
				return p, err
			}
		}
		cmd := exec.Command(binary) //nolint:gosec,noctx // stop terminates it
		cmd.Dir = dir               // DTM writes dtm.bolt into it
		cmd.Env = append(os.Environ(), "LOG_LEVEL=error", "HTTP_PORT="+ports[0], "GRPC_PORT="+ports[1], "JSON_RPC_PORT="+ports[2])
		stop, err := child(ctx, ports[0], cmd)
		p.atStop(stop)
		if err != nil {
			return p, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening on loopback does not block
		if err != nil {
			return p, fmt.Errorf("listen for DTM's steps: %w", err)
		}
		steps := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"dtm_result":"SUCCESS"}`) // DTM retries a step without it
		})}
		go func() { _ = steps.Serve(l) }()     // returns when the server is closed
		p.atStop(func() { _ = steps.Close() }) // no request is in progress
		web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
		p.atStop(web.CloseIdleConnections)
		url := "http://" + l.Addr().String()
		step := map[string]string{"action": url + "/do", "compensate": url + "/undo"}
		p.saga = func(ctx context.Context, id string) error {
			body, err := json.Marshal(map[string]any{
				"gid": id, "trans_type": "saga", "wait_result": true,
				"steps": []any{step, step, step}, "payloads": []string{"{}", "{}", "{}"},
			})
			if err != nil {
				return err
			}
			response, err := post(ctx, web, "http://127.0.0.1:"+ports[0]+"/api/dtmsvr/submit", body, nil)
			if err == nil && !bytes.Contains(response, []byte("SUCCESS")) {
				err = fmt.Errorf("DTM returned: %s", response)
			}
			return err
		}
		return p, nil
	}
}

// temporal starts the Temporal dev server on SQLite.
func temporal(bin string) func(ctx context.Context, dir string) (peer, error) {
	return func(ctx context.Context, dir string) (p peer, err error) {
		binary := filepath.Join(bin, "temporal")
		if _, err := os.Stat(binary); err != nil {
			return p, missingError("`make bin/temporal`")
		}
		port, err := freePort()
		if err != nil {
			return p, err
		}
		serve := exec.Command(binary, "-port", port, "-db-filename", filepath.Join(dir, "temporal.db")) //nolint:gosec,noctx // stop terminates it
		serve.Dir = dir
		stop, err := child(ctx, port, serve)
		p.atStop(stop)
		if err != nil {
			return p, err
		}
		c, err := client.Dial(client.Options{
			HostPort: "127.0.0.1:" + port, Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		})
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
