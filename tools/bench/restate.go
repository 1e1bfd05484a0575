package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"
)

// restateServer starts Restate's server with its default settings, and the steps that it calls:
// as a workflow, or as a service with idempotency keys. Both run a saga once per id.
func restateServer(bin string, workflow bool) func(ctx context.Context, dir string) (peer, error) {
	return func(ctx context.Context, dir string) (p peer, err error) {
		binary := filepath.Join(bin, "restate-server")
		if _, err := os.Stat(binary); err != nil {
			return p, missingError("`make bin/restate-server`")
		}
		steps, err := restateSteps(&p)
		if err != nil {
			return p, err
		}
		var ports [3]string
		for i := range ports {
			ports[i], err = freePort()
			if err != nil {
				return p, err
			}
		}
		ingress, admin := "http://127.0.0.1:"+ports[1], "http://127.0.0.1:"+ports[2]
		cmd := exec.Command(binary, "--base-dir", filepath.Join(dir, "restate"), "--no-logo") //nolint:gosec,noctx // stop terminates it
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "RESTATE_LISTEN_MODE=tcp", "RESTATE_BIND_IP=127.0.0.1", "RESTATE_BIND_PORT="+ports[0],
			"RESTATE_ADVERTISED_HOST=127.0.0.1", "RESTATE_NODE_NAME=bench", "RESTATE_DISABLE_TELEMETRY=true", "RUST_LOG=warn",
			"RESTATE_INGRESS__BIND_ADDRESS=127.0.0.1:"+ports[1], "RESTATE_ADMIN__BIND_ADDRESS=127.0.0.1:"+ports[2])
		stop, err := child(ctx, ports[2], cmd)
		p.atStop(stop)
		if err != nil {
			return p, err
		}
		web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
		p.atStop(web.CloseIdleConnections)
		// It listens before it is ready.
		for err = errNotReady; err != nil; _, err = post(ctx, web, admin+"/deployments", []byte(`{"uri":"`+steps+`"}`), nil) {
			if ctx.Err() != nil {
				return p, fmt.Errorf("register the workflow with Restate: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		p.saga = func(ctx context.Context, id string) error {
			_, err := post(ctx, web, ingress+"/Service/Run", []byte(`""`), http.Header{"Idempotency-Key": {id}})
			return err
		}
		if workflow {
			p.saga = func(ctx context.Context, id string) error {
				_, err := post(ctx, web, ingress+"/Workflow/"+id+"/Run", []byte(`""`), nil)
				return err
			}
		}
		return p, nil
	}
}

var errNotReady = errors.New("not ready")

// restateSteps serves three empty steps on loopback, and returns the URL. Restate calls it over
// HTTP/2.
func restateSteps(p *peer) (url string, err error) {
	chain := func(ctx restate.Context) (string, error) {
		for range 3 {
			if err := restate.RunVoid(ctx, func(restate.RunContext) error { return nil }); err != nil {
				return "", err
			}
		}
		return "", nil
	}
	workflow := func(ctx restate.WorkflowContext, _ string) (string, error) { return chain(ctx) }
	service := func(ctx restate.Context, _ string) (string, error) { return chain(ctx) }
	handler, err := server.NewRestate().WithLogger(slog.DiscardHandler, true).
		Bind(restate.NewWorkflow("Workflow").Handler("Run", restate.NewWorkflowHandler(workflow))).
		Bind(restate.NewService("Service").Handler("Run", restate.NewServiceHandler(service))).
		Handler()
	if err != nil {
		return "", fmt.Errorf("serve Restate's steps: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening on loopback does not block
	if err != nil {
		return "", fmt.Errorf("listen for Restate's steps: %w", err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	steps := &http.Server{ReadHeaderTimeout: time.Minute, Handler: handler, Protocols: &protocols}
	go func() { _ = steps.Serve(l) }()     // returns when the server is closed
	p.atStop(func() { _ = steps.Close() }) // Restate has been stopped
	return "http://" + l.Addr().String(), nil
}
