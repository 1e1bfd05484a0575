package embedded

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	orders "github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

var waitingSagas = flag.Int("waiting-sagas", 50_000, "number of sagas that wait for approval in TestMillion")

// orderSagas registers the order saga, with steps that succeed at once.
func orderSagas(t testing.TB) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	err := r.AddWorkflowN(orders.OrderSaga, orders.Order)
	for _, name := range []string{
		orders.ReserveStock, orders.SettleApproval, orders.ChargePayment, orders.RequestShipment, orders.ConfirmShipment,
	} {
		noop := saga.Do(func(context.Context, orders.State) (orders.State, error) { return orders.State{}, nil })
		err = errors.Join(err, r.AddActivityN(name, noop))
	}
	require.NoError(t, err)
	return r
}

// waiting returns an order of usual size that needs approval.
func waiting(id string) orders.State {
	s := orders.State{Order: order.Order{
		SpecVersion: 1, OrderID: id, CustomerID: "customer-4711", Currency: "EUR",
		Lines: []order.Line{
			{SKU: "SKU-1001", Quantity: 2, UnitPrice: 45999},
			{SKU: "SKU-2002", Quantity: 1, UnitPrice: 12900},
			{SKU: "SKU-3003", Quantity: 4, UnitPrice: 999},
		},
		ShipTo: &order.Address{Name: "Erika Mustermann", Line1: "Heidestraße 17", City: "Köln", PostalCode: "51147", Country: "DE"},
	}}
	s.Order.Payment.Token = "tok_ok"
	s.Terms = orders.Terms{
		ApprovalAbove: 100_000, ApprovalTimeout: 24 * time.Hour,
		AwaitCarrier: true, CarrierTimeout: 24 * time.Hour, CompensationTimeout: 24 * time.Hour, TimeScale: 1,
	}
	return s
}

const memoryPerSaga = 4 << 10 // bytes

// TestMillion measures many sagas that wait for approval: the memory of each after
// a run and after a restart, the size on disk, and the time of the restart. Most
// are copies of one that has run. `make bench-million` runs it with
// -waiting-sagas 1000000.
func TestMillion(t *testing.T) {
	const ran = 2000
	dir := filepath.Join(t.TempDir(), "engine")
	base := heapInUse()
	e := runEngine(t, orderSagas(t), Options{Dir: dir})
	for n := range ran {
		id := fmt.Sprintf("o-%07d", n)
		e.start(t, orders.OrderSaga, id, waiting(id))
	}
	waitUntil(t, "all sagas to wait for approval", func() bool { st, err := e.Stats(t.Context()); return err == nil && st.Waiting == ran })
	live := float64(heapInUse()-base) / ran
	i, _ := e.store.instances.Get("o-0000000")
	model := i.view().snapshotState()
	e.stop()
	copies(t, dir, model, *waitingSagas)

	base = heapInUse()
	began := time.Now()
	again, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
	require.NoError(t, err)
	took := time.Since(began)
	size := again.store.journal.Size()
	restarted := float64(heapInUse()-base) / float64(*waitingSagas)
	t.Logf("%d sagas wait, %d bytes of state each: %.0f bytes of heap each after they ran, %.0f after a restart; "+
		"%.2f GB resident; %.2f GB on disk, %d bytes a saga; restart in %v",
		*waitingSagas, proto.Size(model), live, restarted, resident(), float64(size)/1e9, size/int64(*waitingSagas), took.Round(time.Millisecond))
	if live > memoryPerSaga || restarted > memoryPerSaga {
		t.Errorf("a waiting saga takes %.0f bytes of heap after a run and %.0f after a restart, want at most %d",
			live, restarted, memoryPerSaga)
	}
	began = time.Now()
	require.NoError(t, again.store.journal.Compact(again.store.snapshot))
	t.Logf("compaction in %v, to %.2f GB", time.Since(began).Round(time.Millisecond), float64(again.store.journal.Size())/1e9)
	if after := again.store.journal.Size(); after > size+size/10+1<<20 {
		t.Errorf("%d bytes on disk after the compaction, %d before, want no growth", after, size)
	}
	require.NoError(t, again.Close())
	// The sagas can continue.
	e = runEngine(t, orderSagas(t), Options{Dir: dir})
	last := fmt.Sprintf("o-%07d", *waitingSagas-1)
	require.NoError(t, saga.Send(t.Context(), e, last, orders.EventApproval, orders.Approval{Approved: true}))
	waitUntil(t, "the last saga to continue after its approval", func() bool {
		return e.happened(t, last, "TaskScheduled", orders.ChargePayment)
	})
	if st, err := e.Stats(t.Context()); err != nil || st.Live != *waitingSagas {
		t.Errorf("Stats = %+v, %v, want %d live", st, err, *waitingSagas)
	}
}

// copies replaces a journal's state by n copies of an instance.
func copies(t *testing.T, dir string, model proto.Message, n int) {
	t.Helper()
	text, err := proto.Marshal(model)
	require.NoError(t, err)
	j, err := journal.Open(dir, journal.Options{Logger: zerolog.Nop()}, func([]byte) error { return nil })
	require.NoError(t, err)
	err = j.Compact(func(emit func([]byte) error) error {
		for k := range n {
			id := fmt.Sprintf("o-%07d", k)
			state := strings.ReplaceAll(string(text), "o-0000000", id)
			record, err := encodeRecord(uint64(k+1), op{kind: opState, id: id, raw: []byte(state)})
			if err != nil {
				return err
			}
			if err := emit(record); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(err, j.Close()))
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// resident returns the peak resident memory of this process in GB, or 0 if the
// system does not report it.
func resident() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, text, _ := strings.Cut(string(b), "VmHWM:")
	var kb float64
	_, _ = fmt.Sscan(text, &kb)
	return kb / 1e6
}
