package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ElasticMQ starts a third-party SQS emulator.
func ElasticMQ(t testing.TB) *Server {
	t.Helper()
	java, port := NeedTool(t, "java", "apt-get install default-jre-headless"), freePort(t)
	jars := filepath.Join(filepath.Dir(Pinned(t, "elasticmq/ready", "emulators")), "*")
	return emulator(t, port, nil, java, "-Xmx256m", "-Drest-sqs.bind-hostname=127.0.0.1", "-Drest-sqs.bind-port="+port,
		"-Dnode-address.host=127.0.0.1", "-Dnode-address.port="+port, "-Drest-stats.enabled=false", "-cp", jars, "org.elasticmq.server.Main")
}

// MiniStack starts a LocalStack-like AWS emulator.
func MiniStack(t testing.TB) *Server {
	t.Helper()
	binary, port := Pinned(t, "ministack/bin/ministack", "emulators"), freePort(t)
	return emulator(t, port, []string{
		"BIND_HOST=127.0.0.1", "MINISTACK_HOST=127.0.0.1", "GATEWAY_PORT=" + port,
		"DOCKER_HOST=unix:///nonexistent", // it looks for containers to remove
	}, binary)
}

// Roto starts an AWS emulator in Rust, with nothing on disk.
func Roto(t testing.TB) *Server {
	t.Helper()
	binary, port := Pinned(t, "roto/bin/roto-server", "emulators"), freePort(t)
	return emulator(t, port, nil, binary, "--ephemeral", "--port", port)
}

func emulator(t testing.TB, port string, env []string, program string, args ...string) *Server {
	t.Helper()
	s := &Server{Address: "http://127.0.0.1:" + port, t: t, port: port, command: func() *exec.Cmd {
		c := exec.Command(program, args...) //nolint:gosec,noctx // a test's own paths; stopped by the test's end
		c.Env = append(os.Environ(), env...)
		return c
	}}
	s.begin()
	return s
}
