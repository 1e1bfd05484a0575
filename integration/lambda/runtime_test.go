// Package lambda runs the compiled functions as AWS Lambda does: through the Runtime API, with
// events of an SQS event source.
package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

var binaries string // directory of the compiled functions

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ordersaga-lambda-")
	if err == nil {
		binaries = dir
		for _, name := range []string{"stock-lambda", "intake-lambda"} {
			err = errors.Join(err, build(name))
		}
	}
	status := 1
	if err == nil {
		status = m.Run()
	}
	if err == nil && status == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// build compiles a function as `make lambda` does.
func build(name string) error {
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w",
		"-o", filepath.Join(binaries, name), "../../cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=") // without -race and -cover
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

// function is a Lambda function with at most one execution environment, which is started when
// an event arrives and none runs. It serves the Runtime API; see
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
type function struct {
	t       testing.TB
	name    string
	env     []string
	timeout time.Duration
	api     *httptest.Server

	invoking sync.Mutex // held during an invocation, because an environment processes one event at a time
	next     chan invocation
	results  chan result

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	starts int
	log    logged
}

// logged collects the output of a process. It is safe for concurrent use.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// invocation is an event for the function.
type invocation struct {
	id       string
	event    []byte
	deadline time.Time
}

// result is the function's response or error.
type result struct {
	id   string
	ok   bool
	body []byte
}

// newFunction returns a function that is killed at the end of the test.
func newFunction(t testing.TB, name, endpoint string, timeout time.Duration, env ...string) *function {
	f := &function{t: t, name: name, timeout: timeout, next: make(chan invocation), results: make(chan result, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case i := <-f.next:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", i.id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.deadline.UnixMilli(), 10))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:"+name)
			_, _ = w.Write(i.event)
		case <-r.Context().Done():
		}
	})
	complete := func(ok bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			f.results <- result{id: r.PathValue("id"), ok: ok, body: body}
			w.WriteHeader(http.StatusAccepted)
		}
	}
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", complete(true))
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", complete(false))
	f.api = httptest.NewServer(mux)
	f.env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(f.api.URL, "http://"), "AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=role", "AWS_SECRET_ACCESS_KEY=role", "AWS_EC2_METADATA_DISABLED=true",
	}, env...)
	t.Cleanup(func() {
		f.kill()
		f.api.Close()
		if t.Failed() {
			t.Logf("--- %s\n%s", name, f.log.String())
		}
	})
	return f
}

// start starts an environment, unless one runs.
func (f *function) start() (exited chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cmd != nil {
		return f.exited, nil
	}
	cmd := exec.Command(filepath.Join(binaries, f.name))
	cmd.Env, cmd.Stdout, cmd.Stderr = f.env, &f.log, &f.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited = make(chan struct{})
	f.cmd, f.exited = cmd, exited
	f.starts++
	go func() {
		_ = cmd.Wait()
		f.mu.Lock()
		f.cmd = nil
		f.mu.Unlock()
		close(exited)
	}()
	return exited, nil
}

// started returns how many environments have been started.
func (f *function) started() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts
}

// kill kills the environment, as a crash, an exhausted memory or a timeout does.
func (f *function) kill() {
	f.mu.Lock()
	cmd, exited := f.cmd, f.exited
	f.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill() // fails only if the process has exited
		<-exited
	}
}

// invoke sends the function an event and returns its response.
func (f *function) invoke(event []byte) ([]byte, error) {
	f.invoking.Lock()
	defer f.invoking.Unlock()
	exited, err := f.start()
	if err != nil {
		return nil, err
	}
	i := invocation{id: strconv.FormatInt(time.Now().UnixNano(), 36), event: event, deadline: time.Now().Add(f.timeout)}
	timeout := time.NewTimer(f.timeout)
	defer timeout.Stop()
	next := f.next
	for {
		select {
		case next <- i:
			next = nil
		case a := <-f.results:
			if a.id != i.id {
				continue // of an environment that has just been killed
			}
			if !a.ok {
				return nil, fmt.Errorf("function failed: %s", a.body)
			}
			return a.body, nil
		case <-exited:
			return nil, errors.New("function exited")
		case <-timeout.C:
			f.kill()
			return nil, errors.New("function timed out")
		}
	}
}

