package loadgen_test

import (
	"fmt"
	"os"

	"github.com/ordersaga/ordersaga/api/loadgen"
	"github.com/ordersaga/ordersaga/internal/order"
)

// A report as `ordersaga load` prints it.
func ExampleReport_Text() {
	report := loadgen.Report{
		Loop: "open", Rate: 10, Seconds: 2, All: 2.5, Sent: 20, SentRate: 10, EndRate: 7.6,
		Refused: map[string]int{"422": 1},
		Ended:   map[order.Status]int{order.StatusCompleted: 18, order.StatusDeclined: 1},
		End: loadgen.Latency{
			Count: 19, P50: 0.0121, P90: 0.0182, P99: 0.0459, P999: 0.0459, Max: 0.0459,
			Buckets: []loadgen.Bucket{{Le: 0.02, Count: 18}, {Le: 0.05, Count: 1}},
		},
	}
	if err := report.Text(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// open loop, 10 orders/s: 20 orders in 2.0s, 10.0/s; 19 sagas ended in 2.5s, 7.6/s; 0 open
	//   ended        COMPLETED                     18
	//   ended        DECLINED                       1
	//   refused      422                            1
	//
	// until ended: p50 12.1ms  p90 18.2ms  p99 45.9ms  p99.9 45.9ms  max 45.9ms
	//   ≤ 20ms          18  ██████████████████████████████████████████████████
	//   ≤ 50ms           1  ███
}
