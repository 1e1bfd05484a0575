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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestWorkersAreAliveUntilTheyStopOrMissHeartbeats also verifies that what a
// stopped worker did is reported for RecentTime.
func TestWorkersAreAliveUntilTheyStopOrMissHeartbeats(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	registry := fleet.New(a.Clients.DynamoDB, "orders", func() time.Time { return now })
	alive := func(want ...fleet.Worker) {
		t.Helper()
		all, err := registry.Workers(t.Context())
		require.NoError(t, err)
		got := slices.DeleteFunc(slices.Clone(all), func(w fleet.Worker) bool { return !w.Alive(now) })
		if len(got) != len(want) {
			t.Fatalf("workers alive = %+v, want %+v", got, want)
		}
		for i, w := range want {
			if got[i].ID != w.ID || got[i].Sagas != w.Sagas || !got[i].LastSeen.Equal(w.LastSeen) {
				t.Errorf("worker = %+v, want %+v", got[i], w)
			}
		}
	}
	took := hdrhistogram.New(1, fleet.MaxDuration.Milliseconds(), fleet.DurationDigits)
	require.NoError(t, took.RecordValues(1500, 3))
	heartbeat := func(id string, sagas int, stopped bool) fleet.Worker {
		t.Helper()
		w := fleet.Worker{ID: id, Sagas: sagas, LastSeen: now, Stopped: stopped}
		if stopped {
			w.Durations = took
			ended := map[order.Status]int{order.StatusFailed: 3}
			w.Recent = []fleet.Interval{{At: now.Unix(), Started: 4, Ended: ended, Refunded: 1}}
		}
		require.NoError(t, registry.Heartbeat(t.Context(), w))
		return w
	}
	alive()
	b := heartbeat("b/1", 2, false)
	alive(heartbeat("a/1", 3, false), b)
	now = now.Add(2 * fleet.HeartbeatInterval)
	stopped := heartbeat("a/1", 0, true)
	alive(b)
	now = now.Add(2 * fleet.HeartbeatInterval)
	alive()
	now = now.Add(fleet.RecentTime - 4*fleet.HeartbeatInterval)
	all, err := registry.Workers(t.Context())
	require.NoError(t, err)
	if len(all) != 2 {
		t.Fatalf("workers = %+v, want 2", all)
	}
	if !reflect.DeepEqual(all[0].Recent, stopped.Recent) || !all[0].Durations.Equals(took) || all[1].Durations != nil {
		t.Errorf("workers = %+v, want the first with the activity of %+v", all, stopped)
	}
	now = now.Add(4 * fleet.HeartbeatInterval)
	all, err = registry.Workers(t.Context())
	require.NoError(t, err)
	if len(all) != 0 {
		t.Errorf("workers after RecentTime = %+v, want none", all)
	}
	item, err := a.Clients.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "#worker a/1"}},
	})
	require.NoError(t, err)
	want := strconv.FormatInt(stopped.LastSeen.Add(time.Hour).Unix(), 10)
	if expires, ok := item.Item["expiresAt"].(*types.AttributeValueMemberN); !ok || expires.Value != want {
		t.Errorf("item = %v, want expiresAt %s", item.Item, want)
	}
	page, err := a.Store.List(t.Context(), orderstore.Query{Limit: 10})
	require.NoError(t, err)
	if len(page.Records) != 0 {
		t.Errorf("orders = %+v, want none: workers are no orders", page.Records)
	}
}
