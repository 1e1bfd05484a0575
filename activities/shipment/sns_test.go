package shipment_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// busy holds the first request until it is let, and may refuse an entry of a
// batch.
type busy struct {
	*sns.Client
	in, out chan struct{}
	held    atomic.Bool
	refuse  string
}

func (b *busy) Publish(ctx context.Context, in *sns.PublishInput, opts ...func(*sns.Options)) (*sns.PublishOutput, error) {
	if b.held.CompareAndSwap(false, true) {
		close(b.in)
		<-b.out
	}
	return b.Client.Publish(ctx, in, opts...)
}

func (b *busy) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, opts ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	var kept []types.PublishBatchRequestEntry
	for _, e := range in.PublishBatchRequestEntries {
		if b.refuse == "" || !strings.Contains(*e.Message, b.refuse) {
			kept = append(kept, e)
		}
	}
	out, err := b.Client.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: in.TopicArn, PublishBatchRequestEntries: kept}, opts...)
	if len(kept) < len(in.PublishBatchRequestEntries) && err == nil {
		out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: aws.String("0"), Code: aws.String("InternalError")})
	}
	return out, err
}

// TestPublishesTogether what is published while SNS has not answered: ten at a
// time, each with its own attributes, and none twice or never.
func TestPublishesTogether(t *testing.T) {
	for _, tt := range []struct {
		what   string
		refuse string
		reason string // of one of them
		calls  int64
	}{
		{"ten at a time", "", "", 3},
		{"an entry that fails goes again, alone", `"c-1-7"`, "", 4},
		{"a large one goes alone", "", strings.Repeat("x", 100_000), 4},
	} {
		t.Run(tt.what, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			q := a.Listen(t, "listener", a.Resources.CustomerTopic)
			client := &busy{Client: a.Clients.SNS, in: make(chan struct{}), out: make(chan struct{}), refuse: tt.refuse}
			p := shipment.New(client, a.Resources.ShipmentTopic, a.Resources.CustomerTopic)
			before := a.Clients.Calls()
			notify := func(n int) {
				o := o
				o.CustomerID = fmt.Sprintf("c-1-%d", n)
				reason := ""
				if n == 21 {
					reason = tt.reason
				}
				if err := p.Notify(t.Context(), o, shipment.Delayed, reason); err != nil {
					t.Error(err)
				}
			}
			var first, rest sync.WaitGroup
			first.Go(func() { notify(0) })
			<-client.in
			for n := 1; n <= 20; n++ {
				rest.Go(func() { notify(n) })
			}
			if tt.reason != "" {
				notify(21)
			}
			rest.Wait() // for two full batches do not wait for the first
			close(client.out)
			first.Wait()
			if got := a.Clients.Calls() - before; got != tt.calls {
				t.Errorf("%d requests, want %d", got, tt.calls)
			}
			want, got := 21, map[string]int{}
			if tt.reason != "" {
				want++
			}
			for range want {
				m := next(t, a, q)
				wantAttributes(t, m, "delayed")
				var n shipment.Notification
				if err := json.Unmarshal([]byte(*m.Body), &n); err != nil {
					t.Fatal(err)
				}
				got[n.CustomerID]++
			}
			if len(got) != want {
				t.Errorf("%d different messages, want %d: %v", len(got), want, got)
			}
		})
	}
}
