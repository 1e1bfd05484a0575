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

// TestInvalidComponentsAreReported checks that, for each invalid field, the sidecar names it and
// exits, or the worker rejects the sidecar.
func TestInvalidComponentsAreReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type fault struct{ file, old, new, want string }
	for name, x := range map[string]fault{
		"no table":      {file: "cursorstore.yaml", old: "value: cursors", new: `value: ""`, want: "missing dynamodb table name"},
		"missing table": {file: "cursorstore.yaml", old: "value: cursors", new: "value: cursor", want: "table 'cursor'"},
		"unknown type":  {file: "cursorstore.yaml", old: "state.aws.dynamodb", new: "state.aws.dynamo", want: "state.aws.dynamo"},
		"eleven messages": {
			file: "orderpubsub.yaml", old: `value: "10"`, new: `value: "11"`, want: "messageMaxNumber must be less than or equal to 10",
		},
		"no dead-letter queue": {
			file: "orderpubsub.yaml", old: `value: CarrierRequestsQueue-dlq`, new: `value: ""`,
			want: "messageReceiveLimit and sqsDeadLettersQueueName must both be set",
		},
		"missing secret": {
			file: "redis/statestore.yaml", old: "name: ordersaga/redis-password", new: "name: ordersaga/redis-passwort",
			want: "can't find the specified secret",
		},
		"invalid YAML": {
			file: "secretstore.yaml", old: "metadata:", new: "metadata", want: "secretstore.yaml: error converting YAML to JSON",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, from := range []string{"cursorstore.yaml", "orderpubsub.yaml", "secretstore.yaml", x.file} {
				b, err := os.ReadFile(filepath.Join(shipped(t, ""), from))
				require.NoError(t, err)
				text := string(b)
				if from == x.file {
					text = strings.Replace(text, x.old, x.new, 1)
					if text == string(b) {
						t.Fatalf("%s does not contain %q, want the text to replace", from, x.old)
					}
				}
				require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(from)), []byte(text), 0o600))
			}
			var log logged
			c := w.dapr(t, into(&log), func(o *daprlocal.Options) { o.Resources = []string{dir} })
			side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga"})
			if err == nil { // Dapr ignores the fault, or has not failed yet: the worker must reject the sidecar
				_, err = dapr.Open(t.Context(), dapr.Options{Address: side.GRPC, Needs: needs})
			}
			if err == nil {
				t.Fatal("the broken component was accepted, want an error")
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
