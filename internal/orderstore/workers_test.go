package orderstore_test

import (
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestWorkers: who says so lives, until it leaves or has been silent; what it
// did is known for longer.
func TestWorkers(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	s := orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), func() time.Time { return now })
	live := func(want ...orderstore.Worker) {
		t.Helper()
		all, err := s.Workers(t.Context())
		got := slices.DeleteFunc(slices.Clone(all), func(w orderstore.Worker) bool { return !w.Live(now) })
		if err != nil || len(got) != len(want) {
			t.Fatalf("%+v %v, want %+v", got, err, want)
		}
		for i, w := range want {
			if got[i].ID != w.ID || got[i].Sagas != w.Sagas || !got[i].SeenAt.Equal(w.SeenAt) {
				t.Errorf("%+v, want %+v", got[i], w)
			}
		}
	}
	took := hdrhistogram.New(1, orderstore.TookMost.Milliseconds(), orderstore.TookDigits)
	if err := took.RecordValues(1500, 3); err != nil {
		t.Fatal(err)
	}
	beat := func(id string, sagas int, left bool) orderstore.Worker {
		t.Helper()
		w := orderstore.Worker{ID: id, Sagas: sagas, SeenAt: now, Left: left}
		if left {
			w.Took = took
			w.Lately = []orderstore.Span{{At: now.Unix(), Started: 4, Ended: map[order.Status]int{order.StatusFailed: 3}, Refunded: 1}}
		}
		if err := s.Beat(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	live()
	b := beat("b/1", 2, false)
	live(beat("a/1", 3, false), b)
	now = now.Add(2 * orderstore.BeatEvery)
	left := beat("a/1", 0, true)
	live(b)
	now = now.Add(2 * orderstore.BeatEvery)
	live()
	now = now.Add(orderstore.RecentTime - 4*orderstore.BeatEvery)
	all, err := s.Workers(t.Context())
	if err != nil || len(all) != 2 || !reflect.DeepEqual(all[0].Lately, left.Lately) || !all[0].Took.Equals(took) || all[1].Took != nil {
		t.Errorf("%+v %v, want what %+v said", all, err, left)
	}
	now = now.Add(4 * orderstore.BeatEvery)
	if all, err = s.Workers(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%+v %v, all silent", all, err)
	}
	item, err := a.Clients.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "#worker a/1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if expires, ok := item.Item["expiresAt"].(*types.AttributeValueMemberN); !ok || expires.Value != strconv.FormatInt(left.SeenAt.Add(time.Hour).Unix(), 10) {
		t.Errorf("it is kept: %v", item.Item)
	}
	if page, err := s.List(t.Context(), orderstore.Query{Limit: 10}); err != nil || len(page.Records) != 0 {
		t.Errorf("they are among the orders: %+v %v", page, err)
	}
}

func TestCountUpTo(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	for n := range 40 {
		accept(t, a.Store, newOrder("o"+string(rune('A'+n))))
	}
	for most, want := range map[int]orderstore.Count{1000: {N: 40}, 8: {N: 8, More: true}} {
		got, err := a.Store.CountUpTo(t.Context(), most, order.StatusPending, order.StatusFailed)
		if err != nil || got[order.StatusPending] != want || got[order.StatusFailed] != (orderstore.Count{}) {
			t.Errorf("up to %d: %+v %v, want %+v", most, got, err, want)
		}
	}
}
