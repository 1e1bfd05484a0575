package orderstore

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
)

// Worker is a worker, as it says itself.
type Worker struct {
	ID     string    `dynamodbav:"worker" json:"id" example:"ordersaga-worker-5d9c-x2x7k/1"`
	Sagas  int       `dynamodbav:"sagas" json:"sagas" doc:"Sagas that it runs and that have not ended."`
	SeenAt time.Time `dynamodbav:"-" json:"seenAt"`

	Left bool `dynamodbav:"left,omitempty" json:"-"` // it has ended in good order
	// Lately is what it did in each span of the last RecentTime, the latest at
	// the end. Spans in which it did nothing are left out.
	Lately []Span `dynamodbav:"lately,omitempty" json:"-"`
	// Took is how long the orders took that it has ended in that time, in
	// milliseconds; nil if there were none.
	Took *hdrhistogram.Histogram `dynamodbav:"-" json:"-"`
}

// Span is what a worker did in the BeatEvery from At on.
type Span struct {
	At       int64                `dynamodbav:"at"` // Unix seconds, a multiple of BeatEvery
	Started  int                  `dynamodbav:"started,omitempty"`
	Ended    map[order.Status]int `dynamodbav:"ended,omitempty"`
	Refunded int                  `dynamodbav:"refunded,omitempty"` // of those that ended
}

const (
	// BeatEvery is how often a worker says that it lives.
	BeatEvery = 5 * time.Second
	// RecentTime is for how long what workers did is recent.
	RecentTime = 5 * time.Minute

	// TookMost is what counts as the duration of all that took longer.
	TookMost = 30 * 24 * time.Hour
	// TookDigits is how many digits of a duration are kept.
	TookDigits = 2
)

// workerItem is a worker in the orders table, with a key that no order can have,
// under an index key of their own: so workers need no table, and do not contend
// for an item.
type workerItem struct {
	Worker

	OrderID   string `dynamodbav:"orderId"`
	Shard     string `dynamodbav:"statusShard"`
	Seen      string `dynamodbav:"placed"`
	ExpiresAt int64  `dynamodbav:"expiresAt"`      // so those that were are forgotten
	Durations string `dynamodbav:"took,omitempty"` // in HdrHistogram's V2 encoding
}

const (
	workerPrefix = "#worker "
	workerShard  = "#workers"
)

// Live reports whether a worker has said lately that it lives.
func (w Worker) Live(now time.Time) bool { return !w.Left && now.Sub(w.SeenAt) <= 3*BeatEvery }

// Beat records what a worker says of itself.
func (s *Store) Beat(ctx context.Context, w Worker) error {
	i := workerItem{
		Worker: w, OrderID: workerPrefix + w.ID, Shard: workerShard, Seen: s.stamp(), ExpiresAt: s.now().Add(time.Hour).Unix(),
	}
	if w.Took != nil {
		took, err := w.Took.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return fmt.Errorf("encode durations of worker %s: %w", w.ID, err)
		}
		i.Durations = string(took)
	}
	item, err := attributevalue.MarshalMap(i)
	if err != nil {
		return fmt.Errorf("encode worker %s: %w", w.ID, err)
	}
	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.tables.Orders, Item: item})
	return wrap(err, "say that worker %s lives", w.ID)
}

// Workers are those that live or have said something recently, by their ids. It
// is eventually consistent.
func (s *Store) Workers(ctx context.Context) (all []Worker, err error) {
	pages := dynamodb.NewQueryPaginator(s.db, &dynamodb.QueryInput{
		TableName: &s.tables.Orders, IndexName: aws.String(indexByStatus),
		KeyConditionExpression: aws.String("statusShard = :workers AND placed >= :since"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":workers": str(workerShard), ":since": str(s.now().UTC().Add(-RecentTime).Format(timeFormat)),
		},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read who works: %w", err)
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
		i.SeenAt, err = time.Parse(timeFormat, i.Seen)
	}
	if err == nil && i.Durations != "" {
		i.Took, err = hdrhistogram.Decode([]byte(i.Durations))
	}
	return i.Worker, wrap(err, "decode worker %s", i.ID)
}
