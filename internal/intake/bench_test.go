package intake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// noSagas starts nothing: the benchmark measures the way there.
type noSagas struct{}

func (noSagas) Start(context.Context, string, string, any) error { return nil }
func (noSagas) Raise(context.Context, string, string, any) error { return nil }

// BenchmarkIntake measures orders from the queue to the saga's start: received, parsed,
// recorded, deleted.
func BenchmarkIntake(b *testing.B) {
	a := testkit.NewAWS(b, nil)
	o, err := order.Parse([]byte(event(b, "o")))
	require.NoError(b, err)
	for n := 0; n < b.N; n += 10 {
		var entries []types.SendMessageBatchRequestEntry
		for i := n; i < min(n+10, b.N); i++ {
			o.OrderID = fmt.Sprint("o-", i)
			body, err := json.Marshal(o)
			require.NoError(b, err)
			entries = append(entries, types.SendMessageBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(string(body)),
			})
		}
		in := &sqs.SendMessageBatchInput{QueueUrl: &a.Resources.OrderQueue, Entries: entries}
		_, err := a.Clients.SQS.SendMessageBatch(context.Background(), in)
		require.NoError(b, err)
	}
	before := a.Clients.Calls()
	b.ReportAllocs()
	b.ResetTimer()
	outcomes, stop := a.Consume(b, sqsconsumer.Options{Receivers: 4, Handle: intake.Starter{Orders: a.Store, Sagas: noSagas{}}.HandleOrder})
	for range b.N {
		if got := <-outcomes; got != "done" {
			b.Fatalf("outcome = %s, want done", got)
		}
	}
	b.StopTimer()
	stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(a.Clients.Calls()-before)/float64(b.N), "aws-calls/op")
}