// source is an SQS event source with the function response type ReportBatchItemFailures; see
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
type source struct {
	clients *cloud.Clients
	queue   string // URL
	f       *function

	mu      sync.Mutex
	seen    map[string]int // deliveries by body
	partial int            // batches in which only some messages failed
	broken  int            // invocations without a response
}

// run polls until ctx ends.
func (s *source) run(ctx context.Context) error {
	for ctx.Err() == nil {
		out, err := s.clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &s.queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			MessageAttributeNames:       []string{"All"},
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && len(out.Messages) > 0 {
			if err := s.batch(ctx, out.Messages); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

// batch invokes the function with messages, and deletes those that it has processed.
func (s *source) batch(ctx context.Context, messages []types.Message) error {
	var event awsevents.SQSEvent
	s.mu.Lock()
	for _, m := range messages {
		s.seen[*m.Body]++
		attributes := map[string]awsevents.SQSMessageAttribute{}
		for name, a := range m.MessageAttributes {
			attributes[name] = awsevents.SQSMessageAttribute{DataType: *a.DataType, StringValue: a.StringValue, BinaryValue: a.BinaryValue}
		}
		event.Records = append(event.Records, awsevents.SQSMessage{
			MessageId: *m.MessageId, ReceiptHandle: *m.ReceiptHandle, Body: *m.Body, Md5OfBody: *m.MD5OfBody,
			Attributes: m.Attributes, MessageAttributes: attributes, EventSource: "aws:sqs", AWSRegion: "us-east-1",
			EventSourceARN: "arn:aws:sqs:us-east-1:000000000000:" + s.queue[strings.LastIndex(s.queue, "/")+1:],
		})
	}
	s.mu.Unlock()
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	raw, err := s.f.invoke(body)
	var response awsevents.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(raw, &response)
	}
	failed := map[string]bool{}
	for _, f := range response.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // all messages are delivered again
		s.broken++
		return nil
	}
	if len(failed) > 0 && len(failed) < len(messages) {
		s.partial++
	}
	for _, m := range messages {
		if failed[*m.MessageId] {
			delete(failed, *m.MessageId)
			continue
		}
		in := &sqs.DeleteMessageInput{QueueUrl: &s.queue, ReceiptHandle: m.ReceiptHandle}
		if _, err := s.clients.SQS.DeleteMessage(ctx, in); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%s reports failures of messages that were not in the batch: %v", s.f.name, failed)
	}
	return nil
}

// depth returns the number of messages in a queue, visible or in flight.
func depth(ctx context.Context, c *cloud.Clients, url string) (int, error) {
	out, err := c.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return 0, err
	}
	visible, err1 := strconv.Atoi(out.Attributes["ApproximateNumberOfMessages"])
	hidden, err2 := strconv.Atoi(out.Attributes["ApproximateNumberOfMessagesNotVisible"])
	return visible + hidden, errors.Join(err1, err2)
}

// queue creates a queue with a dead-letter queue, and a visibility timeout of only 3 s.
func queue(t testing.TB, c *cloud.Clients, name string, receives int) (url, dlq string) {
	t.Helper()
	d, err := c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(name + "-dlq")})
	require.NoError(t, err)
	q, err := c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
		"VisibilityTimeout": "3", "RedrivePolicy": redrivePolicy(name+"-dlq", receives),
	}})
	require.NoError(t, err)
	return *q.QueueUrl, *d.QueueUrl
}

// redrivePolicy returns a policy that dead-letters a message after so many receives.
func redrivePolicy(dlq string, receives int) string {
	return fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:%s","maxReceiveCount":"%d"}`, dlq, receives)
}

// background runs f until the end of the test.
func background(t testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("background goroutine failed: %v", err)
		}
	})
}
