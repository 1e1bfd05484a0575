package orderstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// level compares a SKU's ledger, whatever its version.
func level(t *testing.T, s *orderstore.Store, sku string, available, reserved, sold int64) orderstore.Level {
	t.Helper()
	l, err := s.GetLevel(t.Context(), sku)
	if err != nil || l.Available != available || l.Reserved != reserved || l.Sold != sold || l.Received != available+reserved+sold {
		t.Errorf("level of %s = %+v, error = %v, want %d available, %d reserved, %d sold, and their sum received",
			sku, l, err, available, reserved, sold)
	}
	return l
}

// TestCountIncludesReservedUnits: reserved units are on hand, too.
func TestCountIncludesReservedUnits(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	ctx, s := t.Context(), a.Store
	_, err := s.Count(ctx, "A", 10, orderstore.NewSKU)
	require.NoError(t, err)
	old := level(t, s, "A", 10, 0, 0)
	_, err = s.Reserve(ctx, accept(t, s, newOrder("o"))) // 2
	require.NoError(t, err)
	if l := level(t, s, "A", 8, 2, 0); l.Version() != old.Version() {
		t.Errorf("version after a reservation = %s, want %s", l.Version(), old.Version())
	}

	l, err := s.Count(ctx, "A", 7, old.Version())
	if err != nil || l != level(t, s, "A", 5, 2, 0) {
		t.Errorf("counted level = %+v, error = %v, want the level in the store", l, err)
	}
	_, err = s.Count(ctx, "A", 1, l.Version())
	if held, ok := errors.AsType[*orderstore.ReservedError](err); !ok || held.Counted != 1 || held.Reserved != 2 ||
		!strings.Contains(err.Error(), "1 units were counted, and orders hold 2") {
		t.Errorf("error = %v, want a count of 1 refused while orders hold 2", err)
	}
	for _, against := range []string{old.Version(), orderstore.NewSKU, "x", "1-2", l.Version() + " ", "07-0-2"} {
		if _, err := s.Count(ctx, "A", 6, against); !errors.Is(err, orderstore.ErrChanged) {
			t.Errorf("against %q: error = %v, want %v", against, err, orderstore.ErrChanged)
		}
	}
	level(t, s, "A", 5, 2, 0)
	if _, err := s.Count(ctx, "B", 6, l.Version()); !errors.Is(err, orderstore.ErrChanged) {
		t.Errorf("error = %v, want %v", err, orderstore.ErrChanged)
	}
	if _, err := s.GetLevel(ctx, "B"); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("error = %v, want %v", err, orderstore.ErrNotFound)
	}
}

// TestLevelWithoutSoldAndReservedCanBeUsed: a level that was written without sold and reserved
// can be counted, reserved and sold.
func TestLevelWithoutSoldAndReservedCanBeUsed(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(*testing.T, *orderstore.Store){
		"counted": func(t *testing.T, s *orderstore.Store) {
			l := level(t, s, "A", 5, 0, 0)
			_, err := s.Count(t.Context(), "A", 11, l.Version())
			require.NoError(t, err)
			if _, err := s.Count(t.Context(), "A", 12, l.Version()); !errors.Is(err, orderstore.ErrChanged) {
				t.Errorf("error = %v, want %v", err, orderstore.ErrChanged)
			}
			l = level(t, s, "A", 11, 0, 0)
			_, err = s.Count(t.Context(), "A", 3, l.Version())
			require.NoError(t, err)
			level(t, s, "A", 3, 0, 0)
		},
		"sold and counted": func(t *testing.T, s *orderstore.Store) {
			sold(t, s, "o")
			l := level(t, s, "A", 3, 0, 2)
			_, err := s.Count(t.Context(), "A", 11, l.Version())
			require.NoError(t, err)
			level(t, s, "A", 11, 0, 2)
		},
		"counted against another": func(t *testing.T, s *orderstore.Store) {
			for _, against := range []string{"6-0-0", "5-1-0", "5-0-1", "0-0-0"} {
				if _, err := s.Count(t.Context(), "A", 11, against); !errors.Is(err, orderstore.ErrChanged) {
					t.Errorf("count against %s: error = %v, want %v", against, err, orderstore.ErrChanged)
				}
			}
			level(t, s, "A", 5, 0, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			_, err := a.Clients.DynamoDB.PutItem(
				t.Context(),
				&dynamodb.PutItemInput{TableName: aws.String("stock"), Item: map[string]types.AttributeValue{
					"sku": &types.AttributeValueMemberS{
						Value: "A",
					}, "available": &types.AttributeValueMemberN{Value: "5"}, "received": &types.AttributeValueMemberN{Value: "5"},
				}},
			)
			require.NoError(t, err)
			use(t, a.Store)
		})
	}
}

