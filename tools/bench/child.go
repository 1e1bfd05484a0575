package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// child starts a program and waits until it listens on a port of loopback.
func child(ctx context.Context, port string, cmd *exec.Cmd) (stop func(), err error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return func() {}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it has to say is in its output
		close(ended)
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // PostgreSQL's fast shutdown; it may have ended by itself
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill() // as above
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
			return stop, fmt.Errorf("%s ended: %s", cmd.Path, out.Bytes()[max(0, out.Len()-500):])
		case <-ctx.Done():
			return stop, fmt.Errorf("%s does not listen: %w", cmd.Path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }() // only its number was wanted
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// missing says how to get what is not there.
type missing string

func (m missing) Error() string { return "not here: " + string(m) }

// redis keeps an append-only file, which it syncs every second.
func redis(ctx context.Context, dir string) (address string, stop func(), err error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", func() {}, missing("`apt-get install redis-server`")
	}
	port, err := freePort()
	if err != nil {
		return "", func() {}, err
	}
	stop, err = child(ctx, port, exec.Command(binary, "--port", port, "--bind", "127.0.0.1", "--dir", dir, //nolint:gosec,noctx // stop ends it
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec"))
	return "127.0.0.1:" + port, stop, err
}

// postgresql starts Debian's PostgreSQL with its defaults.
func postgresql(ctx context.Context, dir string) (url string, stop func(), err error) {
	initdbs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // its only error is a bad pattern
	if len(initdbs) == 0 {
		return "", func() {}, missing("`apt-get install postgresql`")
	}
	initdb := initdbs[len(initdbs)-1]
	as := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // as whom PostgreSQL refuses to run
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", func() {}, fmt.Errorf("find PostgreSQL's user: %w", err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			return "", func() {}, fmt.Errorf("give PostgreSQL its folder: %w", err)
		}
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	create := exec.CommandContext(ctx, initdb, "-D", data, "-A", "trust", "-U", "bench", "--no-sync") //nolint:gosec // Debian's
	create.SysProcAttr, create.Dir = as, dir
	if out, err := create.CombinedOutput(); err != nil {
		return "", func() {}, fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return "", func() {}, err
	}
	serve := exec.Command(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-p", port, "-k", dir, "-h", "127.0.0.1") //nolint:gosec,noctx // stop ends it
	serve.SysProcAttr, serve.Dir = as, dir
	if stop, err = child(ctx, port, serve); err != nil {
		return "", stop, err
	}
	ready := filepath.Join(filepath.Dir(initdb), "pg_isready")                              // it listens before it is
	for exec.CommandContext(ctx, ready, "-q", "-h", "127.0.0.1", "-p", port).Run() != nil { //nolint:gosec // Debian's
		if ctx.Err() != nil {
			return "", stop, fmt.Errorf("PostgreSQL does not get ready: %w", ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "postgres://bench@127.0.0.1:" + port + "/postgres?sslmode=disable", stop, nil
}
