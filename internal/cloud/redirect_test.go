package cloud_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestRedirectsAreNotFollowed: a request contains the order with its payment token.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed with %s %s, want no request", r.Method, r.URL)
		_, _ = w.Write([]byte("{}"))
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(other.URL, status))
		c, err := cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: server.URL, Logger: zerolog.Nop()})
		require.NoError(t, err)
		_, put := c.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{}, func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
		_, send := c.SQS.ListQueues(t.Context(), &sqs.ListQueuesInput{}, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
		_, publish := c.SNS.ListTopics(t.Context(), &sns.ListTopicsInput{}, func(o *sns.Options) { o.RetryMaxAttempts = 1 })
		for what, err := range map[string]error{"DynamoDB": put, "SQS": send, "SNS": publish} {
			if err == nil || !strings.Contains(err.Error(), "a redirect to \""+other.URL) {
				t.Errorf("%s, status %d: error = %v, want one about the redirect to %s", what, status, err, other.URL)
			}
		}
		server.Close()
	}
}
