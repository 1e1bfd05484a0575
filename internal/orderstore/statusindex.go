package orderstore

import (
	"hash/fnv"
	"strconv"

	"github.com/ordersaga/ordersaga/internal/order"
)

// StatusIndex is the name of the orders table's index by status. It is exported, with the
// keys below, for package fleet, whose counts and items use the index too.
const StatusIndex = "byStatus"

// IdleUntil is an attribute of an order whose saga only waits for a person: the time, in
// TimeFormat, at which the saga continues without one. It is a hint for the backlog and
// not for the saga: an order without it counts as work.
const IdleUntil = "asleepUntil"

const noTimeLimit = "9999" // sorts after every time in TimeFormat

// TimeFormat is the format of stored times. It sorts as text; time.RFC3339Nano drops
// trailing zeros and does not.
const TimeFormat = "2006-01-02T15:04:05.000000000Z"

// statusShards spreads each status over several keys of the status index: one
// key takes 1,000 writes a second, and a full index throttles its table.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
const statusShards = 8

// StatusKeys returns all keys of a status in the status index.
func StatusKeys(s order.Status) []string {
	keys := make([]string, statusShards)
	for n := range keys {
		keys[n] = shardKey(s, uint32(n))
	}
	return keys
}

func statusShard(s order.Status, orderID string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(orderID)) // never fails, see hash.Hash
	return shardKey(s, h.Sum32()%statusShards)
}

func shardKey(s order.Status, n uint32) string { return string(s) + "#" + strconv.Itoa(int(n)) }