// TestCountFromBeforeASaleIsRejected: some of the counted units have left since.
func TestCountFromBeforeASaleIsRejected(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	ctx, s := t.Context(), a.Store
	a.SetStock(t, map[string]int64{"A": 10})
	counted := level(t, s, "A", 10, 0, 0)
	sold(t, s, "o")
	if _, err := s.Count(ctx, "A", 10, counted.Version()); !errors.Is(err, orderstore.ErrChanged) {
		t.Errorf("error = %v, want %v", err, orderstore.ErrChanged)
	}
	level(t, s, "A", 8, 0, 2)
}

// sold sells an order of two units of A.
func sold(t *testing.T, s *orderstore.Store, id string) {
	t.Helper()
	_, err := s.Reserve(t.Context(), accept(t, s, newOrder(id)))
	require.NoError(t, err)
	require.NoError(t, s.MarkPaid(t.Context(), id, "ch"))
	require.NoError(t, s.MarkShipmentRequested(t.Context(), id, "shp-"+id))
	require.NoError(t, s.Complete(t.Context(), id, "shp-"+id, ""))
}

// TestRepeatedCountChangesNothing: the first response was lost, and orders were sold
// meanwhile.
func TestRepeatedCountChangesNothing(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	ctx, s := t.Context(), a.Store
	_, err := s.Count(ctx, "A", 10, orderstore.NewSKU)
	require.NoError(t, err)
	sold(t, s, "o")
	was := level(t, s, "A", 8, 0, 2)
	l, err := s.Count(ctx, "A", 10, orderstore.NewSKU)
	if err != nil || l != was || l != level(t, s, "A", 8, 0, 2) {
		t.Errorf("repeated count = %+v, error = %v, want %+v, and the store unchanged", l, err, was)
	}
	if _, err := s.Count(ctx, "A", 11, orderstore.NewSKU); !errors.Is(err, orderstore.ErrChanged) {
		t.Errorf("another count is taken for a repetition: error = %v, want %v", err, orderstore.ErrChanged)
	}

	_, err = s.Count(ctx, "A", 30, was.Version())
	require.NoError(t, err)
	sold(t, s, "p")
	was30 := level(t, s, "A", 28, 0, 4)
	if l, err := s.Count(ctx, "A", 30, was.Version()); err != nil || l != was30 {
		t.Errorf("repeated count = %+v, error = %v, want %+v", l, err, was30)
	}
	_, err = s.Count(ctx, "A", 28, was30.Version()) // nothing has changed, but this was the last count
	require.NoError(t, err)
	if _, err := s.Count(ctx, "A", 30, was.Version()); !errors.Is(err, orderstore.ErrChanged) {
		t.Errorf("error = %v, want %v", err, orderstore.ErrChanged)
	}
	level(t, s, "A", 28, 0, 4)
}

// TestOneOfConcurrentCountsIsAccepted: all counts were made against the same level.
func TestOneOfConcurrentCountsIsAccepted(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 100})
	against := level(t, a.Store, "A", 100, 0, 0).Version()
	var g sync.WaitGroup
	var taken atomic.Int64
	for n := range int64(8) {
		g.Go(func() {
			_, err := a.Store.Count(context.Background(), "A", n, against)
			if err == nil {
				taken.Add(1)
			} else if !errors.Is(err, orderstore.ErrChanged) {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if taken.Load() != 1 {
		t.Errorf("counts that were accepted = %d, want 1", taken.Load())
	}
}

// TestLevelWithoutACountNumberCanBeCounted: an older release wrote the level before counts
// were numbered.
func TestLevelWithoutACountNumberCanBeCounted(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	n := func(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
	_, err := a.Clients.DynamoDB.PutItem(
		t.Context(),
		&dynamodb.PutItemInput{TableName: aws.String("stock"), Item: map[string]types.AttributeValue{
			"sku": &types.AttributeValueMemberS{Value: "A"}, "available": n("7"), "reserved": n("1"), "sold": n("2"), "received": n("10"),
		}},
	)
	require.NoError(t, err)
	if l, err := a.Store.Count(t.Context(), "A", 9, "10-2-0"); err != nil || l != level(t, a.Store, "A", 8, 1, 2) {
		t.Errorf("counted level = %+v, error = %v, want the level in the store", l, err)
	}
}

func TestCountRejectsImpossibleQuantities(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	for _, n := range []int64{-1, orderstore.MaxLevel + 1} {
		if _, err := s.Count(t.Context(), "A", n, orderstore.NewSKU); err == nil {
			t.Errorf("a count of %d was accepted, want an error", n)
		}
	}
	if _, err := s.GetLevel(t.Context(), "A"); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("level of A: error = %v, want %v: no count was accepted", err, orderstore.ErrNotFound)
	}
	for sku, n := range map[string]int64{"NONE": 0, "FULL": orderstore.MaxLevel} {
		if l, err := s.Count(t.Context(), sku, n, orderstore.NewSKU); err != nil || l.Available != n || l.Received != n {
			t.Errorf("counted level of %s = %+v, error = %v, want %d available and received", sku, l, err, n)
		}
	}
}
