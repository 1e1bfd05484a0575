// Package compose holds deploy/compose.yaml against Docker Compose itself and
// brings it up.
package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/images"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	root = filepath.Join("..", "..")
	file = filepath.Join(root, "deploy", "compose.yaml")
)

// program is Docker Compose.
func program(t *testing.T) string {
	t.Helper()
	// Read the files that only docker compose reads, so that go's test cache depends on them.
	for _, pattern := range []string{
		"deploy/compose*.yaml", "deploy/compose/*.yaml", "deploy/compose/*/*/*.yaml",
		"deploy/grafana/*", "components/*/*.yaml", "components/*/*/*.yaml",
	} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		for _, f := range files {
			_, readErr := os.ReadFile(f)
			err = errors.Join(err, readErr)
		}
		if err != nil || len(files) == 0 {
			t.Fatalf("files that match %s = %v (error %v), want at least one, all readable", pattern, files, err)
		}
	}
	return testkit.Pinned(t, "docker-compose", "compose")
}

// model is of the file what the tests look at, as Compose reads it.
type model struct {
	Services map[string]struct {
		Image       string
		Build       any
		Command     []string
		NetworkMode string `json:"network_mode"`
		Environment map[string]string
		Ports       []struct {
			HostIP string `json:"host_ip"`
		}
		Volumes []struct{ Type, Source string }
	}
}

