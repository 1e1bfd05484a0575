package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// child starts a program, and waits up to 30 s until it listens on a port of 127.0.0.1. What it
// writes goes to a file in its directory (withLogs). The caller must call stop, also after an
// error.
func child(ctx context.Context, port string, cmd *exec.Cmd) (stop func(), err error) {
	log, err := os.Create(filepath.Join(cmd.Dir, filepath.Base(cmd.Path)+".log"))
	if err != nil {
		return func() {}, fmt.Errorf("create a log: %w", err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Start()
	_ = log.Close() // the program has a file descriptor of its own
	if err != nil {
		return func() {}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its output explains a failure
		close(ended)
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // for PostgreSQL a fast shutdown; fails only if the process has exited
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill() // fails only if the process has exited
			<-ended
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+port); err == nil {
			return stop, c.Close()
		}
		select {
		case <-ended:
			return stop, fmt.Errorf("%s exited", cmd.Path)
		case <-ctx.Done():
			return stop, fmt.Errorf("%s does not listen on its port: %w", cmd.Path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// withLogs adds the ends of the logs in a directory to an error.
func withLogs(err error, dir string) error {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log")) // fails only for an invalid pattern
	for _, name := range logs {
		if log, readErr := os.ReadFile(name); readErr == nil { // the error matters more
			err = fmt.Errorf("%w\n%s:\n%s", err, filepath.Base(name), tail(log))
		}
	}
	return err
}

// tail returns the end of what a program wrote.
func tail(out []byte) []byte { return bytes.TrimSpace(out[max(0, len(out)-2000):]) }

// post sends a JSON text with more headers, and returns the response. A status other than 2xx is an error.
func post(ctx context.Context, web *http.Client, url string, body []byte, more http.Header) (response []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, more)
	req.Header.Set("Content-Type", "application/json")
	res, err := web.Do(req)
	if err != nil {
		return nil, err
	}
	response, err = io.ReadAll(res.Body)
	err = errors.Join(err, res.Body.Close())
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("POST %s returned %s: %s", url, res.Status, tail(response))
	}
	return response, err
}

// freePort returns a free port of 127.0.0.1.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening on loopback does not block
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }() // only its number is needed
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// missingError reports that a program is not installed. It is the command that installs it.
type missingError string

// Error returns the command.
func (m missingError) Error() string { return "not installed: " + string(m) }

// redis starts a Redis with an append-only file, which it syncs every second. The caller must
// call stop, also after an error.
func redis(ctx context.Context, dir string) (address string, stop func(), err error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", func() {}, missingError("`apt-get install redis-server`")
	}
	port, err := freePort()
	if err != nil {
		return "", func() {}, err
	}
	serve := exec.Command(binary, "--port", port, "--bind", "127.0.0.1", "--dir", dir, //nolint:gosec,noctx // stop terminates it
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
	serve.Dir = dir
	stop, err = child(ctx, port, serve)
	return "127.0.0.1:" + port, stop, err
}

// postgresql starts Debian's PostgreSQL with its default settings. The caller must call stop,
// also after an error.
func postgresql(ctx context.Context, dir string) (url string, stop func(), err error) {
	initdbs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // fails only for an invalid pattern
	if len(initdbs) == 0 {
		return "", func() {}, missingError("`apt-get install postgresql`")
	}
	initdb := initdbs[len(initdbs)-1]
	as := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // PostgreSQL does not run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", func() {}, fmt.Errorf("look up the user postgres: %w", err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			return "", func() {}, fmt.Errorf("give PostgreSQL its data directory: %w", err)
		}
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	create := exec.CommandContext(ctx, initdb, //nolint:gosec // the path of a Debian package
		"-D", data, "-A", "trust", "-U", "bench", "--no-sync")
	create.SysProcAttr, create.Dir = as, dir
	if out, err := create.CombinedOutput(); err != nil {
		return "", func() {}, fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return "", func() {}, err
	}
	postgres := filepath.Join(filepath.Dir(initdb), "postgres")
	serve := exec.Command(postgres, "-D", data, "-p", port, "-k", dir, "-h", "127.0.0.1") //nolint:gosec,noctx // stop terminates it
	serve.SysProcAttr, serve.Dir = as, dir
	stop, err = child(ctx, port, serve)
	if err != nil {
		return "", stop, err
	}
	isReady := filepath.Join(filepath.Dir(initdb), "pg_isready")                              // PostgreSQL listens before it is ready
	for exec.CommandContext(ctx, isReady, "-q", "-h", "127.0.0.1", "-p", port).Run() != nil { //nolint:gosec // the path of a Debian package
		if ctx.Err() != nil {
			return "", stop, fmt.Errorf("PostgreSQL is not ready: %w", ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "postgres://bench@127.0.0.1:" + port + "/postgres?sslmode=disable", stop, nil
}
