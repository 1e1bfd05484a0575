package orderstore

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Count is a number of orders. With More it is a lower bound.
type Count struct {
	N    int  `json:"count"`
	More bool `json:"more,omitempty"`
}

// CountByStatus counts the orders of each given status in the status index. It is
// eventually consistent.
func (s *Store) CountByStatus(ctx context.Context, statuses ...order.Status) (map[order.Status]int, error) {
	counts, err := s.CountUpTo(ctx, math.MaxInt32, statuses...)
	if err != nil {
		return nil, err
	}
	ns := map[order.Status]int{}
	for st, c := range counts {
		ns[st] = c.N
	}
	return ns, nil
}

// CountUpTo is CountByStatus that stops at about most orders of each status: orders that
// have ended are kept permanently, and counting reads them.
func (s *Store) CountUpTo(ctx context.Context, most int, statuses ...order.Status) (map[order.Status]Count, error) {
	var mu sync.Mutex
	counts := map[order.Status]Count{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, st := range statuses {
		for n := range uint32(statusShards) {
			g.Go(func() error {
				in, err := s.countShard(gctx, shardKey(st, n), max(most/statusShards, 1))
				mu.Lock()
				defer mu.Unlock()
				counts[st] = Count{N: counts[st].N + in.N, More: counts[st].More || in.More}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("count orders: %w", err)
	}
	return counts, nil
}

func (s *Store) countShard(ctx context.Context, key string, most int) (c Count, err error) {
	in := &dynamodb.QueryInput{
		TableName: &s.tables.Orders, IndexName: aws.String(StatusIndex), Select: types.SelectCount,
		KeyConditionExpression:    aws.String("statusShard = :k"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":k": str(key)},
	}
	for {
		in.Limit = aws.Int32(int32(most - c.N))
		page, err := s.db.Query(ctx, in)
		if err != nil {
			return c, err
		}
		c.N += int(page.Count)
		in.ExclusiveStartKey = page.LastEvaluatedKey
		if len(in.ExclusiveStartKey) == 0 {
			return c, nil
		}
		if c.N >= most {
			c.More = true
			return c, nil
		}
	}
}
