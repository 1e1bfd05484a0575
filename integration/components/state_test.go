package components

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestStateStoresRunWorkflows uses each of the shipped state stores, whose
// passwords come from the secret store, and reads the worker's own secret.
func TestStateStoresRunWorkflows(t *testing.T) {
	t.Parallel()
	for store, start := range map[string]func(*testing.T, world) []string{
		"redis": func(t *testing.T, w world) []string {
			ca, cert, key := certificate(t)
			s := testkit.Redis(t, "--requirepass", "redis's",
				"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no")
			w.putSecret(t, "ordersaga/redis-password", "redis's")
			return []string{"ORDERSAGA_STATE_ADDRESS=" + s.Address, "SSL_CERT_FILE=" + ca}
		},
		"postgresql": func(t *testing.T, w world) []string {
			w.putSecret(t, "ordersaga/postgresql", testkit.PostgreSQL(t).Address)
			return nil
		},
	} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t)
			w.putSecret(t, worker.PaymentKeySecret, "the provider's key")
			env := start(t, w)
			c := w.dapr(t, with(shipped(t, store)), func(o *daprlocal.Options) { o.Env = append(o.Env, env...) })
			e := newWorker(t, c)

			require.NoError(t, e.Start(t.Context(), "wide", "w-1", waves{N: 1, Width: 3}))
			if got, err := e.Wait(t.Context(), "w-1"); err != nil || string(got.Output) != "3" {
				t.Errorf("output = %s (error %v), want 3", got.Output, err)
			}
			if ids, _, err := e.List(t.Context(), "", 1000); err != nil || !slices.Contains(ids, "w-1") {
				t.Errorf("List = %v (error %v), want w-1 in it", ids, err)
			}
			if key, err := e.Secret(t.Context(), "secretstore", worker.PaymentKeySecret); err != nil || key != "the provider's key" {
				t.Errorf("secret = %q (error %v), want the provider's key", key, err)
			}
			for _, secret := range []string{"ordersaga/redis-password", "ordersaga/postgresql"} {
				if v, err := e.Secret(t.Context(), "secretstore", secret); err == nil || !strings.Contains(err.Error(), "access denied") {
					t.Errorf("%s: %q %v, must be refused", secret, v, err)
				}
			}
		})
	}
}

// certificate makes one for a server on loopback, which signs itself.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	c, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(k)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600))
		return file
	}
	cert = write("cert.pem", "CERTIFICATE", c)
	return cert, cert, write("key.pem", "EC PRIVATE KEY", private)
}

// TestCursorStoreSavesAndReadsCursors: Dapr's plain state API on DynamoDB.
func TestCursorStoreSavesAndReadsCursors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.dapr(t)
	url := sidecar(t, c, daprlocal.App{ID: "ordersaga"}).HTTP + "/v1.0/state/cursorstore"
	if got, err := fetch(http.MethodGet, url+"/reconciler", ""); err != nil || got != "" {
		t.Errorf("cursor before it was saved = %q (error %v), want none", got, err)
	}
	save := func(value, etag string) error {
		body := `[{"key":"reconciler","value":"` + value + `"}]`
		if etag != "" {
			body = `[{"key":"reconciler","value":"` + value + `","etag":"` + etag + `","options":{"concurrency":"first-write"}}]`
		}
		_, err := fetch(http.MethodPost, url, body)
		return err
	}
	read := func() (value, etag string) {
		res, err := client.Get(url + "/reconciler?consistency=strong")
		require.NoError(t, err)
		defer res.Body.Close()
		b := make([]byte, 100)
		n, _ := res.Body.Read(b) // a few bytes, or none
		return string(b[:n]), res.Header.Get("ETag")
	}
	require.NoError(t, save("page-1", ""))
	value, etag := read()
	if value != `"page-1"` || etag == "" {
		t.Fatalf("value = %s with ETag %q, want page-1 with an ETag", value, etag)
	}
	require.NoError(t, save("page-2", etag))
	var conflict *statusError
	if err := save("page-3", etag); !errors.As(err, &conflict) || conflict.code != http.StatusConflict {
		t.Errorf("save with an old ETag: %v, want a conflict", err)
	}
	if value, _ := read(); value != `"page-2"` {
		t.Errorf("value after the conflict = %s, want page-2", value)
	}
	_, err := fetch(http.MethodDelete, url+"/reconciler", "")
	require.NoError(t, err)
	if value, etag := read(); value != "" || etag != "" {
		t.Errorf("after the deletion value = %s with ETag %q, want neither", value, etag)
	}
}
