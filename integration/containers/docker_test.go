package containers

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

	"github.com/testcontainers/testcontainers-go"
)

// imagesEnv chooses where images come from: "public" pulls Dapr's and Redis's
// own, "local" builds them from bin/ (make dapr) and this machine's
// redis-server, for where none can be pulled.
const imagesEnv = "ORDERSAGA_IMAGES"

// images are the names of what runs.
type images struct {
	ordersaga, pause, front, placement, scheduler, daprd, redis string
	moto, dynamodb, elasticmq, ministack                        string // "": not an image, but this machine's program

	root, bin, python string // folders of this machine
}

// public are the images at the versions that tools/ pins.
var public = images{
	placement: "daprio/placement:1.18.2", scheduler: "daprio/scheduler:1.18.2", daprd: "daprio/daprd:1.18.2", redis: "redis:8",
	moto: "motoserver/moto:5.2.5", dynamodb: "amazon/dynamodb-local:3.3.1", elasticmq: "softwaremill/elasticmq:1.7.1", ministack: "ministackorg/ministack:1.5.33",
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
	if os.Getenv(imagesEnv) == "local" {
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
	root, err := filepath.Abs("../..")
	if err != nil {
		return images{}, err
	}
	dir, err := os.MkdirTemp("", "ordersaga-images-")
	if err != nil {
		return images{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is in the temporary directory
	run := func(env []string, name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return nil
	}
	image := func(name string, fill func(context string) error) error {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(at, 0o750), fill(at)); err != nil {
			return err
		}
		return run(nil, "docker", "build", "-q", "-t", "ordersaga-test/"+name, "-f", filepath.Join(root, "integration/containers/images", name+".Dockerfile"), at)
	}
	programs := map[string]string{"pause": "./integration/containers/pause", "front": "./integration/containers/front"}
	local := os.Getenv(imagesEnv) == "local"
	if local {
		programs["ordersaga"] = "./cmd/ordersaga"
	} else if err := buildFromSources(ctx, "ordersaga-test/ordersaga"); err != nil {
		return images{}, err
	}
	for name, source := range programs {
		err := image(name, func(at string) error {
			return run([]string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(at, name), source)
		})
		if err != nil {
			return images{}, err
		}
	}
	made := public
	made.ordersaga, made.pause, made.front, made.root = "ordersaga-test/ordersaga", "ordersaga-test/pause", "ordersaga-test/front", root
	if !local {
		return made, nil
	}
	made.moto, made.dynamodb, made.elasticmq, made.ministack = "", "", "", ""
	if made.bin, err = filepath.EvalSymlinks(filepath.Join(root, "bin")); err != nil {
		return images{}, fmt.Errorf("make dapr moto emulators first: %w", err)
	}
	python, err := exec.CommandContext(ctx, filepath.Join(made.bin, "moto/bin/python3"), "-c", "import sys; print(sys.base_prefix)").Output()
	if err != nil {
		return images{}, fmt.Errorf("make moto first: %w", err)
	}
	made.python = strings.TrimSpace(string(python))
	err = errors.Join(
		image("dapr", func(at string) error {
			for _, name := range []string{"daprd", "placement", "scheduler"} {
				if err := copyFile(filepath.Join(at, name), filepath.Join(root, "bin", name)); err != nil {
					return fmt.Errorf("make dapr first: %w", err)
				}
			}
			return nil
		}),
		image("redis", redisRoot))
	const dapr = "ordersaga-test/dapr"
	made.placement, made.scheduler, made.daprd, made.redis = dapr, dapr, dapr, "ordersaga-test/redis"
	return made, err
}

// redisRoot copies this machine's redis-server with the libraries that it
// wants.
func redisRoot(at string) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redis for its image: %w", err)
	}
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		return fmt.Errorf("libraries of redis-server: %w", err)
	}
	files := regexp.MustCompile(`/\S+`).FindAllString(string(out), -1)
	if err := copyFile(filepath.Join(at, "usr/bin/redis-server"), program); err != nil {
		return err
	}
	for _, f := range files {
		if err := copyFile(filepath.Join(at, f), f); err != nil {
			return err
		}
	}
	return nil
}

// copyFile follows links.
func copyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
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
