package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/components"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestBadCommandLineIsRejected(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	takenPort := taken.Addr().String()[len("127.0.0.1:"):]
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"", 2, "expected one of"},
		{"fly", 2, "See `ordersaga --help`."},
		{"saga", 2, "See `ordersaga saga --help`."},
		{"saga list --limit x", 2, "See `ordersaga saga list --help`."},
		{"saga show o-1 --fly", 2, "See `ordersaga saga show --help`."},
		{"dev --demo", 2, "--demo"},
		{"dev --demo x", 2, "--demo"},
		{"dev --demo=-1", 1, "--demo"},
		{"dev --exit", 1, "--exit"},
		{"dev --workers 2", 1, "--workers is valid only with --engine dapr"},
		{"dev --workers 0", 1, "--workers must be 1 or more, is 0"},
		{"dev --engine dapr --state redis", 1, "--state-address"},
		{
			"dev --engine dapr --dapr-max-body-size 65", 1,
			"--dapr-max-body-size must be 4 to 64 MiB, is 65; 64 MiB is the most that a worker receives",
		},
		{
			"dev --engine dapr --components . --state redis --state-address 127.0.0.1:1", 1,
			"--components is not allowed with --state and --state-address",
		},
		{"dev --engine dapr --components . --state sqlite", 1, "--components"},
		{"dev --engine dapr --state sqlite --state-address x", 1, "--state-address"},
		{"dev --engine dapr --state mysql", 2, "--state"},
		{"dev --open-sidecars", 1, "--open-sidecars requires --engine dapr"},
		{"dev --engine temporal", 2, "--engine"},
		{"dev --fsync sometimes", 2, "--fsync"},
		{"dev --ephemeral --port " + takenPort + " --aws-port 0 --payment-port 0 --carrier-port 0", 1, "API"},
		{"dev --ephemeral --aws-port " + takenPort, 1, "local AWS"},
		{"dev --ephemeral --aws-port 99999", 1, "99999"},
		{"dev --aws-port 0 --port 0 --payment-port 0 --carrier-port 0 --data-dir " + file, 1, "data directory"},
		{"worker --approval-above *=5 --approval-timeout 0s --listen 127.0.0.1:0 --ephemeral", 1, "approval timeout"},
		{"worker --carrier-timeout 0s --listen 127.0.0.1:0 --ephemeral", 1, "carrier timeout must be positive"},
		{"worker --no-await-carrier --carrier-timeout 0s --pace=-1 --listen 127.0.0.1:0 --ephemeral", 1, "worker settings: pace"},
		{"worker --await-carrier --carrier-timeout 0s --listen 127.0.0.1:0 --ephemeral", 1, "carrier timeout"},
		{
			"worker --patience=-5s --payment-url nonsense --payment-timeout=-1s --listen 127.0.0.1:0 --ephemeral", 1,
			`ordersaga: worker settings: payment URL "nonsense" must be an http or https URL, such as http://127.0.0.1:8090; payment timeout must be positive, is -1s; patience must not be negative, is -5s` + "\n",
		},
		{
			"worker --approval-above 100000 --listen 127.0.0.1:0 --ephemeral", 2,
			`"100000" names no currency: use EUR=1000.00, and *=1000.00 for all others`,
		},
		{"worker --approval-above EUR=1000.005 --listen 127.0.0.1:0 --ephemeral", 2, "1000.005 has more decimals than EUR, which has 2"},
		{"worker --approval-above ABC=1 --listen 127.0.0.1:0 --ephemeral", 2, "ISO 4217"},
		{"saga list --customer=", 2, "--customer: must not be empty; omit the flag"},
		{"saga list --status=", 2, "--status: must not be empty; omit the flag"},
		{"saga list --since=", 2, "--since: must not be empty; omit the flag"},
		{"worker --approval-above EUR=-5 --listen 127.0.0.1:0 --ephemeral", 2, "more than 0"},
		{"worker --aws-endpoint ftp://x --listen 127.0.0.1:0 --ephemeral", 1, "must be an http or https URL"},
		{"setup --aws-endpoint ftp://x", 1, "must be an http or https URL"},
		{"reconcile --offline --reconcile-grace=-1s", 1, "reconcile grace must not be negative"},
		{"worker --pace=-1 --listen 127.0.0.1:0 --ephemeral", 1, "pace"},
		{"worker --max-live 0 --listen 127.0.0.1:0 --ephemeral", 1, "max live"},
		{"worker --listen nowhere", 1, "nowhere"},
		{"worker --listen 0.0.0.0:0 --ephemeral", 1, "--listen 0.0.0.0:0 is not loopback and requests are not authenticated"},
		{"worker --listen :0 --ephemeral", 1, "--oidc-issuer, or --open"},
		{"worker --listen 127.0.0.1:0 --open --oidc-issuer https://id.example.com --oidc-audience a", 1, "--open"},
		{"worker --listen 127.0.0.1:0 --oidc-issuer https://id.example.com", 1, "audience is missing"},
		{"worker --listen 127.0.0.1:0 --oidc-issuer http://id.example.com --oidc-audience a", 1, "https"},
		{"worker --listen 127.0.0.1:0 --oidc-audience a", 1, "require --oidc-issuer"},
		{"worker --engine-listen 127.0.0.1 --ephemeral", 1, "--engine-listen"},
		{"worker --engine-listen 0.0.0.0:0 --ephemeral", 1, "loopback"},
		{"worker --engine-listen example.com:1 --ephemeral", 1, "loopback"},
		{"worker --engine dapr --engine-listen 127.0.0.1:0", 1, "sidecar"},
		{"worker --engine dapr --fsync off --listen 127.0.0.1:0", 1, "--fsync is valid only with --engine embedded"},
		{"worker --engine dapr --data-dir x --listen 127.0.0.1:0", 1, "--data-dir is valid only with --engine embedded"},
		{"worker --engine dapr --ephemeral --listen 127.0.0.1:0", 1, "--ephemeral is valid only with --engine embedded"},
		{"worker --engine dapr --take-over --listen 127.0.0.1:0", 1, "--force-ownership is valid only with --engine embedded"},
		{"worker --pubsub x --listen 127.0.0.1:0 --ephemeral", 1, "--pubsub is valid only with --engine dapr"},
		{"bench --engine dapr --fsync group", 1, "--fsync is valid only with --engine embedded"},
		{"bench --workers 2", 1, "--workers is valid only with --engine dapr"},
		{"dev --engine dapr --fsync off --ephemeral", 1, "--fsync is valid only with --engine embedded"},
		{"dev --state redis --state-address 127.0.0.1:1 --ephemeral", 1, "--state is valid only with --engine dapr"},
		{"worker --no-sagas --listen 127.0.0.1:0 --ephemeral", 1, "no sagas: requires Dapr"},
		{"dev --engine-listen :0 --ephemeral", 1, "loopback"},
		{"dev --engine dapr --engine-listen 127.0.0.1:0", 1, "sidecar"},
		{"dev --engine-listen 127.0.0.1:" + takenPort + " --ephemeral", 1, "--engine-listen"},
		{"worker --listen 127.0.0.1:0 --ephemeral --aws-endpoint http://127.0.0.1:1", 1, "queue OrderProcessingQueue"},
		{"worker --listen 127.0.0.1:0 --ephemeral --aws-endpoint http://127.0.0.1:1", 1, "looking for queues and topics endpoint=http://127.0.0.1:1"},
		{"setup --aws-endpoint http://127.0.0.1:1", 1, "create topic"},
		{"check --aws-endpoint http://127.0.0.1:1", 1, "read the installation: read from table orders"},
		{"reconcile --api http://127.0.0.1:1", 1, "--offline"},
		{"reconcile --api http://127.0.0.1:1 --api-token t --log-level error --log-format json", 1, "no worker answers"},
		{"reconcile --no-await-carrier", 1, "--no-await-carrier: without --offline only --api, --api-token and the logging flags are allowed"},
		{"reconcile --api http://127.0.0.1:1 --data-dir x", 1, "--data-dir: without --offline only"},
		{"local-aws --listen 0.0.0.0:0 --ephemeral", 1, "loopback"},
		{"payment --listen :0 --ephemeral", 1, "loopback"},
		{"carrier --listen 192.0.2.1:1 --ephemeral", 1, "loopback"},
		{"local-aws --throttle 2 --ephemeral", 1, "--throttle"},
		{"local-aws --conflict=-0.1 --ephemeral", 1, "--conflict"},
		{"local-aws --listen 127.0.0.1:0 --data-dir " + file, 1, "local AWS"},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, _, stderr := ordersaga(t, strings.Fields(c.args)...)
			if status != c.status || !strings.Contains(stderr, c.want) {
				t.Errorf("status %d, want %d and %q:\n%s", status, c.status, c.want, stderr)
			}
		})
	}
}

