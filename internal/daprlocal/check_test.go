package daprlocal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/components"
)

// TestCheck has what daprd passes over without a word.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ file, old, replacement, want string }{
		"as it is":         {},
		"timeout":          {"resiliency.yaml", "timeout: store\n", "timeout: shop\n", "resiliency.yaml: component statestore wants the timeout shop, which is not there"},
		"retry":            {"resiliency.yaml", "retry: payment\n", "retry: pay\n", "resiliency.yaml: app payment wants the retry pay, which is not there"},
		"built-in retry":   {"resiliency.yaml", "retry: payment\n", "retry: DaprBuiltInServiceRetries\n", ""},
		"circuit breaker":  {"resiliency.yaml", "timeout: payment\n", "circuitBreaker: pay\n", "resiliency.yaml: app payment wants the circuit breaker pay, which is not there"},
		"kind":             {"resiliency.yaml", "kind: Resiliency", "kind: Resilience", "resiliency.yaml: kind \"Resilience\" is none of "},
		"version":          {"resiliency.yaml", "v1alpha1", "v1alpha9", "resiliency.yaml: apiVersion dapr.io/v1alpha9 is none of v1alpha1, v2alpha1"},
		"component":        {"resiliency.yaml", "      statestore:", "      statestoree:", "resiliency.yaml: a resiliency target wants the component statestoree, which is not there"},
		"subscription":     {"subscription.yaml", "pubsubname: orderpubsub", "pubsubname: orders", "subscription.yaml: subscription shipments wants the component orders, which is not there"},
		"no workflows":     {"statestore.yaml", "actorStateStore", "actorStatestoree", "no state store has the metadata actorStateStore"},
		"workflows off":    {"statestore.yaml", "value: \"true\" # workflows", "value: \"false\" # workflows", "no state store has the metadata actorStateStore"},
		"daprd's business": {"resiliency.yaml", "spec:", "spec: [", ""},
		"not Dapr's":       {"resiliency.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Resiliency", "apiVersion: apps/v1\nkind: Deployment", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := components.WriteLocal(dir, "sqlite", "/data/state.db", "payment"); err != nil {
				t.Fatal(err)
			}
			if c.file != "" {
				file := filepath.Join(dir, c.file)
				b, err := os.ReadFile(file)
				if err != nil || !strings.Contains(string(b), c.old) {
					t.Fatalf("%v, and %q must be in it:\n%s", err, c.old, b)
				}
				if err := os.WriteFile(file, []byte(strings.Replace(string(b), c.old, c.replacement, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := check([]string{dir}, true); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestCheckHidden: a store's address that is in the sidecars' environment only is
// hidden from others that read its file.
func TestCheckHidden(t *testing.T) {
	for address, hidden := range map[string]bool{"": true, "/data/state.db": false} {
		dir := t.TempDir()
		if err := components.WriteLocal(dir, "sqlite", address, "payment"); err != nil {
			t.Fatal(err)
		}
		want := ""
		if hidden {
			want = filepath.Join(dir, "statestore.yaml")
		}
		if got, err := check([]string{dir}, true); got != want || err != nil {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
}

// TestCheckOurs: nothing is said of the folders that come with this.
func TestCheckOurs(t *testing.T) {
	for _, folders := range [][]string{{"components/aws", "components/aws/redis"}, {"components/aws", "components/aws/postgresql"}, {"deploy/components"}} {
		for i := range folders {
			folders[i] = filepath.Join("..", "..", folders[i])
		}
		if _, err := check(folders, true); err != nil {
			t.Error(err)
		}
	}
}
