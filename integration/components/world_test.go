package components

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

const region = "eu-central-1" // not the default of emulators

// world is an AWS emulator in which `ordersaga setup` has run.
type world struct {
	endpoint  string
	clients   *cloud.Clients
	resources cloud.Resources
}

func newWorld(t *testing.T) world {
	t.Helper()
	testkit.RequireSentry(t)
	w := world{endpoint: testkit.Moto(t).Address}
	testkit.Eventually(t, "moto accepts requests", func() error {
		_, err := fetch(http.MethodGet, w.endpoint+"/moto-api/", "")
		return err
	})
	var err error
	w.clients, err = cloud.New(t.Context(), cloud.Options{Region: region, Endpoint: w.endpoint})
	require.NoError(t, err)
	w.resources, err = w.clients.Setup(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.clients.CreateCursorTable(t.Context(), ""))
	return w
}

// env returns the environment that a pod has from its role and its deployment.
func (w world) env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + w.endpoint, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=role", "AWS_SECRET_ACCESS_KEY=role", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// putSecret stores a secret in Secrets Manager. It does not use the SDK, because nothing else
// needs that part of it.
func (w world) putSecret(t *testing.T, name, value string) {
	t.Helper()
	body := fmt.Sprintf(`{"Name":%q,"SecretString":%q,"ClientRequestToken":%q}`, name, value, uuid.NewString())
	req, err := http.NewRequest(http.MethodPost, w.endpoint, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-Amz-Target", "secretsmanager.CreateSecret")
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("Authorization",
		"AWS4-HMAC-SHA256 Credential=k/20260101/"+region+"/secretsmanager/aws4_request, SignedHeaders=host, Signature=0")
	_, err = send(req)
	require.NoError(t, err)
}

// shipped returns a directory of components/aws in the repository; "" is the one with the
// components that all state stores share.
func shipped(t *testing.T, folder string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(root, "components", "aws", folder))
	require.NoError(t, err)
	return dir
}

// dapr starts a control plane for sidecars with the shipped components and configuration. It uses
// mTLS, because the rules in the configuration refer to certificates.
func (w world) dapr(t *testing.T, more ...func(*daprlocal.Options)) *daprlocal.Cluster {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "dapr.log"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	o := daprlocal.Options{
		Dir: dir, AWSEndpoint: w.endpoint, Logger: zerolog.New(log), MTLS: true, Env: w.env(),
		Resources: []string{shipped(t, "")}, Configs: []string{filepath.Join(shipped(t, ""), "configuration.yaml"), aloneOnTheNetwork(t, dir)},
	}
	for _, change := range more {
		change(&o)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b, err := os.ReadFile(log.Name())
			t.Logf("--- Dapr (%v)\n%s", err, complaints(b))
		}
	})
	c, err := daprlocal.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	return c
}

// into gives the components' and processes' log a place to be read from.
func into(w io.Writer) func(*daprlocal.Options) {
	return func(o *daprlocal.Options) { o.Logger = zerolog.New(w) }
}

// with adds a folder of components.
func with(folder string) func(*daprlocal.Options) {
	return func(o *daprlocal.Options) { o.Resources = append(o.Resources, folder) }
}

// aloneOnTheNetwork is one more configuration: sidecars find each other in a
// file. Without Kubernetes they would by multicast, and find those of others.
func aloneOnTheNetwork(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "alone.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: alone}
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration: {connectionString: `+filepath.Join(dir, "names.db")+`}
`), 0o600))
	return file
}

func sidecar(t *testing.T, c *daprlocal.Cluster, a daprlocal.App) *daprlocal.Sidecar {
	t.Helper()
	s, err := c.Sidecar(t.Context(), a)
	require.NoError(t, err)
	return s
}

// serve runs an app, and returns its port.
func serve(t *testing.T, h http.Handler) int {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	var port int
	_, err := fmt.Sscanf(s.URL, "http://127.0.0.1:%d", &port)
	require.NoError(t, err)
	return port
}

var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// statusError is an answer other than 2xx.
type statusError struct {
	code int
	body string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.code, e.body) }

func fetch(method, url, body string) (string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	return send(req)
}

func send(req *http.Request) (string, error) {
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = &statusError{res.StatusCode, string(b)}
	}
	return string(b), err
}

// logged keeps what is written to it.
type logged struct {
	mu sync.Mutex
	b  []byte
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b, []byte(text))
}

// complaints are the last lines of a log that are worth a look.
func complaints(log []byte) string {
	var bad []string
	for l := range strings.Lines(string(log)) {
		if strings.Contains(l, "level=warn") || strings.Contains(l, "level=error") || strings.Contains(l, "level=fatal") {
			bad = append(bad, l)
		}
	}
	return strings.Join(bad[max(0, len(bad)-20):], "")
}
