package tracing

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestLogOfDemoHasTraceAndNoSecrets checks that log lines about activities have the order and the
// trace, and that neither the log nor a span has a secret.
func TestLogOfDemoHasTraceAndNoSecrets(t *testing.T) {
	log := &logged{}
	require.NoError(t, devenv.Dev{
		Exit: true, Out: io.Discard, Logger: zerolog.New(log).Level(zerolog.DebugLevel),
		Job: devenv.Demo{Orders: 40, Seed: 1, Out: io.Discard},
	}.Run(t.Context()))
	lines := map[string]int{}
	for line := range strings.Lines(log.String()) {
		var l struct{ Message, Order, Trace, Activity, Reason, Error string }
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		lines[l.Message]++
		if l.Order != "" && len(l.Trace) != 32 || l.Activity != "" && l.Order == "" {
			t.Errorf("want the order of an activity and the trace of an order in log line %s", line)
		}
	}
	for _, want := range []string{"activity tried", "a saga needs attention", "message moved to the dead-letter queue"} {
		if lines[want] == 0 {
			t.Errorf("the log has lines %v, want %q", lines, want)
		}
	}
	withoutSecrets(t, log.String())
	withoutSecrets(t, collector.Spans())
}
