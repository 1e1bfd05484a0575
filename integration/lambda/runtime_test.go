// Package lambda runs the compiled functions as AWS Lambda does: fed through
// the Runtime API by an SQS event source.
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

var binaries string // folder of the compiled functions

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ordersaga-lambda-")
	if err == nil {
		binaries = dir
		for _, name := range []string{"stock-lambda", "intake-lambda"} {
			err = errors.Join(err, build(name))
		}
	}
	status := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else if status = m.Run(); status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// build compiles a function as `make lambda` does.
func build(name string) error {
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(binaries, name), "../../cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=") // not -race, not -cover
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

// function is a Lambda function with one execution environment at a time, which
// is started when an event is there and none runs. It serves the Runtime API:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
type function struct {
	t       testing.TB
	name    string
	env     []string
	timeout time.Duration
	api     *httptest.Server

	invoking sync.Mutex // one event at a time, as in one environment
	next     chan invocation
	answers  chan answer

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	starts int
	log    logged
}

// logged is what the process writes while it runs.
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

type invocation struct {
	id    string
	event []byte
	ends  time.Time
}

type answer struct {
	id   string
	ok   bool
	body []byte
}

func newFunction(t testing.TB, name, endpoint string, timeout time.Duration, env ...string) *function {
	f := &function{t: t, name: name, timeout: timeout, next: make(chan invocation), answers: make(chan answer, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case i := <-f.next:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", i.id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.ends.UnixMilli(), 10))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:"+name)
			_, _ = w.Write(i.event)
		case <-r.Context().Done():
		}
	})
	settle := func(ok bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			f.answers <- answer{r.PathValue("id"), ok, body}
			w.WriteHeader(http.StatusAccepted)
		}
	}
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", settle(true))
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", settle(false))
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

// start begins an environment, unless one runs.
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

// started is how many environments there were.
func (f *function) started() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts
}

// kill is what becomes of a function that crashes, or runs out of memory or time.
func (f *function) kill() {
	f.mu.Lock()
	cmd, exited := f.cmd, f.exited
	f.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-exited
	}
}

// invoke gives the function an event and returns its answer.
func (f *function) invoke(event []byte) ([]byte, error) {
	f.invoking.Lock()
	defer f.invoking.Unlock()
	exited, err := f.start()
	if err != nil {
		return nil, err
	}
	i := invocation{strconv.FormatInt(time.Now().UnixNano(), 36), event, time.Now().Add(f.timeout)}
	late := time.NewTimer(f.timeout)
	defer late.Stop()
	next := f.next
	for {
		select {
		case next <- i:
			next = nil
		case a := <-f.answers:
			if a.id != i.id {
				continue // of one that was killed just then
			}
			if !a.ok {
				return nil, fmt.Errorf("function failed: %s", a.body)
			}
			return a.body, nil
		case <-exited:
			return nil, errors.New("function exited")
		case <-late.C:
			f.kill()
			return nil, errors.New("function timed out")
		}
	}
}

// source is an SQS event source with FunctionResponseTypes:
// ReportBatchItemFailures. See
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
type source struct {
	clients *cloud.Clients
	queue   string // URL
	f       *function

	mu      sync.Mutex
	seen    map[string]int // deliveries by body
	partial int            // batches of which some messages failed and some did not
	broken  int            // invocations without an answer
}

// run polls until ctx ends.
func (s *source) run(ctx context.Context) error {
	for ctx.Err() == nil {
		out, err := s.clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &s.queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}, MessageAttributeNames: []string{"All"},
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
			MessageId: *m.MessageId, ReceiptHandle: *m.ReceiptHandle, Body: *m.Body, Md5OfBody: *m.MD5OfBody, Attributes: m.Attributes, MessageAttributes: attributes,
			EventSource: "aws:sqs", EventSourceARN: "arn:aws:sqs:us-east-1:000000000000:" + s.queue[strings.LastIndex(s.queue, "/")+1:], AWSRegion: "us-east-1",
		})
	}
	s.mu.Unlock()
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	answered, err := s.f.invoke(body)
	var answer awsevents.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(answered, &answer)
	}
	failed := map[string]bool{}
	for _, f := range answer.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // all come again
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
		if _, err := s.clients.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &s.queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%s answers failures of messages that it did not get: %v", s.f.name, failed)
	}
	return nil
}

// depth is how many messages a queue has, seen or hidden.
func depth(ctx context.Context, c *cloud.Clients, url string) (int, error) {
	out, err := c.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		return 0, err
	}
	visible, err1 := strconv.Atoi(out.Attributes["ApproximateNumberOfMessages"])
	hidden, err2 := strconv.Atoi(out.Attributes["ApproximateNumberOfMessagesNotVisible"])
	return visible + hidden, errors.Join(err1, err2)
}

// queue makes a queue with dead letters, whose failures come again at once.
func queue(t testing.TB, c *cloud.Clients, name string, receives int) (url, dlq string) {
	t.Helper()
	d, err := c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(name + "-dlq")})
	require.NoError(t, err)
	q, err := c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
		"VisibilityTimeout": "3",
		"RedrivePolicy":     fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:%s-dlq","maxReceiveCount":"%d"}`, name, receives),
	}})
	require.NoError(t, err)
	return *q.QueueUrl, *d.QueueUrl
}

// background runs f until the end of the test.
func background(t testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
