package worker_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestSaysWhatItLacks: a worker that cannot work says which thing it lacks and
// where to look, and ends.
func TestSaysWhatItLacks(t *testing.T) {
	for name, c := range map[string]struct {
		denied string // service and operation
		change func(*worker.Worker)
		say    []string
	}{
		"tables": {
			change: func(w *worker.Worker) { w.TablePrefix = "shop-" },
			say:    []string{"missing in DynamoDB: tables shop-orders, shop-reservations, shop-stock; create them with `ordersaga setup` and the same --table-prefix"},
		},
		"right to look a queue up": {denied: "sqs GetQueueUrl", say: []string{"find queue OrderProcessingQueue", "AccessDenied", "deploy/cloudformation"}},
		"right to a topic":         {denied: "sns GetTopicAttributes", say: []string{"find topic arn:aws:sns:", "AuthorizationError", "deploy/cloudformation"}},
		"right to a table":         {denied: "dynamodb GetItem", say: []string{"read from table orders", "AccessDeniedException", "deploy/cloudformation"}},
		"right to receive":         {denied: "sqs ReceiveMessage", say: []string{"receive from queue http", "AccessDenied", "deploy/cloudformation"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := testkit.NewAWS(t, func(o *awslocal.Options) { o.Fault = deny(c.denied) })
			w := good()
			w.AWS.Endpoint = a.Endpoint
			if c.change != nil {
				c.change(&w)
			}
			var err error
			if w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = w.Listener.Close() }) // Run does, if it comes to that
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err = w.Open(ctx); err == nil {
				err = w.Run(ctx)
			}
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it works on: %v", err)
			}
			for _, say := range c.say {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("must say %q: %v", say, err)
				}
			}
		})
	}
}

// deny refuses an operation as AWS refuses those who have no right to it.
func deny(what string) awslocal.Fault {
	code := map[string]string{"sqs": "AccessDenied", "sns": "AuthorizationError", "dynamodb": "AccessDeniedException"}
	return func(service, operation string) error {
		if service+" "+operation != what {
			return nil
		}
		return &awslocal.Error{Status: 403, Code: code[service], Message: "User: arn:aws:sts::000000000000:assumed-role/w/x is not authorized to perform: " + service + ":" + operation}
	}
}