// TestMissingCredentialsErrorNamesTheEndpointOfDev runs the commands that read AWS directly
// without credentials, as beside dev.
func TestMissingCredentialsErrorNamesTheEndpointOfDev(t *testing.T) {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	const want = "no AWS credentials were found: on EKS, set the annotation eks.amazonaws.com/role-arn of the service account; " +
		"elsewhere, AWS_PROFILE or AWS_ACCESS_KEY_ID; with `ordersaga dev`, --aws-endpoint http://127.0.0.1:4566\n"
	for _, args := range []string{
		"check", "setup", "worker --listen 127.0.0.1:0 --ephemeral", "carrier --listen 127.0.0.1:0 --ephemeral",
		"reconcile --offline --data-dir " + none,
	} {
		status, _, stderr := ordersaga(t, strings.Fields(args)...)
		if status != 1 || !strings.HasSuffix(stderr, want) {
			t.Errorf("%s: status %d, errors %s, want 1 and at their end %q", args, status, stderr, want)
		}
	}
}

// devArgs returns dev's arguments with free ports.
func devArgs(more ...string) []string {
	return append([]string{"dev", "--port=0", "--aws-port=0", "--payment-port=0", "--carrier-port=0", "--log-level=error"}, more...)
}

// TestDemo runs the demo on both engines, and on Dapr with each state store.
func TestDemo(t *testing.T) {
	for name, flags := range map[string]func(t *testing.T) []string{
		"embedded":    func(*testing.T) []string { return nil },
		"dapr/sqlite": func(*testing.T) []string { return []string{"--engine=dapr"} },
		"dapr/redis": func(t *testing.T) []string {
			return []string{"--engine=dapr", "--workers=2", "--state=redis", "--state-address=" + testkit.Redis(t).Address}
		},
		"dapr/postgresql": func(t *testing.T) []string {
			return []string{"--engine=dapr", "--workers=2", "--state=postgresql", "--state-address=" + testkit.PostgreSQL(t).Address}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "embedded" {
				testkit.RequireDapr(t)
			}
			args := devArgs(append(flags(t), "--exit", "--data-dir="+t.TempDir())...)
			for _, orders := range []string{"40", "20"} { // the second starts with the state of the first
				status, out, stderr := ordersaga(t, append(args, "--demo="+orders)...)
				if status != 0 || !strings.Contains(out, "All invariants held") {
					t.Fatalf("demo of %s orders: status %d, want 0 and all invariants\n%s\n%s", orders, status, out, stderr)
				}
				for _, want := range []string{"refused by the carrier", "dead letter", "AWS calls per saga", "Stock ledger", "curl -i http://127.0.0.1:", "aws --region us-east-1 --endpoint-url http://127.0.0.1:"} {
					if !strings.Contains(out, want) {
						t.Errorf("want %q in the output:\n%s", want, out)
					}
				}
			}
		})
	}
}

