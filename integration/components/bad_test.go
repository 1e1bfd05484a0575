package components

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestBadComponents: one wrong field, and the sidecar says which and ends, or
// the worker will not have it.
func TestBadComponents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, x := range map[string]struct{ file, old, new, want string }{
		"no table":           {"cursorstore.yaml", "value: cursors", `value: ""`, "missing dynamodb table name"},
		"table not made":     {"cursorstore.yaml", "value: cursors", "value: cursor", "table 'cursor'"},
		"unknown type":       {"cursorstore.yaml", "state.aws.dynamodb", "state.aws.dynamo", "state.aws.dynamo"},
		"two receives":       {"orderpubsub.yaml", `value: "10"`, `value: "11"`, "messageMaxNumber must be less than or equal to 10"},
		"half a dead letter": {"orderpubsub.yaml", `value: CarrierRequestsQueue-dlq`, `value: ""`, "messageReceiveLimit and sqsDeadLettersQueueName must both be set"},
		"no secret":          {"redis/statestore.yaml", "name: ordersaga/redis-password", "name: ordersaga/redis-passwort", "can't find the specified secret"},
		"no YAML":            {"secretstore.yaml", "metadata:", "metadata", "secretstore.yaml: error converting YAML to JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, from := range []string{"cursorstore.yaml", "orderpubsub.yaml", "secretstore.yaml", x.file} {
				b, err := os.ReadFile(filepath.Join(shipped(t, ""), from))
				require.NoError(t, err)
				text := string(b)
				if from == x.file {
					if text = strings.Replace(text, x.old, x.new, 1); text == string(b) {
						t.Fatal("nothing changed")
					}
				}
				require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(from)), []byte(text), 0o600))
			}
			var log logged
			c := w.dapr(t, into(&log), func(o *daprlocal.Options) { o.Resources = []string{dir} })
			side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga"})
			if err == nil { // Dapr passes it over, or is healthy for a moment more: the worker will not have it
				_, err = dapr.Open(t.Context(), dapr.Options{Address: side.GRPC, Needs: needs})
			}
			if err == nil {
				t.Fatal("taken")
			}
			testkit.Eventually(t, "the reason is told: "+x.want, func() error {
				if strings.Contains(err.Error(), x.want) || log.has(x.want) {
					return nil
				}
				return err
			})
		})
	}
}
