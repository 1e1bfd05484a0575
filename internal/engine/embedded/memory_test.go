package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	orders "github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

var (
	waitingSagas   = flag.Int("waiting-sagas", 50_000, "number of sagas that wait for approval in TestMillion")
	millionResults = flag.String("results", "", "`file` for the results of TestMillion, as JSON")
)

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

const memoryPerSaga = 1300 // bytes; about 1,000 and noise

// million is what TestMillion measures. tools/bench reads it.
type million struct {
	Sagas, StateBytes      int
	HeapRan, HeapRestarted float64 // bytes per saga, after it ran and after a restart
	Resident               float64 // GB at most
	DiskBytes              int64
	Restart, Snapshot      time.Duration
	Read, Start            pauses
	Machine                pauses // of calls without the engine
}

// pauses are the longest calls before a snapshot, and during it.
type pauses struct{ Alone, Beside time.Duration }

// TestMillion measures many sagas that wait for approval: the memory of each after
// a run and after a restart, the size on disk, the time of the restart, and how
// long a snapshot makes others wait. Most are copies of one that has run.
// `make bench-million` runs it with -waiting-sagas 1000000.
func TestMillion(t *testing.T) {
	const before, ran = 500, 2000
	dir := filepath.Join(t.TempDir(), "engine")
	e := runEngine(t, orderSagas(t), Options{Dir: dir})
	heapWith := func(from, to int) int64 {
		for n := range to - from {
			id := fmt.Sprintf("o-%07d", from+n)
			e.start(t, orders.OrderSaga, id, waiting(id))
		}
		waitUntil(t, "all sagas to wait for approval", func() bool { st, err := e.Stats(t.Context()); return err == nil && st.Waiting == to })
		return heapInUse()
	}
	base := heapWith(0, before) // with what the engine itself takes
	live := float64(heapWith(before, before+ran)-base) / ran
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
	m := million{
		Sagas: *waitingSagas, StateBytes: proto.Size(model), HeapRan: live,
		HeapRestarted: float64(heapInUse()-base) / float64(*waitingSagas), Resident: resident(), Restart: took,
	}
	started := m.snapshot(t, again)
	m.DiskBytes = again.store.journal.Size()
	m.report(t)
	if max(m.HeapRan, m.HeapRestarted) > memoryPerSaga {
		t.Errorf("a waiting saga takes %.0f bytes of heap after a run and %.0f after a restart, want at most %d",
			m.HeapRan, m.HeapRestarted, memoryPerSaga)
	}
	perSaga := size / int64(m.Sagas)
	if after, most := m.DiskBytes, size+size/10+perSaga*2*int64(started)+1<<20; after > most {
		t.Errorf("%d bytes on disk after the snapshot, %d before, want at most %d: %d sagas were started", after, size, most, started)
	}
	require.NoError(t, again.Close())
	// The sagas can continue.
	e = runEngine(t, orderSagas(t), Options{Dir: dir})
	last := fmt.Sprintf("o-%07d", *waitingSagas-1)
	require.NoError(t, saga.Send(t.Context(), e, last, orders.EventApproval, orders.Approval{Approved: true}))
	waitUntil(t, "the last saga to continue after its approval", func() bool {
		return e.happened(t, last, "TaskScheduled", orders.ChargePayment)
	})
	if st, err := e.Stats(t.Context()); err != nil || st.Live != m.Sagas+started {
		t.Errorf("Stats = %+v, %v, want %d live", st, err, m.Sagas+started)
	}
}

// snapshot measures a snapshot, and how long others wait for the engine: readers
// of a saga, and those who start one. It returns how many were started.
func (m *million) snapshot(t *testing.T, e *Engine) (started int) {
	t.Helper()
	i, _ := e.store.instances.Get("o-0000000")
	text := i.encoded()
	reads := probe(t, func(n int) error {
		_, err := e.Get(context.Background(), fmt.Sprintf("o-%07d", n*7919%m.Sagas))
		return err
	})
	starts := probe(t, func(n int) error {
		id := fmt.Sprintf("p-%07d", n)
		return e.Start(context.Background(), orders.OrderSaga, id, waiting(id))
	})
	machine := probe(t, func(int) error { return proto.Unmarshal(text, new(protos.WorkflowRuntimeState)) })
	waitUntil(t, "the first probes", func() bool { return reads.count() >= 500 && starts.count() >= 50 })
	m.Read.Alone, m.Start.Alone, m.Machine.Alone = reads.longest(), starts.longest(), machine.longest()
	began := time.Now()
	require.NoError(t, e.store.journal.Compact(e.store.snapshot))
	m.Snapshot = time.Since(began)
	m.Read.Beside, m.Start.Beside, m.Machine.Beside = reads.longest(), starts.longest(), machine.longest()
	machine.stop()
	reads.stop()
	starts.stop()
	return starts.count()
}

// report prints the results, and writes them to the file of -results.
func (m *million) report(t *testing.T) {
	t.Helper()
	t.Logf("%d sagas wait, with %d bytes of state each", m.Sagas, m.StateBytes)
	t.Logf("heap: %.0f bytes a saga after it ran, %.0f after a restart; %.2f GB resident at most", m.HeapRan, m.HeapRestarted, m.Resident)
	t.Logf("restart in %v; snapshot in %v, to %.2f GB", m.Restart.Round(time.Millisecond), m.Snapshot.Round(time.Millisecond),
		float64(m.DiskBytes)/1e9)
	t.Logf("longest pause of the same work without the engine %v (before the snapshot %v)", m.Machine.Beside, m.Machine.Alone)
	t.Logf("longest read during the snapshot %v (before it %v); longest start, with its fsync, %v (%v)",
		m.Read.Beside, m.Read.Alone, m.Start.Beside, m.Start.Alone)
	if *millionResults == "" {
		return
	}
	text, err := json.Marshal(m)
	require.NoError(t, errors.Join(err, os.WriteFile(*millionResults, text, 0o600)))
}

// prober makes a call every 200 µs, or as often as the calls allow, until stop is
// called or the test ends.
type prober struct {
	stop    func()
	done    chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	calls   int
	max     time.Duration // of the calls since the last longest
}

// probe starts a prober. call gets the number of the call.
func probe(t *testing.T, call func(n int) error) *prober {
	t.Helper()
	p := &prober{done: make(chan struct{})}
	p.stop = sync.OnceFunc(func() {
		close(p.done)
		p.running.Wait()
	})
	t.Cleanup(p.stop)
	p.running.Go(func() {
		tick := time.NewTicker(200 * time.Microsecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-p.done:
				return
			case <-tick.C:
			}
			began := time.Now()
			if err := call(n); err != nil {
				t.Errorf("call %d beside the snapshot: %v, want no error", n, err)
				return
			}
			p.mu.Lock()
			p.calls, p.max = n+1, max(p.max, time.Since(began))
			p.mu.Unlock()
		}
	})
	return p
}

// count returns the number of calls that have returned.
func (p *prober) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// longest returns the duration of the longest call since the last longest.
func (p *prober) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.max
	p.max = 0
	return d
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

// heapInUse returns the bytes that are in use once nothing more is freed: what earlier
// tests have left may take several collections.
func heapInUse() int64 {
	var m runtime.MemStats
	for before := uint64(math.MaxUint64); ; before = m.HeapAlloc {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc+1<<12 > before {
			return int64(m.HeapAlloc)
		}
	}
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
