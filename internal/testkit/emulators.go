package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// DynamoDBLocal starts Amazon's own DynamoDB emulator, with nothing on disk.
// It can't be told to listen on loopback only.
func DynamoDBLocal(t testing.TB) *Server {
	t.Helper()
	jars, port := jars(t, "dynamodb-local"), freePort(t)
	return emulator(t, port, nil, "java", small, "-Djava.library.path="+filepath.Dir(jars), "-cp", jars,
		"software.amazon.dynamodb.services.local.main.ServerRunner", "-inMemory", "-sharedDb", "-disableTelemetry", "-port", port)
}

// ElasticMQ starts a third-party SQS emulator.
func ElasticMQ(t testing.TB) *Server {
	t.Helper()
	jars, port := jars(t, "elasticmq"), freePort(t)
	return emulator(t, port, nil, "java", small, "-Drest-sqs.bind-hostname=127.0.0.1", "-Drest-sqs.bind-port="+port,
		"-Dnode-address.host=127.0.0.1", "-Dnode-address.port="+port, "-Drest-stats.enabled=false", "-cp", jars, "org.elasticmq.server.Main")
}

// MiniStack starts a LocalStack-like AWS emulator.
func MiniStack(t testing.TB) *Server {
	t.Helper()
	binary, port := NeedTool(t, "ministack", emulatorsAre), freePort(t)
	return emulator(t, port, []string{
		"BIND_HOST=127.0.0.1", "MINISTACK_HOST=127.0.0.1", "GATEWAY_PORT=" + port,
		"DOCKER_HOST=unix:///nonexistent", // it looks for containers to remove
	}, binary)
}

const (
	emulatorsAre = "`make emulators` puts it into bin/"
	small        = "-Xmx256m"
)

// jars is the class path of what `make emulators` has put into a folder of
// bin/, which is a neighbour of bin/ministack/bin in the PATH.
func jars(t testing.TB, name string) string {
	t.Helper()
	NeedTool(t, "java", "apt-get install default-jre-headless")
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		at := filepath.Join(dir, name)
		if found, _ := filepath.Glob(filepath.Join(at, "*.jar")); len(found) > 0 { // its only error is a bad pattern
			return filepath.Join(at, "*")
		}
	}
	LeaveOut(t, name+" is not installed: "+emulatorsAre)
	return ""
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
