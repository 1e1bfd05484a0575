package testkit

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/cloud"
)

// AWS is a local endpoint with all resources made.
type AWS struct {
	Endpoint  string
	Clients   *cloud.Clients
	Resources cloud.Resources
	Store     *stock.Store
}

// NewAWS starts a local endpoint that keeps nothing and ends with the test.
// change may be nil; faults it sets count from the first request on.
func NewAWS(t testing.TB, change func(*awslocal.Options)) AWS {
	t.Helper()
	o := awslocal.Options{Logger: zerolog.Nop()}
	if change != nil {
		change(&o)
	}
	server, err := awslocal.Open(o)
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	l := listen(t)
	background(t, func(ctx context.Context) error { return server.Serve(ctx, l) })
	ctx := context.Background()

	a := AWS{Endpoint: "http://" + l.Addr().String()}
	a.Clients, err = cloud.New(ctx, cloud.Options{Region: "us-east-1", Endpoint: a.Endpoint})
	must(t, err)
	a.Resources, err = a.Clients.Setup(ctx)
	must(t, err)
	a.deliverRaw(t)
	a.Store = stock.New(a.Clients.DynamoDB, stock.TablesWithPrefix(""), nil)
	must(t, a.Store.CreateTables(ctx))
	return a
}

// deliverRaw takes SNS's envelope off shipment requests, which setup wants for
// Dapr's sake: the publisher's tests read what it has published, attributes too.
func (a AWS) deliverRaw(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	subs, err := a.Clients.SNS.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &a.Resources.ShipmentTopic})
	must(t, err)
	for _, s := range subs.Subscriptions {
		_, err := a.Clients.SNS.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
			SubscriptionArn: s.SubscriptionArn, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
		})
		must(t, err)
	}
}

// SetStock puts pieces on the shelf.
func (a AWS) SetStock(t testing.TB, available map[string]int64) {
	t.Helper()
	for sku, n := range available {
		_, err := a.Store.SetAvailable(context.Background(), sku, n)
		must(t, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
