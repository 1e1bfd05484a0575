package stock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Worker is a worker that lives, as it says itself.
type Worker struct {
	ID     string    `dynamodbav:"id" json:"id" example:"ordersaga-worker-5d9c-x2x7k/1"`
	Sagas  int       `dynamodbav:"sagas" json:"sagas" doc:"Sagas that it runs and that have not ended."`
	SeenAt time.Time `dynamodbav:"-" json:"seenAt"`

	Seen string `dynamodbav:"seen" json:"-"`
}

// BeatEvery is how often a worker says that it lives.
const BeatEvery = 5 * time.Second

// workersID is an item of the orders table that no order can have the id of,
// with an attribute for each worker. So they need no table of their own, and
// who looks reads one item.
const (
	workersID    = "#workers"
	workerPrefix = "worker "
)

// Beat says that a worker lives, and forgets those that have long been silent.
func (s *Store) Beat(ctx context.Context, w Worker) error {
	w.Seen = s.stamp()
	beat, err := attributevalue.Marshal(w)
	if err != nil {
		return fmt.Errorf("encode worker %s: %w", w.ID, err)
	}
	out, err := s.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(workersID)}, ReturnValues: types.ReturnValueAllNew,
		UpdateExpression: aws.String("SET #w = :w"), ExpressionAttributeNames: map[string]string{"#w": workerPrefix + w.ID},
		ExpressionAttributeValues: map[string]types.AttributeValue{":w": beat},
	})
	if err != nil {
		return fmt.Errorf("say that worker %s lives: %w", w.ID, err)
	}
	all, err := decodeWorkers(out.Attributes)
	if err != nil {
		return err
	}
	for _, old := range all {
		if s.now().Sub(old.SeenAt) > 100*BeatEvery {
			if err := s.Leave(ctx, old.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Leave forgets a worker.
func (s *Store) Leave(ctx context.Context, id string) error {
	_, err := s.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(workersID)},
		UpdateExpression: aws.String("REMOVE #w"), ExpressionAttributeNames: map[string]string{"#w": workerPrefix + id},
	})
	return wrap(err, "forget worker %s", id)
}

// Workers are those that live: each has said so lately.
func (s *Store) Workers(ctx context.Context) ([]Worker, error) {
	item, err := s.getItem(ctx, s.tables.Orders, "orderId", workersID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read who works: %w", err)
	}
	all, err := decodeWorkers(item)
	return slices.DeleteFunc(all, func(w Worker) bool { return s.now().Sub(w.SeenAt) > 3*BeatEvery }), err
}

func decodeWorkers(item map[string]types.AttributeValue) (all []Worker, err error) {
	for name, v := range item {
		if !strings.HasPrefix(name, workerPrefix) {
			continue
		}
		var w Worker
		if err := attributevalue.Unmarshal(v, &w); err != nil {
			return nil, fmt.Errorf("decode %s: %w", name, err)
		}
		if w.SeenAt, err = time.Parse(timeFormat, w.Seen); err != nil {
			return nil, fmt.Errorf("decode %s: %w", name, err)
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b Worker) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}
