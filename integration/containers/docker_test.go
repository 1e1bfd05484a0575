package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/testcontainers/testcontainers-go"

	testimages "github.com/ordersaga/ordersaga/internal/testkit/images"
)

// images are the names of what runs.
type images struct {
	ordersaga, pause, front, placement, scheduler, daprd, redis string
	moto, elasticmq, ministack                                  string // "": not an image, but this machine's program

	root, bin, python string // folders of this machine
}

// public are the images at the versions that tools/ pins.
var public = images{
	placement: "daprio/placement:1.18.2", scheduler: "daprio/scheduler:1.18.2", daprd: "daprio/daprd:1.18.2", redis: "redis:8",
	moto: "motoserver/moto:5.2.5", elasticmq: "softwaremill/elasticmq:1.7.1", ministack: "ministackorg/ministack:1.5.33",
}

// program is a container of an image, with its own entry point, or else of this
// machine's interpreters, libraries and bin/, read only.
func (i images) program(image, path string, args ...string) spec {
	if image != "" {
		return spec{image: image}
	}
	if strings.HasPrefix(path, "bin/") {
		path = i.bin + strings.TrimPrefix(path, "bin")
	} else {
		path = "/usr/bin/" + path
	}
	var binds []string
	dirs := []string{"/usr", "/lib", "/lib64", "/etc", i.bin}
	if !strings.HasPrefix(i.python, "/usr") {
		dirs = append(dirs, i.python)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			binds = append(binds, dir+":"+dir+":ro")
		}
	}
	return spec{image: i.pause, entrypoint: []string{path}, cmd: args, binds: binds, tmp: true}
}

// withoutDocker says what is missing, or "".
func withoutDocker() string {
	// No image can be pulled in some places, the reaper's neither: the suite
	// takes its containers down itself, those of a run before too.
	for name, value := range map[string]string{"TESTCONTAINERS_RYUK_DISABLED": "true", "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1"} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, value)
		}
	}
	if testimages.Local() {
		_ = os.Setenv("DOCKER_BUILDKIT", "0") // Debian's docker.io has no other builder
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return "no docker command"
	}
	p, err := testcontainers.NewDockerProvider()
	if err == nil {
		err = errors.Join(p.Health(context.Background()), p.Close())
	}
	if err != nil {
		return "no Docker engine answers: " + err.Error()
	}
	return ""
}

// build makes the images that cannot be pulled.
func build(ctx context.Context) (images, error) {
	made := public
	var err error
	if made.root, err = testimages.Root(); err != nil {
		return images{}, err
	}
	if made.pause, err = testimages.Program(ctx, "pause", "./integration/containers/pause"); err != nil {
		return images{}, err
	}
	if made.front, err = testimages.Program(ctx, "front", "./integration/containers/front"); err != nil {
		return images{}, err
	}
	if made.bin, err = filepath.EvalSymlinks(filepath.Join(made.root, "bin")); err != nil && testimages.Local() {
		return images{}, fmt.Errorf("make dapr moto emulators first: %w", err)
	}
	if !testimages.Local() {
		made.ordersaga = "ordersaga-test/ordersaga"
		return made, buildFromSources(ctx, made.ordersaga)
	}
	made.moto, made.elasticmq, made.ministack = "", "", ""
	python, err := exec.CommandContext(ctx, filepath.Join(made.bin, "moto/bin/python3"), "-c", "import sys; print(sys.base_prefix)").Output()
	if err != nil {
		return images{}, fmt.Errorf("make moto first: %w", err)
	}
	made.python = strings.TrimSpace(string(python))
	if made.ordersaga, err = testimages.Program(ctx, "ordersaga", "./cmd/ordersaga"); err != nil {
		return images{}, err
	}
	if made.daprd, err = testimages.Dapr(ctx); err != nil {
		return images{}, err
	}
	made.placement, made.scheduler = made.daprd, made.daprd
	made.redis, err = testimages.Redis(ctx)
	return made, err
}

// require leaves the suite out where there is no Docker, and fails in CI.
func require() bool {
	missing := withoutDocker()
	if missing == "" {
		return true
	}
	if os.Getenv("CI") == "true" {
		fmt.Println("the container suite cannot run:", missing)
		os.Exit(1)
	}
	fmt.Println("left out: the container suite, for", missing)
	return false
}
