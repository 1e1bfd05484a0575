package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Keys of a run file, as far as deploy/dapr.yaml has them.
// https://docs.dapr.io/developing-applications/local-development/multi-app-dapr-run/multi-app-template/
type (
	runFile struct {
		Version int       `yaml:"version"`
		Common  runShared `yaml:"common"`
		Apps    []runApp  `yaml:"apps"`
	}
	runShared struct {
		ResourcesPaths     []string          `yaml:"resourcesPaths"`
		ConfigFilePath     string            `yaml:"configFilePath"`
		APIListenAddresses string            `yaml:"apiListenAddresses"`
		AppProtocol        string            `yaml:"appProtocol"`
		Env                map[string]string `yaml:"env"`
	}
	runApp struct {
		AppID      string            `yaml:"appID"`
		AppDirPath string            `yaml:"appDirPath"`
		AppPort    int               `yaml:"appPort"`
		Env        map[string]string `yaml:"env"`
		Command    []string          `yaml:"command"`
	}
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDaprRunFileStartsASystemThatCompletesSagas starts the processes of `dapr run -f
// deploy/dapr.yaml`, on free ports. The CLI starts all at once. The test starts the local
// AWS endpoint last, as on a busy machine.
func TestDaprRunFileStartsASystemThatCompletesSagas(t *testing.T) {
	testkit.RequireDapr(t)
	root := deployCopy(t)
	var f runFile
	d := yaml.NewDecoder(strings.NewReader(read(t, filepath.Join(root, "deploy", "dapr.yaml"))))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.Version != 1 || len(f.Apps) != 4 {
		t.Fatalf("run file has version %d and %d apps, want 1 and 4", f.Version, len(f.Apps))
	}
	cluster, err := daprlocal.Start(t.Context(), daprlocal.Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	var sidecar string // of the worker, which is the file's last app
	for _, app := range f.Apps[1:] {
		sidecar = f.start(t, cluster, root, app)
	}
	require.EventuallyNoError(t, "the sidecar runs without AWS", time.Minute, func() error {
		return get(sidecar+"/v1.0/healthz/outbound", io.Discard)
	})
	f.start(t, cluster, root, f.Apps[0])

	api := "http://" + apiOf(f)
	require.EventuallyNoError(t, "the worker is ready", time.Minute, func() error { return get(api+"/readyz", io.Discard) })
	stock := client.Client{Base: api, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}.On("")
	if err := stock.Call(t.Context(), http.MethodPut, "/v1/stock/SKU-1", map[string]int{"onHand": 10}, nil); err != nil {
		t.Fatal(err)
	}
	post(t, api+"/v1/orders", `{"orderId":"o-1","customerId":"c-7","currency":"EUR",
		"lines":[{"sku":"SKU-1","quantity":2,"unitPrice":1999}],"payment":{"token":"tok_ok"}}`)
	require.EventuallyNoError(t, "the saga completes", time.Minute, func() error {
		var b strings.Builder
		if err := get(api+"/v1/sagas/o-1", &b); err != nil {
			return err
		}
		if !strings.Contains(b.String(), `"status":"COMPLETED"`) {
			return errors.New(b.String())
		}
		return nil
	})
}

// deployCopy copies the files that the run file names into a directory, with free
// ports. The binary is this test's.
func deployCopy(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	var ports []string
	for _, p := range []string{"4566", "8090", "8091", "8080"} {
		ports = append(ports, p, strconv.Itoa(freePort(t)))
	}
	other := strings.NewReplacer(ports...)
	for _, pattern := range []string{"deploy/*.*", "deploy/components/*", "components/local/configuration.yaml"} {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			to := filepath.Join(root, strings.TrimPrefix(file, filepath.Join("..", "..")))
			err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, []byte(other.Replace(read(t, file))), 0o600))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	self, err := os.Executable()
	err = errors.Join(err, os.Mkdir(filepath.Join(root, "bin"), 0o700), os.Symlink(self, filepath.Join(root, "bin", "ordersaga")),
		os.Mkdir(filepath.Join(root, ".dapr"), 0o700)) // the CLI creates it for its logs
	if err != nil {
		t.Fatal(err)
	}
	const alone = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: alone}
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration: {connectionString: .dapr/names.db}
`
	if err := os.WriteFile(filepath.Join(root, "alone.yaml"), []byte(alone), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

// start starts a sidecar and its app at once, as the CLI does. The sidecar gets
// the CLI's environment, and the app the file's too. It returns the sidecar's URL.
func (f runFile) start(t *testing.T, c *daprlocal.Cluster, root string, app runApp) (sidecar string) {
	t.Helper()
	daprd, err := daprlocal.FindOne("daprd")
	if err != nil {
		t.Fatal(err)
	}
	placement, scheduler := c.ControlPlane()
	dir, port := filepath.Join(root, "deploy", app.AppDirPath), func() string { return strconv.Itoa(freePort(t)) }
	http, grpc := port(), port()
	args := []string{
		"--app-id", app.AppID, "--app-port", strconv.Itoa(app.AppPort), "--app-protocol", f.Common.AppProtocol,
		"--dapr-http-port", http, "--dapr-grpc-port", grpc, "--dapr-internal-grpc-port", port(), "--metrics-port", port(),
		"--dapr-listen-addresses", f.Common.APIListenAddresses, "--placement-host-address", placement, "--scheduler-host-address", scheduler,
		"--config", filepath.Join(root, "deploy", f.Common.ConfigFilePath), "--config", filepath.Join(root, "alone.yaml"),
	}
	for _, r := range f.Common.ResourcesPaths {
		args = append(args, "--resources-path", filepath.Join(root, "deploy", r))
	}
	child(t, dir, nil, append([]string{daprd}, args...))
	env := []string{asOrdersaga + "=1", "APP_ID=" + app.AppID, "DAPR_HTTP_PORT=" + http, "DAPR_GRPC_PORT=" + grpc}
	for _, from := range []map[string]string{f.Common.Env, app.Env} {
		for k, v := range from {
			env = append(env, k+"="+v)
		}
	}
	child(t, dir, env, app.Command)
	return "http://127.0.0.1:" + http
}

// child runs a command, with all it starts, until the test ends.
func child(t *testing.T, dir string, env, command []string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if strings.Contains(command[0], "/") && !filepath.IsAbs(command[0]) {
		cmd.Path = filepath.Join(dir, command[0])
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended by itself
		kill := time.AfterFunc(15*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		_ = cmd.Wait() // its status does not matter
		kill.Stop()
		if t.Failed() {
			t.Logf("--- %s\n%s", strings.Join(command, " "), tail([]byte(out.String()), 3000))
		}
	})
}

// apiOf returns the worker's listen address.
func apiOf(f runFile) string {
	words := strings.Fields(strings.Join(f.Apps[len(f.Apps)-1].Command, " "))
	return words[slices.Index(words, "--listen")+1]
}