// config is the file.
func config(t *testing.T) (m model) {
	t.Helper()
	cmd := exec.Command(program(t), "-f", file, "config", "--format", "json")
	cmd.Env = clean(os.Environ())
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("config of %s: error %v, standard error %q, want neither", file, err, complaints.String())
	}
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestComposeFilePinsImagesAndBindsToLoopback checks what can be checked without Docker.
func TestComposeFilePinsImagesAndBindsToLoopback(t *testing.T) {
	m := config(t)
	dapr := "daprio/%:" + daprVersion(t)
	sidecars := 0
	for name, s := range m.Services {
		if s.Build == nil && !regexp.MustCompile(`:v?[0-9]+\.[0-9]+(\.[0-9]+)?$`).MatchString(s.Image) {
			t.Errorf("service %s: image = %s, want a pinned version", name, s.Image)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("service %s is published on %q, want 127.0.0.1", name, p.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == "bind" && err != nil {
				t.Errorf("service %s: the source of a volume does not exist: %v", name, err)
			}
		}
		for _, of := range []string{"daprd", "placement", "scheduler"} {
			if len(s.Command) > 0 && s.Command[0] == "/"+of && s.Image != strings.Replace(dapr, "%", of, 1) {
				t.Errorf("service %s: image = %s, want %s as in tools/dapr", name, s.Image, strings.Replace(dapr, "%", of, 1))
			}
		}
		if app, is := strings.CutSuffix(name, "-dapr"); is {
			sidecars++
			if want := "service:" + app + "-pod"; s.NetworkMode != want || m.Services[app].NetworkMode != want {
				t.Errorf("networks of %s and its app = %s, %s, want %s", name, s.NetworkMode, m.Services[app].NetworkMode, want)
			}
		}
	}
	if sidecars != 5 {
		t.Errorf("sidecars = %d, want 5", sidecars)
	}
}

// TestDashboardCanReadAndNotDeleteWorkflows: the dashboard's apps are sidecars of the file. Its
// user of Redis can do what it calls to list and show workflows, and not what it calls to
// delete them.
func TestDashboardCanReadAndNotDeleteWorkflows(t *testing.T) {
	m := config(t)
	env := m.Services["dashboard"].Environment
	ids := map[string]bool{}
	for i := range 3 {
		id, at := env[fmt.Sprintf("DEVDASHBOARD_APP_%d_ID", i)], env[fmt.Sprintf("DEVDASHBOARD_APP_%d_DAPR_HTTP", i)]
		host, port, _ := strings.Cut(strings.TrimPrefix(at, "http://"), ":")
		args := strings.Join(m.Services[strings.TrimSuffix(host, "-pod")+"-dapr"].Command, " ")
		if ids[id] || !strings.Contains(args, "--app-id "+id+" ") || !strings.Contains(args, "--dapr-public-port "+port+" ") {
			t.Errorf("%q at %s: the sidecar has %s, want an app not seen before, this --app-id and --dapr-public-port %s", id, at, args, port)
		}
		ids[id] = true
	}
	if env["DEVDASHBOARD_APP_COUNT"] != "3" {
		t.Errorf("count = %q, want 3", env["DEVDASHBOARD_APP_COUNT"])
	}

	b, err := os.ReadFile(filepath.Join(root, "deploy", "compose", "look.yaml"))
	var store struct {
		Spec struct {
			Metadata []struct{ Name, Value string }
		}
	}
	if err = errors.Join(err, yaml.Unmarshal(b, &store)); err != nil {
		t.Fatal(err)
	}
	value := map[string]string{}
	for _, m := range store.Spec.Metadata {
		value[m.Name] = m.Value
	}
	args := m.Services["redis"].Command
	_, port, _ := strings.Cut(testkit.Redis(t, args[slices.Index(args, "--user"):]...).Address, ":")
	redis := func(as []string, command string) string {
		args := slices.Concat([]string{"-p", port, "--no-auth-warning"}, as, strings.Fields(command))
		out, err := exec.Command("redis-cli", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("redis-cli: %v %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	look := []string{"--user", value["redisUsername"], "--pass", value["redisPassword"]}
	key := "ordersaga||dapr.internal.default.ordersaga.workflow||o-1||metadata"
	redis(nil, "HSET "+key+" data x version 1") // as sidecars do, who are not asked who they are
	for command, want := range map[string]string{
		"PING": "PONG", "INFO replication": "role:master", "SCAN 0 MATCH *||metadata COUNT 1000": key, "HGETALL " + key: "data\nx\nversion\n1",
	} {
		if got := redis(look, command); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
	for _, command := range []string{
		"EVAL return 0", "DEL " + key, "UNLINK " + key, "HSET " + key + " data y", "HDEL " + key + " data",
		"SET " + key + " y", "EXPIRE " + key + " 1", "RENAME " + key + " other",
		"FLUSHALL", "FUNCTION LIST", "CONFIG GET *", "CLIENT LIST", "SHUTDOWN NOW", "ACL LIST",
	} {
		if got := redis(look, command); !strings.HasPrefix(got, "NOPERM") {
			t.Errorf("%s returned %s, want NOPERM", command, got)
		}
	}
	if got := redis(nil, "HGET "+key+" data"); got != "x" {
		t.Errorf("the saga is %q, want x", got)
	}
}

func daprVersion(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "tools", "dapr", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`github\.com/dapr/dapr v(\S+)`).FindSubmatch(b)
	if found == nil {
		t.Fatal("tools/dapr/go.mod names no version of Dapr, want one")
	}
	return string(found[1])
}

// clean leaves out what changes the file's defaults.
func clean(env []string) (out []string) {
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasSuffix(name, "_IMAGE") && !strings.HasSuffix(name, "_PORT") && !strings.HasPrefix(name, "COMPOSE_") {
			out = append(out, e)
		}
	}
	return out
}

// needDocker leaves a test out where no Docker engine answers.
func needDocker(t *testing.T) {
	t.Helper()
	testkit.RequireTool(t, "docker", "https://docs.docker.com/engine/install/")
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		testkit.SkipOrFail(t, "no Docker engine answers: "+strings.TrimSpace(string(out)))
	}
}

// localImages builds of this machine's programs what cannot be pulled, and
// names it by the file's variables.
func localImages(t *testing.T) (env []string) {
	t.Helper()
	testkit.RequireTool(t, "redis-server", "apt-get install redis-server")
	testkit.RequireTool(t, "prometheus", "apt-get install prometheus")
	env, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return env
}

var built = sync.OnceValues(func() (env []string, err error) {
	ctx := context.Background() // for all tests
	for _, i := range []struct {
		build     func() (string, error)
		variables []string
	}{
		{func() (string, error) { return images.Program(ctx, "ordersaga", "./cmd/ordersaga") }, []string{"ORDERSAGA"}},
		{func() (string, error) { return images.Program(ctx, "pause", "./integration/containers/pause") }, []string{"PAUSE"}},
		{func() (string, error) { return images.Dapr(ctx) }, []string{"DAPRD", "PLACEMENT", "SCHEDULER"}},
		{func() (string, error) { return images.Redis(ctx) }, []string{"REDIS"}},
		{func() (string, error) { return images.Prometheus(ctx) }, []string{"PROMETHEUS"}},
	} {
		tag, err := i.build()
		if err != nil {
			return nil, err
		}
		for _, v := range i.variables {
			env = append(env, v+"_IMAGE="+tag)
		}
	}
	return env, nil
})
