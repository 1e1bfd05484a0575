// Package images makes the Docker images that tests run where none can be
// pulled, of this machine's programs.
package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Env chooses where images come from: "public" pulls those of Dapr, Redis and
// so on, "local" builds them from bin/ (make dapr) and this machine's programs.
const Env = "ORDERSAGA_IMAGES"

// Local says whether no image can be pulled.
func Local() bool { return os.Getenv(Env) == "local" }

// Root is the checkout.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "deploy/docker/Dockerfile")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the tests run outside the checkout")
}

// Program builds the image of one of our own programs.
func Program(ctx context.Context, name, source string) (tag string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return build(ctx, name, func(at string) error {
		return run(ctx, root, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(at, name), source)
	})
}

// Dapr builds one image of what make dapr has built.
func Dapr(ctx context.Context) (tag string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return build(ctx, "dapr", func(at string) error {
		for _, name := range []string{"daprd", "placement", "scheduler"} {
			if err := CopyFile(filepath.Join(at, name), filepath.Join(root, "bin", name)); err != nil {
				return fmt.Errorf("make dapr first: %w", err)
			}
		}
		return nil
	})
}

// Redis builds an image of this machine's redis-server and redis-cli.
func Redis(ctx context.Context) (tag string, err error) {
	return build(ctx, "redis", func(at string) error {
		return errors.Join(copyProgram(ctx, at, "redis-server", "usr/bin"), copyProgram(ctx, at, "redis-cli", "usr/bin"))
	})
}

// Prometheus builds an image of this machine's prometheus and promtool.
func Prometheus(ctx context.Context) (tag string, err error) {
	return build(ctx, "prometheus", func(at string) error {
		return errors.Join(copyProgram(ctx, at, "prometheus", "bin"), copyProgram(ctx, at, "promtool", "bin"))
	})
}

// build builds ordersaga-test/NAME around a folder that fill fills.
func build(ctx context.Context, name string, fill func(at string) error) (tag string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	at, err := os.MkdirTemp("", "ordersaga-image-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(at) }() // what is left is in the temporary directory
	if err := fill(at); err != nil {
		return "", fmt.Errorf("the image %s: %w", name, err)
	}
	tag = "ordersaga-test/" + name
	file := filepath.Join(root, "integration/containers/images", name+".Dockerfile")
	var env []string
	if Local() {
		env = []string{"DOCKER_BUILDKIT=0"} // Debian's docker.io has no other builder
	}
	return tag, run(ctx, root, env, "docker", "build", "-q", "-t", tag, "-f", file, at)
}

func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // go and docker, with arguments of this package
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// copyProgram copies a program of this machine with the libraries that it
// wants.
func copyProgram(ctx context.Context, at, name, to string) error {
	program, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "ldd", program).Output() //nolint:gosec // a program of this machine, by its name here
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", program, err)
	}
	if err := CopyFile(filepath.Join(at, to, name), program); err != nil {
		return err
	}
	for _, library := range regexp.MustCompile(`/\S+`).FindAllString(string(out), -1) {
		if err := CopyFile(filepath.Join(at, library), library); err != nil {
			return err
		}
	}
	return nil
}

// CopyFile follows links.
func CopyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // in an image everybody reads
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()                                      // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755) //nolint:gosec // and runs
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