// TestDevServesUntilInterrupted places an order as the greeting shows, and ends
// dev as Ctrl-C does.
func TestDevServesUntilInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, devArgs("--ephemeral"), w, io.Discard)
		_ = w.Close()
	}()
	greeting := readUntil(t, r, "/v1/sagas/o-1043")
	go func() { _, _ = io.Copy(io.Discard, r) }()

	api := between(t, greeting, "API        ", " ")
	body := between(t, greeting, "-d '", "'")
	post(t, api+"/v1/orders", body)
	require.EventuallyNoError(t, "order completes", 20*time.Second, func() error { return sagaIs(api, "o-1042", "COMPLETED") })
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("dev ended with status %d, want 0", status)
	}
}

// TestEventPublishedThroughDaprStartsASaga publishes to OrderEvents through a sidecar, in a
// CloudEvent, and expects a saga.
func TestEventPublishedThroughDaprStartsASaga(t *testing.T) {
	testkit.RequireDapr(t)
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, devArgs("--ephemeral", "--engine=dapr"), w, io.Discard)
		_ = w.Close()
	}()
	greeting := readUntil(t, r, "/v1/sagas/o-1044")
	go func() { _, _ = io.Copy(io.Discard, r) }()

	api := between(t, greeting, "API        ", " ")
	_, dapr, _ := strings.Cut(greeting, "Or publish an order through Dapr")
	url := between(t, dapr, "curl -i ", " ")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(between(t, dapr, "-d '", "'")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for token, want := range map[string]int{
		"": http.StatusUnauthorized, "guess": http.StatusUnauthorized,
		between(t, dapr, "dapr-api-token: ", "'"): http.StatusNoContent,
	} {
		req.Header.Set("dapr-api-token", token)
		again := req.Clone(ctx)
		again.Body, _ = req.GetBody() // a string never fails
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(again)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("publish: status %s, want %d", res.Status, want)
		}
	}
	require.EventuallyNoError(t, "order completes", 30*time.Second, func() error { return sagaIs(api, "o-1044", "COMPLETED") })
	require.EventuallyNoError(t, "worker is ready", 30*time.Second, func() error { return get(api+"/readyz", io.Discard) })
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("dev ended with status %d, want 0", status)
	}
}

