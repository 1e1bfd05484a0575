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

// TestLogOfADemo: what the log says of activities names order and trace, and
// nothing in it or in any span is secret.
func TestLogOfADemo(t *testing.T) {
	log := &logged{}
	require.NoError(t, devenv.Dev{
		Exit: true, Out: io.Discard, Logger: zerolog.New(log).Level(zerolog.DebugLevel),
		Job: devenv.Demo{Orders: 40, Seed: 1, Out: io.Discard},
	}.Run(t.Context()))
	said := map[string]int{}
	for line := range strings.Lines(log.String()) {
		var l struct{ Message, Order, Trace, Activity, Reason, Error string }
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		said[l.Message]++
		if l.Order != "" && len(l.Trace) != 32 || l.Activity != "" && l.Order == "" {
			t.Errorf("without order or trace: %s", line)
		}
	}
	for _, want := range []string{"activity tried", "a saga needs attention", "message moved to the dead-letter queue"} {
		if said[want] == 0 {
			t.Errorf("the log has no %q: %v", want, said)
		}
	}
	withoutSecrets(t, log.String())
	withoutSecrets(t, collector.Spans())
}
