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

// images has the names of the images that run.
type images struct {
	ordersaga, pause, front, placement, scheduler, daprd, redis string
	moto, elasticmq, ministack                                  string // "" runs the program of this machine

	root, bin, python string // directories of this machine
}

// public has the images at the versions that tools/ pins.
var public = images{
	placement: "daprio/placement:1.18.2", scheduler: "daprio/scheduler:1.18.2", daprd: "daprio/daprd:1.18.2", redis: "redis:8",
	moto: "motoserver/moto:5.2.5", elasticmq: "softwaremill/elasticmq:1.7.1", ministack: "ministackorg/ministack:1.5.33",
}

// program returns a container of an image with its own entry point. For the image "" it returns
// one that runs path with this machine's interpreters, libraries and bin/, mounted read-only.
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

// missingDocker returns why Docker cannot be used, or "" if it can. It also sets the environment
// of testcontainers and docker.
func missingDocker() string {
	// On machines that cannot pull images, testcontainers' reaper cannot be pulled
	// either. The suite therefore removes its own containers, and those of earlier runs.
	for name, value := range map[string]string{
		"TESTCONTAINERS_RYUK_DISABLED": "true", "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
	} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, value)
		}
	}
	if testimages.Local() {
		_ = os.Setenv("DOCKER_BUILDKIT", "0") // Debian's docker.io has only the old builder
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return "the docker command is not installed"
	}
	p, err := testcontainers.NewDockerProvider()
	if err == nil {
		err = errors.Join(p.Health(context.Background()), p.Close())
	}
	if err != nil {
		return "no Docker engine responds: " + err.Error()
	}
	return ""
}

// build builds the images that cannot be pulled.
func build(ctx context.Context) (images, error) {
	made := public
	var err error
	made.root, err = testimages.Root()
	if err != nil {
		return images{}, err
	}
	made.pause, err = testimages.Program(ctx, "pause", "./integration/containers/pause")
	if err != nil {
		return images{}, err
	}
	made.front, err = testimages.Program(ctx, "front", "./integration/containers/front")
	if err != nil {
		return images{}, err
	}
	made.bin, err = filepath.EvalSymlinks(filepath.Join(made.root, "bin"))
	if err != nil && testimages.Local() {
		return images{}, fmt.Errorf("run `make dapr moto emulators` first: %w", err)
	}
	if !testimages.Local() {
		made.ordersaga = "ordersaga-test/ordersaga"
		return made, buildFromSources(ctx, made.ordersaga)
	}
	made.moto, made.elasticmq, made.ministack = "", "", ""
	python, err := exec.CommandContext(ctx, filepath.Join(made.bin, "moto/bin/python3"), "-c", "import sys; print(sys.base_prefix)").Output()
	if err != nil {
		return images{}, fmt.Errorf("run `make moto` first: %w", err)
	}
	made.python = strings.TrimSpace(string(python))
	made.ordersaga, err = testimages.Program(ctx, "ordersaga", "./cmd/ordersaga")
	if err != nil {
		return images{}, err
	}
	made.daprd, err = testimages.Dapr(ctx)
	if err != nil {
		return images{}, err
	}
	made.placement, made.scheduler = made.daprd, made.daprd
	made.redis, err = testimages.Redis(ctx)
	return made, err
}

// haveDocker reports whether Docker can be used. With CI=true it exits if not.
func haveDocker() bool {
	missing := missingDocker()
	if missing == "" {
		return true
	}
	if os.Getenv("CI") == "true" {
		fmt.Println("the container suite cannot run:", missing)
		os.Exit(1)
	}
	fmt.Println("skipped the container suite:", missing)
	return false
}
