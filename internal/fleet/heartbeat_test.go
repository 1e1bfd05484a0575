package fleet_test

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

	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestWorkers: a worker is alive from its first heartbeat until it stops or misses heartbeats; what it
// did is known for longer.
func TestWorkers(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	registry := fleet.New(a.Clients.DynamoDB, "orders", func() time.Time { return now })
	live := func(want ...fleet.Worker) {
		t.Helper()
		all, err := registry.Workers(t.Context())
		got := slices.DeleteFunc(slices.Clone(all), func(w fleet.Worker) bool { return !w.Alive(now) })
		if err != nil || len(got) != len(want) {
			t.Fatalf("%+v %v, want %+v", got, err, want)
		}
		for i, w := range want {
			if got[i].ID != w.ID || got[i].Sagas != w.Sagas || !got[i].LastSeen.Equal(w.LastSeen) {
				t.Errorf("%+v, want %+v", got[i], w)
			}
		}
	}
	took := hdrhistogram.New(1, fleet.MaxDuration.Milliseconds(), fleet.DurationDigits)
	if err := took.RecordValues(1500, 3); err != nil {
		t.Fatal(err)
	}
	beat := func(id string, sagas int, left bool) fleet.Worker {
		t.Helper()
		w := fleet.Worker{ID: id, Sagas: sagas, LastSeen: now, Stopped: left}
		if left {
			w.Durations = took
			w.Recent = []fleet.Interval{{At: now.Unix(), Started: 4, Ended: map[order.Status]int{order.StatusFailed: 3}, Refunded: 1}}
		}
		if err := registry.Heartbeat(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	live()
	b := beat("b/1", 2, false)
	live(beat("a/1", 3, false), b)
	now = now.Add(2 * fleet.HeartbeatInterval)
	left := beat("a/1", 0, true)
	live(b)
	now = now.Add(2 * fleet.HeartbeatInterval)
	live()
	now = now.Add(fleet.RecentTime - 4*fleet.HeartbeatInterval)
	all, err := registry.Workers(t.Context())
	if err != nil || len(all) != 2 || !reflect.DeepEqual(all[0].Recent, left.Recent) || !all[0].Durations.Equals(took) ||
		all[1].Durations != nil {
		t.Errorf("workers = %+v, error = %v, want the last heartbeat of %+v", all, err, left)
	}
	now = now.Add(4 * fleet.HeartbeatInterval)
	all, err = registry.Workers(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("%+v %v, all silent", all, err)
	}
	item, err := a.Clients.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "#worker a/1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if expires, ok := item.Item["expiresAt"].(*types.AttributeValueMemberN); !ok ||
		expires.Value != strconv.FormatInt(left.LastSeen.Add(time.Hour).Unix(), 10) {
		t.Errorf("it is kept: %v", item.Item)
	}
	if page, err := a.Store.List(t.Context(), orderstore.Query{Limit: 10}); err != nil || len(page.Records) != 0 {
		t.Errorf("they are among the orders: %+v %v", page, err)
	}
}
