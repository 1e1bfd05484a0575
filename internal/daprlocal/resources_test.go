package daprlocal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/components"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestCheckResourcesFindsWhatDaprdIgnores covers faults that daprd ignores silently.
func TestCheckResourcesFindsWhatDaprdIgnores(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, old, replacement, want string }{
		"unchanged": {},
		"timeout": {
			"resiliency.yaml", "timeout: store\n", "timeout: shop\n",
			"resiliency.yaml: component statestore needs the timeout shop, which does not exist",
		},
		"retry": {
			"resiliency.yaml", "retry: payment\n", "retry: pay\n",
			"resiliency.yaml: app payment needs the retry pay, which does not exist",
		},
		"built-in retry": {"resiliency.yaml", "retry: payment\n", "retry: DaprBuiltInServiceRetries\n", ""},
		"circuit breaker": {
			"resiliency.yaml", "timeout: payment\n", "circuitBreaker: pay\n",
			"resiliency.yaml: app payment needs the circuit breaker pay, which does not exist",
		},
		"kind": {"resiliency.yaml", "kind: Resiliency", "kind: Resilience", "resiliency.yaml: kind \"Resilience\" is none of "},
		"version": {
			"resiliency.yaml", "v1alpha1", "v1alpha9",
			"resiliency.yaml: apiVersion dapr.io/v1alpha9 is none of v1alpha1, v2alpha1",
		},
		"component": {
			"resiliency.yaml", "      statestore:", "      statestoree:",
			"resiliency.yaml: a resiliency target needs the component statestoree, which does not exist",
		},
		"subscription": {
			"subscription.yaml", "pubsubname: orderpubsub", "pubsubname: orders",
			"subscription.yaml: subscription shipments needs the component orders, which does not exist",
		},
		"no workflows":  {"statestore.yaml", "actorStateStore", "actorStatestoree", "no state store has the metadata actorStateStore"},
		"workflows off": {"statestore.yaml", "value: \"true\"", "value: \"false\"", "no state store has the metadata actorStateStore"},
		"left to daprd": {"resiliency.yaml", "spec:", "spec: [", ""},
		"not Dapr's":    {"resiliency.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Resiliency", "apiVersion: apps/v1\nkind: Deployment", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, components.WriteLocal(dir, "sqlite", "/data/state.db", "payment"))
			if c.file != "" {
				file := filepath.Join(dir, c.file)
				b, err := os.ReadFile(file)
				if err != nil || !strings.Contains(string(b), c.old) {
					t.Fatalf("%s (error %v) does not contain %q, want this text to replace:\n%s", file, err, c.old, b)
				}
				require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(b), c.old, c.replacement, 1)), 0o600))
			}
			_, err := checkResources([]string{dir}, true)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("checkResources = %v, want %q", err, c.want)
			}
		})
	}
}

// TestCheckResourcesReportsAnEnvRef: an address that is only in the sidecars'
// environment is not visible to other programs that read the file.
func TestCheckResourcesReportsAnEnvRef(t *testing.T) {
	t.Parallel()
	for address, hidden := range map[string]bool{"": true, "/data/state.db": false} {
		dir := t.TempDir()
		require.NoError(t, components.WriteLocal(dir, "sqlite", address, "payment"))
		want := ""
		if hidden {
			want = filepath.Join(dir, "statestore.yaml")
		}
		if got, err := checkResources([]string{dir}, true); got != want || err != nil {
			t.Errorf("checkResources with address %q = %q, %v, want %q", address, got, err, want)
		}
	}
}

func TestCheckResourcesAcceptsTheRepositorysFolders(t *testing.T) {
	t.Parallel()
	for _, folders := range [][]string{
		{"components/aws", "components/aws/redis"}, {"components/aws", "components/aws/postgresql"}, {"deploy/components"},
	} {
		for i := range folders {
			folders[i] = filepath.Join("..", "..", folders[i])
		}
		if _, err := checkResources(folders, true); err != nil {
			t.Errorf("checkResources(%v) = %v, want nil", folders, err)
		}
	}
}