// TestBadDaprComponentIsOneLineOfError also checks, with goleak, that nothing is
// left running.
func TestBadDaprComponentIsOneLineOfError(t *testing.T) {
	testkit.RequireDapr(t)
	for name, c := range map[string]struct {
		edit func(text string) string
		args []string
		want string
	}{
		"state store that is not up": {args: []string{"--state=redis", "--state-address=127.0.0.1:1"}, want: "statestore.*127.0.0.1:1"},
		"wrong value": {edit: func(text string) string {
			return strings.ReplaceAll(text, `value: "61"`, `value: "many"`)
		}, want: "orderpubsub.*messageRetryLimit.*many"},
		"wrong type": {edit: func(text string) string {
			return strings.ReplaceAll(text, "type: pubsub.aws.snssqs", "type: pubsub.aws.snsqs")
		}, want: "orderpubsub.*pubsub.aws.snsqs"},
		"missing field": {edit: func(text string) string {
			return strings.ReplaceAll(text, "- name: connectionString", "- name: connectString")
		}, want: "statestore.*connection string"},
		"bad duration": {edit: func(text string) string {
			return strings.ReplaceAll(text, "payment: 2s", "payment: 2 parsecs")
		}, want: `Could not read resiliency policy ordersaga: invalid duration "payment", 2 parsecs`},
		"no YAML": {edit: func(text string) string {
			return strings.ReplaceAll(text, "kind: Subscription", "kind: [Subscription")
		}, want: "subscription.yaml: error converting YAML"},
		"wrong configuration": {edit: func(text string) string {
			return strings.ReplaceAll(text, "metrics:", "metrics: [")
		}, want: "error loading configuration"},
		"unknown policy": {edit: func(text string) string {
			return strings.ReplaceAll(text, "timeout: store\n", "timeout: shop\n")
		}, want: "resiliency.yaml: component statestore needs the timeout shop"},
		"unknown kind": {edit: func(text string) string {
			return strings.ReplaceAll(text, "kind: Resiliency", "kind: Resilience")
		}, want: `resiliency.yaml: kind "Resilience" is none of`},
		"no store for workflows": {edit: func(text string) string {
			return strings.ReplaceAll(text, "actorStateStore", "actorStateStor")
		}, want: "no state store has the metadata actorStateStore"},
		"missing component": {edit: func(text string) string {
			return strings.ReplaceAll(text, "orderpubsub", "pubsub")
		}, want: `no component orderpubsub \(it has: `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--engine=dapr", "--ephemeral", "--demo=1", "--exit"}, c.args...)
			if c.edit != nil {
				args = append(args, "--components="+editedComponents(t, c.edit))
			}
			status, _, stderr := ordersaga(t, devArgs(args...)...)
			ok, err := regexp.MatchString("^ordersaga: [^\n]*"+c.want, stderr)
			if status != 1 || !ok || err != nil || strings.Count(stderr, "\n") != 1 {
				t.Errorf("status %d, want 1 and one line with %q: %s", status, c.want, stderr)
			}
		})
	}
}

// editedComponents returns a directory with the local components, each edited.
func editedComponents(t *testing.T, edit func(text string) string) string {
	t.Helper()
	dir := t.TempDir()
	if err := components.WriteLocal(dir, "sqlite", "", "payment"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d component files, %v, want some", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(f, []byte(edit(string(b))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSecondDevOnADataDirFails(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, devArgs("--data-dir="+dir), w, io.Discard)
		_ = w.Close()
	}()
	readUntil(t, r, "ordersaga is up")
	go func() { _, _ = io.Copy(io.Discard, r) }()
	status, _, stderr := ordersaga(t, devArgs("--data-dir="+dir)...)
	if status != 1 || !strings.Contains(stderr, "in use") {
		t.Errorf("second dev: status %d, %s, want 1 and that the directory is in use", status, stderr)
	}
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("dev ended with status %d, want 0", status)
	}
}

func readUntil(t *testing.T, r io.Reader, mark string) string {
	t.Helper()
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), mark) {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatalf("output ended (%v) without %q:\n%s", err, mark, text.String())
		}
		text.Write(buf[:n])
	}
	return text.String()
}

func between(t *testing.T, s, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, from)
	got, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("want %q and after it %q in\n%s", from, to, s)
	}
	return got
}

func sagaIs(api, id, want string) error {
	var b strings.Builder
	if err := get(api+"/v1/sagas/"+id, &b); err != nil {
		return err
	}
	var saga struct{ Status string }
	if err := json.Unmarshal([]byte(b.String()), &saga); err != nil {
		return err
	}
	if saga.Status != want {
		return &wrongStatusError{status: saga.Status}
	}
	return nil
}

type wrongStatusError struct{ status string }

func (e *wrongStatusError) Error() string { return "status is " + e.status }
