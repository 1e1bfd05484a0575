package main

import (
	"bytes"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// BenchmarkEngines prints the tables of docs/benchmarks.md: each engine's
// ceiling and the order saga, in one run. `make bench-engines` runs it.
func BenchmarkEngines(b *testing.B) {
	testkit.RequireDapr(b)
	redis, postgresql := testkit.Redis(b), testkit.PostgreSQL(b)
	for b.Loop() {
		for i, args := range [][]string{
			{"--ephemeral", "--sagas=3000"},
			{"--data-dir=" + b.TempDir(), "--sagas=3000"},
			{"--engine=dapr", "--data-dir=" + b.TempDir()},
			{"--engine=dapr", "--data-dir=" + b.TempDir(), "--state=redis", "--state-address=" + redis.Address},
			{"--engine=dapr", "--data-dir=" + b.TempDir(), "--state=redis", "--state-address=" + redis.Address, "--workers=2"},
			{"--engine=dapr", "--data-dir=" + b.TempDir(), "--state=postgresql", "--state-address=" + postgresql.Address},
		} {
			var out, errs bytes.Buffer
			if i > 0 {
				args = append(args, "--no-header")
			}
			if status := run(b.Context(), append([]string{"bench", "--log-level=error"}, args...), &out, &errs); status != 0 {
				b.Fatalf("bench %s: status %d, want 0: %s", args, status, errs.String())
			}
			b.Logf("\n%s", &out)
		}
	}
}
