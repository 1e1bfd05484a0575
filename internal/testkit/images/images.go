// Package images builds the Docker images for tests from this machine's programs, for machines
// that cannot pull images.
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

// Env is the environment variable that selects the source of images. With "public" those of
// Dapr, Redis and others are pulled. With "local" they are built from bin/ (make dapr) and this
// machine's programs.
const Env = "ORDERSAGA_IMAGES"

// Local reports whether images are built locally.
func Local() bool { return os.Getenv(Env) == "local" }

// Root returns the root of the checkout that contains the working directory.
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
	return "", errors.New("the working directory is not in a checkout of ordersaga")
}

// Program builds an image of the Go program in the package source, and returns its tag.
func Program(ctx context.Context, name, source string) (tag string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return build(ctx, name, func(at string) error {
		return run(ctx, root, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(at, name), source)
	})
}

// Dapr builds one image of the programs that `make dapr` builds, and returns its tag.
func Dapr(ctx context.Context) (tag string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return build(ctx, "dapr", func(at string) error {
		for _, name := range []string{"daprd", "placement", "scheduler"} {
			if err := CopyFile(filepath.Join(at, name), filepath.Join(root, "bin", name)); err != nil {
				return fmt.Errorf("run `make dapr` first: %w", err)
			}
		}
		return nil
	})
}

// Redis builds an image of this machine's redis-server and redis-cli, and returns its tag.
func Redis(ctx context.Context) (tag string, err error) {
	return build(ctx, "redis", func(at string) error {
		return errors.Join(copyProgram(ctx, at, "redis-server", "usr/bin"), copyProgram(ctx, at, "redis-cli", "usr/bin"))
	})
}

// Prometheus builds an image of this machine's prometheus and promtool, and returns its tag.
func Prometheus(ctx context.Context) (tag string, err error) {
	return build(ctx, "prometheus", func(at string) error {
		return errors.Join(copyProgram(ctx, at, "prometheus", "bin"), copyProgram(ctx, at, "promtool", "bin"))
	})
}

// build builds the image ordersaga-test/NAME from a directory that fill has filled.
func build(ctx context.Context, name string, fill func(at string) error) (tag string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	at, err := os.MkdirTemp("", "ordersaga-image-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(at) }() // in the system's directory for temporary files
	if err := fill(at); err != nil {
		return "", fmt.Errorf("build image %s: %w", name, err)
	}
	tag = "ordersaga-test/" + name
	file := filepath.Join(root, "integration/containers/images", name+".Dockerfile")
	var env []string
	if Local() {
		env = []string{"DOCKER_BUILDKIT=0"} // Debian's docker.io has only the old builder
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

// copyProgram copies a program of this machine and the libraries that it needs.
func copyProgram(ctx context.Context, at, name, to string) error {
	program, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "ldd", program).Output() //nolint:gosec // the path of a program of this machine
	if err != nil {
		return fmt.Errorf("list the libraries of %s: %w", program, err)
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

// CopyFile copies a file as an executable, and creates the directory for it. It follows links.
func CopyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // every user of the image may read it
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()                                      // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755) //nolint:gosec // and run it
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
