package awslocal

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoint is a running Server with the configuration of a client for it.
type endpoint struct {
	cfg  aws.Config
	stop func() // stops serving, and closes the Server twice
}

func serve(t *testing.T, o Options) *endpoint {
	t.Helper()
	s, err := Open(o)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	transport := &http.Transport{}
	return &endpoint{
		cfg: aws.Config{
			Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
			BaseEndpoint: aws.String("http://" + l.Addr().String()), HTTPClient: &http.Client{Transport: transport},
			RetryMaxAttempts: 1,
		},
		stop: func() {
			cancel()
			if err := errors.Join(<-done, s.Close(), s.Close()); err != nil {
				t.Errorf("stopping the endpoint failed: %v", err)
			}
			transport.CloseIdleConnections()
		},
	}
}

func TestRestartKeepsQueuesTopicsAndMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := serve(t, Options{Dir: dir})
	ctx := t.Context()
	queues, topics := sqs.NewFromConfig(e.cfg), sns.NewFromConfig(e.cfg)
	q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q")})
	require.NoError(t, err)
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")})
	require.NoError(t, err)
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:q"),
		Attributes: map[string]string{"RawMessageDelivery": "true", "FilterPolicy": `{"a":["keep"]}`, "FilterPolicyScope": "MessageBody"},
	})
	require.NoError(t, err)
	publish := func(e *endpoint, body string) {
		t.Helper()
		_, err := sns.NewFromConfig(e.cfg).Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: &body})
		require.NoError(t, err)
	}
	publish(e, `{"a":"keep","n":1}`)
	e.stop()

	e = serve(t, Options{Dir: dir})
	defer e.stop()
	publish(e, `{"a":"drop"}`)
	publish(e, `{"a":"keep","n":2}`)
	url := *e.cfg.BaseEndpoint + (*q.QueueUrl)[strings.LastIndex(*q.QueueUrl, "/000000000000/"):]
	got, err := sqs.NewFromConfig(e.cfg).ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
	require.NoError(t, err)
	if len(got.Messages) != 2 || *got.Messages[0].Body != `{"a":"keep","n":1}` {
		t.Errorf("messages after the restart = %+v, want the two with a=keep, the older first", got.Messages)
	}
}

func TestServeDrainsLongPolls(t *testing.T) {
	t.Parallel()
	e := serve(t, Options{})
	queues := sqs.NewFromConfig(e.cfg)
	q, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	require.NoError(t, err)
	polled := make(chan error, 1)
	go func() {
		_, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, WaitTimeSeconds: 20})
		polled <- err
	}()
	time.Sleep(50 * time.Millisecond) // the poll has probably begun; the test holds without it
	start := time.Now()
	e.stop()
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("stopping took %v, want at most 3s", d)
	}
	<-polled // a response, or a refused connection if the poll began too late
}

func TestThrottledRequestsHaveAWSErrorCodes(t *testing.T) {
	t.Parallel()
	e := serve(t, Options{Fault: ThrottleSome("", 1, 1)})
	defer e.stop()
	_, err := sqs.NewFromConfig(e.cfg).ListQueues(t.Context(), &sqs.ListQueuesInput{})
	if a, ok := errors.AsType[smithy.APIError](err); !ok || a.ErrorCode() != "RequestThrottled" {
		t.Errorf("SQS error = %v, want code RequestThrottled", err)
	}
	_, err = sns.NewFromConfig(e.cfg).ListTopics(t.Context(), &sns.ListTopicsInput{})
	if a, ok := errors.AsType[smithy.APIError](err); !ok || a.ErrorCode() != "Throttled" {
		t.Errorf("SNS error = %v, want code Throttled", err)
	}
}

func TestUnsupportedRequestsAreRejectedInTheirProtocol(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{})
	require.NoError(t, err)
	defer s.Close()
	for _, tt := range []struct {
		target, form string
		status       int
		want         string
	}{
		{"AmazonSQS.AddPermission", "", 400, "UnknownOperationException"},
		{"AmazonSQS.SendMessage", "", 400, "MissingRequiredParameterException"},
		{"Kinesis_20131202.ListStreams", "", 400, "UnknownOperationException"},
		{"", "Action=AddPermission&Version=2012-11-05", 400, "<Code>InvalidAction</Code>"},
		{"", "Action=CreatePlatformApplication&Version=2010-03-31", 400, "<Code>InvalidAction</Code>"},
		{"", "Action=AssumeRole&Version=2011-06-15", 400, "<Code>InvalidAction</Code>"},
		{"", "Action=SendMessage&DelaySeconds=x", 400, "<Code>MalformedInput</Code>"},
		{"", "Action=CreateQueue&Attribute.1.Value=x", 400, "<Code>MalformedInput</Code>"},
		{"", "a=%zz", 400, "<Code>MalformedQueryString</Code>"},
		{"", "", 400, "<Code>MissingAction</Code>"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tt.form))
		if tt.target != "" {
			r.Header.Set("X-Amz-Target", tt.target)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Body)
		if w.Code != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("target %q, form %q: response = %d %s, want %d with %s", tt.target, tt.form, w.Code, body, tt.status, tt.want)
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, HealthPath, nil))
	if w.Code != http.StatusOK {
		t.Errorf("status of %s = %d, want 200", HealthPath, w.Code)
	}
}
