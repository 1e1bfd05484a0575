package dynamodb

import (
	"maps"
	"slices"
	"strconv"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Capacity units, as AWS counts them: a write uses one per KB, a strongly consistent read one
// per 4 KB, and an eventually consistent read half of that; see
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/capacity-unit-calculations.html

func writeUnits(bytes int) float64 { return float64(max((bytes+1023)/1024, 1)) }

func readUnits(bytes int, consistent bool) float64 {
	n := float64(max((bytes+4095)/4096, 1))
	if !consistent {
		n /= 2
	}
	return n
}

// wantsCapacity interprets ReturnConsumedCapacity.
func wantsCapacity(s string) bool { return s == "TOTAL" || s == "INDEXES" }

// appendCapacity appends a ConsumedCapacity as JSON.
func appendCapacity(out []byte, table string, units float64) []byte {
	out = append(out, `{"TableName":`...)
	out = wire.AppendString(out, table)
	out = append(out, `,"CapacityUnits":`...)
	out = strconv.AppendFloat(out, units, 'f', -1, 64)
	return append(out, '}')
}

// consumed holds the capacity units that a request has used, by table.
type consumed map[string]float64

// append appends the ConsumedCapacity of a batch or transaction, if the request wants it.
func (c consumed) append(out []byte, wanted string) []byte {
	if !wantsCapacity(wanted) {
		return out
	}
	out = append(out, `"ConsumedCapacity":[`...)
	for i, table := range slices.Sorted(maps.Keys(c)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendCapacity(out, table, c[table])
	}
	return append(out, ']')
}
