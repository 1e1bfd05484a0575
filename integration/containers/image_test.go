package containers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	testimages "github.com/ordersaga/ordersaga/internal/testkit/images"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestImageIsSmallAndRunsAsNonRoot builds the image from deploy/docker/Dockerfile, and checks its size, user, version,
// health check and entry point.
func TestImageIsSmallAndRunsAsNonRoot(t *testing.T) {
	const (
		name    = "ordersaga-test/from-sources"
		maxSize = 40_000_000 // bytes
	)
	require.NoError(t, buildFromSources(t.Context(), name))
	out, err := docker(t.Context(), "image", "inspect", name)
	require.NoError(t, err)
	var found []struct {
		Size   int64 // bytes
		Config struct {
			User        string
			Labels      map[string]string
			Healthcheck struct{ Test []string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &found))
	i := found[0]
	if i.Size > maxSize {
		t.Errorf("size = %d bytes, want at most %d", i.Size, maxSize)
	}
	if want := "65532:65532"; i.Config.User != want {
		t.Errorf("user = %q, want %q", i.Config.User, want)
	}
	if got, want := i.Config.Labels["org.opencontainers.image.version"], "1.2.3"; got != want {
		t.Errorf("version label = %q, want %q", got, want)
	}
	if len(i.Config.Healthcheck.Test) == 0 {
		t.Error("the image has no health check, want one")
	}
	help, err := docker(t.Context(), "run", "--rm", "--read-only", "--label", label+"="+owner, "--network", "none", name, "--help")
	if err != nil || !strings.Contains(help, "worker") {
		t.Errorf("--help in the container = %q (error %v), want the command worker in it", help, err)
	}
}

// buildFromSources builds deploy/docker/Dockerfile at version 1.2.3. On machines that cannot pull
// images, an image of this machine's Go replaces golang.
func buildFromSources(ctx context.Context, name string) error {
	args := []string{"build", "-q", "-t", name, "-f", "../../deploy/docker/Dockerfile", "--build-arg", "VERSION=1.2.3"}
	if testimages.Local() {
		dir, err := os.MkdirTemp("", "ordersaga-go-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // in the system's directory for temporary files
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(dir, "usr/local/go"), os.DirFS(strings.TrimSpace(string(root)))); err != nil {
			return err
		}
		const certificates = "/etc/ssl/certs/ca-certificates.crt"
		if err := testimages.CopyFile(filepath.Join(dir, certificates), certificates); err != nil {
			return err
		}
		if _, err := docker(ctx, "build", "-q", "-t", "ordersaga-test/go", "-f", "images/go.Dockerfile", dir); err != nil {
			return err
		}
		args = append(args, "--build-arg", "GO=ordersaga-test/go", "--network", "host")
	}
	// Copy only files that git tracks: bin/ has gigabytes, and older builders do not
	// support deploy/docker/Dockerfile.dockerignore.
	sources, err := os.MkdirTemp("", "ordersaga-sources-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(sources) }()
	const copyTracked = `cd ../.. && git ls-files -z | xargs -0 cp --parents -t "$0"`
	if err := exec.CommandContext(ctx, "sh", "-c", copyTracked, sources).Run(); err != nil {
		return fmt.Errorf("copy the sources: %w", err)
	}
	_, err = docker(ctx, append(args, sources)...)
	return err
}
