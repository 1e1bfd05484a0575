// Package compose holds deploy/compose.yaml against Docker Compose itself and
// brings it up.
package compose

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

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
	// What only another program reads go's test cache does not know of.
	for _, pattern := range []string{"deploy/compose*.yaml", "deploy/compose/*.yaml", "deploy/compose/*/*/*.yaml", "deploy/grafana/*", "components/*/*.yaml", "components/*/*/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		for _, f := range files {
			_, readErr := os.ReadFile(f)
			err = errors.Join(err, readErr)
		}
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
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
		Ports       []struct {
			HostIP string `json:"host_ip"`
		}
		Volumes []struct{ Type, Source string }
	}
}

// TestFile is what holds without Docker.
func TestFile(t *testing.T) {
	cmd := exec.Command(program(t), "-f", file, "config", "--format", "json")
	cmd.Env = clean(os.Environ())
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatal(err, complaints.String())
	}
	var m model
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	dapr := "daprio/%:" + daprVersion(t)
	sidecars := 0
	for name, s := range m.Services {
		if s.Build == nil && !regexp.MustCompile(`:v?[0-9]+\.[0-9]+(\.[0-9]+)?$`).MatchString(s.Image) {
			t.Errorf("%s: %s is no pinned version", name, s.Image)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s is published on %q", name, p.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == "bind" && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, of := range []string{"daprd", "placement", "scheduler"} {
			if len(s.Command) > 0 && s.Command[0] == "/"+of && s.Image != strings.Replace(dapr, "%", of, 1) {
				t.Errorf("%s: %s, but tools/dapr pins %s", name, s.Image, dapr)
			}
		}
		if app, is := strings.CutSuffix(name, "-dapr"); is {
			sidecars++
			if want := "service:" + app + "-pod"; s.NetworkMode != want || m.Services[app].NetworkMode != want {
				t.Errorf("%s and its app are not in one network: %s, %s", name, s.NetworkMode, m.Services[app].NetworkMode)
			}
		}
	}
	if sidecars != 5 {
		t.Errorf("%d sidecars", sidecars)
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
		t.Fatal("tools/dapr/go.mod names no version of Dapr")
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
	testkit.NeedTool(t, "docker", "https://docs.docker.com/engine/install/")
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		testkit.LeaveOut(t, "no Docker engine answers: "+strings.TrimSpace(string(out)))
	}
}

// localImages builds of this machine's programs what cannot be pulled, and
// names it by the file's variables.
func localImages(t *testing.T) (env []string) {
	t.Helper()
	testkit.NeedTool(t, "redis-server", "apt-get install redis-server")
	testkit.NeedTool(t, "prometheus", "apt-get install prometheus")
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
