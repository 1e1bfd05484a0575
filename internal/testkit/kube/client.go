package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// StatusError is an error response of the API server.
type StatusError struct {
	Code int    // HTTP status
	Body string // usually a Status object as JSON
}

// Error returns the status and the body.
func (e *StatusError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Body) }

// IsStatus reports whether err is an error response of the API server with that HTTP status.
func IsStatus(err error, code int) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Code == code
}

// newHTTP returns an HTTP client that trusts the cluster's authority.
func (c *Cluster) newHTTP() *http.Client {
	c.t.Helper()
	pem, err := os.ReadFile(c.ca.file("ca.crt"))
	require.NoError(c.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	c.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// Get reads the object at a path of the API into out, which may be nil.
func (c *Cluster) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, out)
}

// Post creates an object.
func (c *Cluster) Post(ctx context.Context, path string, in any) error {
	return c.send(ctx, http.MethodPost, path, "application/json", in)
}

// Patch changes an object by a JSON merge patch.
func (c *Cluster) Patch(ctx context.Context, path string, in any) error {
	return c.send(ctx, http.MethodPatch, path, "application/merge-patch+json", in)
}

// Delete deletes an object. options are DeleteOptions, or nil.
func (c *Cluster) Delete(ctx context.Context, path string, options any) error {
	return c.send(ctx, http.MethodDelete, path, "application/json", options)
}

func (c *Cluster) send(ctx context.Context, method, path, kind string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", method, path, err)
	}
	return c.do(ctx, method, path, kind, body, nil)
}

func (c *Cluster) do(ctx context.Context, method, path, kind string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %w", method, path, &StatusError{Code: res.StatusCode, Body: string(b)})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode %s %s: %w", method, path, err)
	}
	return nil
}

// ApplyCRDs applies all custom resource definitions in a directory, and waits until the API server
// serves them.
func (c *Cluster) ApplyCRDs(dir string) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	require.NoError(c.t, err)
	if len(files) == 0 {
		c.t.Fatalf("no CRDs in %s, want at least one", dir)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(c.t, err)
		for doc := range strings.SplitSeq(string(b), "\n---") {
			var crd struct {
				Kind     string
				Metadata struct{ Name string }
			}
			require.NoError(c.t, yaml.Unmarshal([]byte(doc), &crd))
			if crd.Kind != "CustomResourceDefinition" {
				continue
			}
			at := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + crd.Metadata.Name
			apply := at + "?fieldManager=test&force=true"
			require.NoError(c.t, c.do(c.t.Context(), http.MethodPatch, apply, "application/apply-patch+yaml", []byte(doc), nil))
			testkit.Within(c.t, slowest, crd.Metadata.Name+" is established", func() error {
				var is struct {
					Status struct {
						Conditions []struct{ Type, Status string }
					}
				}
				if err := c.Get(c.t.Context(), at, &is); err != nil {
					return err
				}
				for _, s := range is.Status.Conditions {
					if s.Type == "Established" && s.Status == "True" {
						return nil
					}
				}
				return errors.New("its condition Established is not true")
			})
		}
	}
}
