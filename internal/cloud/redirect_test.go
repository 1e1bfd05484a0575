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
)

// TestAWSRedirects are not followed: a request has the order, and its payment
// token.
func TestAWSRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was followed", r.Method, r.URL)
		_, _ = w.Write([]byte("{}"))
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(other.URL, status))
		c, err := cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: server.URL, Logger: zerolog.Nop()})
		must(t, err)
		_, put := c.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{}, func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
		_, send := c.SQS.ListQueues(t.Context(), &sqs.ListQueuesInput{}, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
		_, publish := c.SNS.ListTopics(t.Context(), &sns.ListTopicsInput{}, func(o *sns.Options) { o.RetryMaxAttempts = 1 })
		for what, err := range map[string]error{"DynamoDB": put, "SQS": send, "SNS": publish} {
			if err == nil || !strings.Contains(err.Error(), "a redirect to \""+other.URL) {
				t.Errorf("%s, %d: %v", what, status, err)
			}
		}
		server.Close()
	}
}
