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
	orders "github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

var waitingSagas = flag.Int("waiting-sagas", 50_000, "how many sagas TestMillion lets wait for approval")

// orderSagas registers the real saga, with steps that succeed at once.
func orderSagas(t testing.TB) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	err := r.AddWorkflowN(orders.OrderSaga, orders.Order)
	for _, name := range []string{orders.ReserveStock, orders.SettleApproval, orders.ChargePayment, orders.RequestShipment, orders.ConfirmShipment} {
		err = errors.Join(err, r.AddActivityN(name, saga.Do(func(context.Context, orders.State) (orders.State, error) { return orders.State{}, nil })))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// waiting is an order of usual size that waits for approval.
func waiting(id string) orders.State {
	s := orders.State{Order: order.Order{
		SpecVersion: 1, OrderID: id, CustomerID: "customer-4711", Currency: "EUR",
		Lines:  []order.Line{{SKU: "SKU-1001", Quantity: 2, UnitPrice: 45999}, {SKU: "SKU-2002", Quantity: 1, UnitPrice: 12900}, {SKU: "SKU-3003", Quantity: 4, UnitPrice: 999}},
		ShipTo: &order.Address{Name: "Erika Mustermann", Line1: "Heidestraße 17", City: "Köln", PostalCode: "51147", Country: "DE"},
	}}
	s.Order.Payment.Token = "tok_ok"
	s.Terms = orders.Terms{ApprovalAbove: 100_000, ApprovalTimeout: 24 * time.Hour, AwaitCarrier: true, CarrierTimeout: 24 * time.Hour, Patience: 24 * time.Hour, Pace: 1}
	return s
}

const memoryPerSaga = 4 << 10 // bytes

// TestMillion lets many sagas wait for approval (-waiting-sagas 1000000 for
// what its name says, as `make bench-million` does) and looks at the memory
// that each takes, after a run and after a restart, at the disk, and at how
// long the restart takes. Most are copies of one that has run.
func TestMillion(t *testing.T) {
	const ran = 2000
	dir := filepath.Join(t.TempDir(), "engine")
	base := heapInUse()
	e := serve(t, orderSagas(t), Options{Dir: dir})
	for n := range ran {
		id := fmt.Sprintf("o-%07d", n)
		e.start(t, orders.OrderSaga, id, waiting(id))
	}
	eventually(t, "all wait for approval", func() bool { st, err := e.Stats(t.Context()); return err == nil && st.Waiting == ran })
	live := float64(heapInUse()-base) / ran
	i, _ := e.store.instances.Get("o-0000000")
	model := i.look().whole()
	e.stop()
	copies(t, dir, model, *waitingSagas)

	base = heapInUse()
	began := time.Now()
	again, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	size := again.store.journal.Size()
	restarted := float64(heapInUse()-base) / float64(*waitingSagas)
	t.Logf("%d sagas wait, %d bytes of state each: %.0f bytes of heap each after they ran, %.0f after a restart; %.2f GB resident; %.2f GB on disk, %d bytes a saga; restart in %v",
		*waitingSagas, proto.Size(model), live, restarted, resident(), float64(size)/1e9, size/int64(*waitingSagas), took.Round(time.Millisecond))
	if live > memoryPerSaga || restarted > memoryPerSaga {
		t.Errorf("a waiting saga may take %d bytes", memoryPerSaga)
	}
	began = time.Now()
	if err := again.store.journal.Compact(again.store.snapshot); err != nil {
		t.Fatal(err)
	}
	t.Logf("compaction in %v, to %.2f GB", time.Since(began).Round(time.Millisecond), float64(again.store.journal.Size())/1e9)
	if after := again.store.journal.Size(); after > size+size/10+1<<20 {
		t.Errorf("%d bytes on disk, %d before the compaction", after, size)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// They do go on.
	e = serve(t, orderSagas(t), Options{Dir: dir})
	last := fmt.Sprintf("o-%07d", *waitingSagas-1)
	if err := saga.Send(t.Context(), e, last, orders.EventApproval, orders.Approval{Approved: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last is approved", func() bool { return e.happened(t, last, "TaskScheduled", orders.ChargePayment) })
	if st, err := e.Stats(t.Context()); err != nil || st.Live != *waitingSagas {
		t.Errorf("%+v, %v", st, err)
	}
}

// copies puts n instances like a model in the place of a journal's state.
func copies(t *testing.T, dir string, model proto.Message, n int) {
	t.Helper()
	text, err := proto.Marshal(model)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir, journal.Options{Logger: zerolog.Nop()}, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	err = j.Compact(func(emit func([]byte) error) error {
		for k := range n {
			id := fmt.Sprintf("o-%07d", k)
			record, err := encodeRecord(uint64(k+1), op{kind: opState, id: id, raw: []byte(strings.ReplaceAll(string(text), "o-0000000", id))})
			if err != nil {
				return err
			}
			if err := emit(record); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// resident is how much memory this process has had at most, in GB; 0 where
// the system does not say.
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
