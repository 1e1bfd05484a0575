package testkit

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// AWS is a local AWS endpoint in which all resources exist.
type AWS struct {
	Endpoint  string       // URL
	Handler   http.Handler // serves the same as Endpoint, for a test's own server
	Clients   *cloud.Clients
	Resources cloud.Resources
	Store     *orderstore.Store
	Fleet     *fleet.Registry
}

// NewAWS starts a local endpoint in memory, and stops it at the end of the test. change may be
// nil. Faults that it sets apply from the first request on, so also while resources are created.
func NewAWS(t testing.TB, change func(*awslocal.Options)) AWS {
	t.Helper()
	o := awslocal.Options{Logger: zerolog.Nop()}
	if change != nil {
		change(&o)
	}
	server, err := awslocal.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	l := listen(t)
	background(t, func(ctx context.Context) error { return server.Serve(ctx, l) })
	ctx := context.Background()

	a := AWS{Endpoint: "http://" + l.Addr().String(), Handler: server.Handler()}
	a.Clients, err = cloud.New(ctx, cloud.Options{Region: "us-east-1", Endpoint: a.Endpoint})
	require.NoError(t, err)
	a.Resources, err = a.Clients.Setup(ctx)
	require.NoError(t, err)
	a.Store = orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	require.NoError(t, a.Store.CreateTables(ctx))
	a.Fleet = fleet.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix("").Orders, nil)
	return a
}

// Listen subscribes a new queue to a topic, with raw delivery, and returns the queue's URL.
func (a AWS) Listen(t testing.TB, queue, topic string) (url string) {
	t.Helper()
	ctx := context.Background()
	q, err := a.Clients.SQS.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &queue})
	require.NoError(t, err)
	_, err = a.Clients.SNS.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + queue),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	require.NoError(t, err)
	return *q.QueueUrl
}

// SetStock sets the available units of SKUs in the endpoint's store.
func (a AWS) SetStock(t testing.TB, available map[string]int64) {
	t.Helper()
	SetStock(t, a.Store, available)
}

// SetStock sets the available units of SKUs. The units on hand become these and the reserved
// ones.
func SetStock(t testing.TB, s *orderstore.Store, available map[string]int64) {
	t.Helper()
	ctx := context.Background()
	for sku, n := range available {
		Eventually(t, "the count of "+sku+" is accepted", func() error {
			l, err := s.GetLevel(ctx, sku)
			against := orderstore.NewSKU
			if err == nil {
				against = l.Version()
			} else if !errors.Is(err, orderstore.ErrNotFound) {
				return err
			}
			_, err = s.Count(ctx, sku, n+l.Reserved, against)
			return err
		})
	}
}
