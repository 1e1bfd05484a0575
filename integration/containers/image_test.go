package containers

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	testimages "github.com/ordersaga/ordersaga/internal/testkit/images"
)

// TestImage builds the image as a user does.
func TestImage(t *testing.T) {
	const name = "ordersaga-test/from-sources"
	if err := buildFromSources(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	out, err := docker(t.Context(), "image", "inspect", name)
	if err != nil {
		t.Fatal(err)
	}
	var found []struct {
		Size   int64 // bytes
		Config struct {
			User        string
			Labels      map[string]string
			Healthcheck struct{ Test []string }
		}
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	i := found[0]
	if i.Size > 40_000_000 || i.Config.User != "65532:65532" || i.Config.Labels["org.opencontainers.image.version"] != "1.2.3" || len(i.Config.Healthcheck.Test) == 0 {
		t.Errorf("%+v", i)
	}
	if out, err := docker(t.Context(), "run", "--rm", "--read-only", "--label", label+"="+owner, "--network", "none", name, "--help"); err != nil || !strings.Contains(out, "worker") {
		t.Error(out, err)
	}
}

// buildFromSources follows deploy/docker/Dockerfile. Where no image can be
// pulled this machine's Go stands in for the one of golang.
func buildFromSources(ctx context.Context, name string) error {
	args := []string{"build", "-q", "-t", name, "-f", "../../deploy/docker/Dockerfile", "--build-arg", "VERSION=1.2.3"}
	if testimages.Local() {
		dir, err := os.MkdirTemp("", "ordersaga-go-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // what is left is in the temporary directory
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(dir, "usr/local/go"), os.DirFS(strings.TrimSpace(string(root)))); err != nil {
			return err
		}
		if err := testimages.CopyFile(filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt"), "/etc/ssl/certs/ca-certificates.crt"); err != nil {
			return err
		}
		if _, err := docker(ctx, "build", "-q", "-t", "ordersaga-test/go", "-f", "images/go.Dockerfile", dir); err != nil {
			return err
		}
		args = append(args, "--build-arg", "GO=ordersaga-test/go", "--network", "host")
	}
	// What git has, for bin/ holds gigabytes and only newer builders know an ignore file of a Dockerfile's own.
	sources, err := os.MkdirTemp("", "ordersaga-sources-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(sources) }()
	if err := exec.CommandContext(ctx, "sh", "-c", `cd ../.. && git ls-files -z | xargs -0 cp --parents -t "$0"`, sources).Run(); err != nil {
		return err
	}
	_, err = docker(ctx, append(args, sources)...)
	return err
}
