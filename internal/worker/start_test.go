package worker_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestWorkerReportsMissingResources: a worker that cannot work exits with an error that
// names what is missing and where to look.
func TestWorkerReportsMissingResources(t *testing.T) {
	for name, c := range map[string]struct {
		denied string // service and operation
		change func(*worker.Worker)
		texts  []string
	}{
		"tables": {
			change: func(w *worker.Worker) { w.TablePrefix = "shop-" },
			texts: []string{
				"missing in DynamoDB: tables shop-orders, shop-reservations, shop-stock; " +
					"create them with `ordersaga setup` and the same --table-prefix",
			},
		},
		"permission to look a queue up": {
			denied: "sqs GetQueueUrl",
			texts:  []string{"find queue OrderProcessingQueue", "AccessDenied", "deploy/cloudformation"},
		},
		"permission for a topic": {
			denied: "sns GetTopicAttributes",
			texts:  []string{"find topic arn:aws:sns:", "AuthorizationError", "deploy/cloudformation"},
		},
		"permission for a table": {
			denied: "dynamodb GetItem",
			texts:  []string{"read from table orders", "AccessDeniedException", "deploy/cloudformation"},
		},
		"permission to receive": {
			denied: "sqs ReceiveMessage",
			texts:  []string{"receive from queue http", "AccessDenied", "deploy/cloudformation"},
		},
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
			w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = w.Listener.Close() }) // Run does, if it comes to that
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err = w.Open(ctx)
			if err == nil {
				err = w.Run(ctx)
			}
			if err == nil || ctx.Err() != nil {
				t.Fatalf("error = %v, want one before the test's timeout", err)
			}
			for _, text := range c.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error = %v, want one with %q", err, text)
				}
			}
		})
	}
}

// deny rejects an operation as AWS does for a caller without the permission.
func deny(what string) awslocal.Fault {
	code := map[string]string{"sqs": "AccessDenied", "sns": "AuthorizationError", "dynamodb": "AccessDeniedException"}
	return func(service, operation string) error {
		if service+" "+operation != what {
			return nil
		}
		return &awslocal.Error{
			Status: 403, Code: code[service],
			Message: "User: arn:aws:sts::000000000000:assumed-role/w/x is not authorized to perform: " + service + ":" + operation,
		}
	}
}
