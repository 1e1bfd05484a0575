package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// Worker is the content of a worker's heartbeats.
type Worker struct {
	ID    string `dynamodbav:"worker"`
	Sagas int    `dynamodbav:"sagas"` // that it runs and that have not ended
	// LastSeen is when its latest heartbeat was written, by the writer's clock.
	LastSeen time.Time `dynamodbav:"-"`

	Stopped bool `dynamodbav:"left,omitempty"` // it has shut down in good order
	// Recent has what it did in each interval of the last RecentTime, the latest
	// one last. Intervals in which it did nothing are left out.
	Recent []Interval `dynamodbav:"lately,omitempty"`
	// Durations has how long the orders took that it ended in RecentTime, in
	// milliseconds; nil if there were none.
	Durations *hdrhistogram.Histogram `dynamodbav:"-"`
}

// Interval has the work of a worker in one HeartbeatInterval.
type Interval struct {
	At       int64                `dynamodbav:"at"` // its start in Unix seconds, a multiple of HeartbeatInterval
	Started  int                  `dynamodbav:"started,omitempty"`
	Ended    map[order.Status]int `dynamodbav:"ended,omitempty"`
	Refunded int                  `dynamodbav:"refunded,omitempty"` // of those that ended
}

const (
	// HeartbeatInterval is how often a worker writes its heartbeat.
	HeartbeatInterval = 5 * time.Second
	// RecentTime is how far back workers report what they did.
	RecentTime = 5 * time.Minute

	// MaxDuration is recorded for every order that took longer.
	MaxDuration = 30 * 24 * time.Hour
	// DurationDigits is how many significant digits of a duration are kept.
	DurationDigits = 2
)

// workerItem is a worker's item. All of them are under one key of the status
// index, and each is written by its own worker only, so they do not contend.
type workerItem struct {
	Worker

	OrderID   string `dynamodbav:"orderId"`
	Shard     string `dynamodbav:"statusShard"`
	Seen      string `dynamodbav:"placed"`
	ExpiresAt int64  `dynamodbav:"expiresAt"`      // DynamoDB deletes the items of stopped workers
	Encoded   string `dynamodbav:"took,omitempty"` // Durations in HdrHistogram's V2 encoding
}

const (
	workerPrefix = "#worker "
	workerShard  = "#workers"
)

// Alive reports whether the worker has not stopped and its latest heartbeat is
// at most three intervals old.
func (w Worker) Alive(now time.Time) bool {
	return !w.Stopped && now.Sub(w.LastSeen) <= 3*HeartbeatInterval
}

// Heartbeat writes what a worker reports. It sets LastSeen itself.
func (r *Registry) Heartbeat(ctx context.Context, w Worker) error {
	i := workerItem{
		Worker: w, OrderID: workerPrefix + w.ID, Shard: workerShard, Seen: r.stamp(0), ExpiresAt: r.now().Add(time.Hour).Unix(),
	}
	if w.Durations != nil {
		encoded, err := w.Durations.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return fmt.Errorf("encode the durations of worker %s: %w", w.ID, err)
		}
		i.Encoded = string(encoded)
	}
	item, err := attributevalue.MarshalMap(i)
	if err != nil {
		return fmt.Errorf("encode worker %s: %w", w.ID, err)
	}
	_, err = r.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &r.table, Item: item})
	return wrap(err, "write the heartbeat of worker %s", w.ID)
}

// Workers returns the workers whose latest heartbeat is at most RecentTime old,
// stopped ones too, ordered by id. It is eventually consistent.
func (r *Registry) Workers(ctx context.Context) (all []Worker, err error) {
	pages := dynamodb.NewQueryPaginator(r.db, &dynamodb.QueryInput{
		TableName: &r.table, IndexName: aws.String(orderstore.StatusIndex),
		KeyConditionExpression: aws.String("statusShard = :workers AND placed >= :since"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":workers": str(workerShard), ":since": str(r.stamp(RecentTime)),
		},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the workers' heartbeats: %w", err)
		}
		for _, item := range page.Items {
			w, err := decodeWorker(item)
			if err != nil {
				return nil, err
			}
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b Worker) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

func decodeWorker(item map[string]types.AttributeValue) (w Worker, err error) {
	var i workerItem
	err = attributevalue.UnmarshalMap(item, &i)
	if err == nil {
		i.LastSeen, err = time.Parse(orderstore.TimeFormat, i.Seen)
	}
	if err == nil && i.Encoded != "" {
		i.Durations, err = hdrhistogram.Decode([]byte(i.Encoded))
	}
	return i.Worker, wrap(err, "decode worker %s", i.ID)
}
