package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ElasticMQ starts the SQS emulator ElasticMQ. Its Address is a URL.
func ElasticMQ(t testing.TB) *Server {
	t.Helper()
	java, port := RequireTool(t, "java", "apt-get install default-jre-headless"), freePort(t)
	jars := filepath.Join(filepath.Dir(Pinned(t, "elasticmq/ready", "emulators")), "*")
	return emulator(t, port, nil, java, "-Xmx256m", "-Drest-sqs.bind-hostname=127.0.0.1", "-Drest-sqs.bind-port="+port,
		"-Dnode-address.host=127.0.0.1", "-Dnode-address.port="+port, "-Drest-stats.enabled=false", "-cp", jars, "org.elasticmq.server.Main")
}

// MiniStack starts the AWS emulator MiniStack, which is compatible with LocalStack. Its Address
// is a URL.
func MiniStack(t testing.TB) *Server {
	t.Helper()
	binary, port := Pinned(t, "ministack/bin/ministack", "emulators"), freePort(t)
	return emulator(t, port, []string{
		"BIND_HOST=127.0.0.1", "MINISTACK_HOST=127.0.0.1", "GATEWAY_PORT=" + port,
		"DOCKER_HOST=unix:///nonexistent", // it would look for containers to remove
	}, binary)
}

// Roto starts the AWS emulator roto, in memory. Its Address is a URL.
func Roto(t testing.TB) *Server {
	t.Helper()
	binary, port := Pinned(t, "roto/bin/roto-server", "emulators"), freePort(t)
	return emulator(t, port, nil, binary, "--ephemeral", "--port", port)
}

// emulator starts a program that listens on a port.
func emulator(t testing.TB, port string, env []string, program string, args ...string) *Server {
	t.Helper()
	s := &Server{Address: "http://127.0.0.1:" + port, t: t, port: port, command: func() *exec.Cmd {
		c := exec.Command(program, args...) //nolint:gosec,noctx // the test's own paths; the end of the test stops it
		c.Env = append(os.Environ(), env...)
		return c
	}}
	s.begin()
	return s
}
