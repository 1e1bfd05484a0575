#!/usr/bin/env bash
# A DDSketch that github.com/DataDog/sketches-go v1.4.8 writes as protobuf, read by
# ddsketch 3.0.1 (PyPI), the same makers' Python implementation: Go's default sketch
# is empty there, and quantiles of others are shifted. Nothing raises an error.
#
# A Go service measures 1,000 latencies, 1 to 1,000 ms; their 99th percentile is 990.
# It sends its sketch to a Python job that merges them. Both READMEs promise sketches
# that merge across systems with a relative error, here 1 %, and the Python package
# takes its .proto from the Go repository. That file says that counts may be in
# binCounts, in contiguousBinCounts or in both, and then add up. One would expect
# 1,000 values and a p99 from 980 to 1,000, as Go answers. Seen: Python reads
# contiguousBinCounts only, and NewDefaultDDSketch writes binCounts, so that 0 values
# arrive. From LogUnboundedDenseDDSketch all arrive, but Go rounds a bin's index down
# and Python up: the p99 is 963.
#
# Needs Go, Python, the Go module proxy and PyPI. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install ddsketch==3.0.1 protobuf==7.36.2
cat >go.mod <<'MOD'
module example.com/sketch

go 1.26

require (
	github.com/DataDog/sketches-go v1.4.8
	google.golang.org/protobuf v1.36.11
)
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/DataDog/sketches-go/ddsketch"
	"google.golang.org/protobuf/proto"
)

func main() {
	byDefault, _ := ddsketch.NewDefaultDDSketch(.01)
	dense, _ := ddsketch.LogUnboundedDenseDDSketch(.01)
	for i, s := range []*ddsketch.DDSketch{byDefault, dense} {
		for ms := 1; ms <= 1000; ms++ {
			_ = s.Add(float64(ms))
		}
		name := []string{"default", "dense"}[i]
		p99, _ := s.GetValueAtQuantile(.99)
		fmt.Printf("%s: Go has %.0f values, p99 %.0f\n", name, s.GetCount(), p99)
		b, _ := proto.Marshal(s.ToProto())
		_ = os.WriteFile(name+".pb", b, 0o600)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run . | tee seen
venv/bin/python - <<'PY' | tee -a seen
from ddsketch.pb.proto import DDSketchProto, pb

for name in "default", "dense":
    with open(name + ".pb", "rb") as f:
        s = DDSketchProto.from_proto(pb.DDSketch.FromString(f.read()))
    p99 = s.get_quantile_value(.99)
    print(f"{name}: Python has {s.count:.0f} values, p99 {p99 and round(p99)}")
PY
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
default: Go has 1000 values, p99 983
dense: Go has 1000 values, p99 983
default: Python has 0 values, p99 None
dense: Python has 1000 values, p99 963
WANT
