// Command front combines three AWS endpoints into one. It forwards DynamoDB
// requests to DYNAMODB-URL, SQS requests to SQS-URL and SNS requests to SNS-URL.
// If SNS-URL differs from SQS-URL, its topics deliver to queues of the same names
// there. Then front moves the messages from those queues to SQS-URL.
//
//	front [--one-at-a-time] SNS-URL SQS-URL DYNAMODB-URL
//
// With --one-at-a-time, DynamoDB receives one request at a time.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/cloud"
)

func main() {
	serial := flag.Bool("one-at-a-time", false, "send DynamoDB one request at a time")
	flag.Parse()
	if err := run(flag.Args(), *serial); err != nil {
		log.Fatal(err)
	}
}

// front is the proxy.
type front struct {
	topics, queues, tables http.Handler
	from, to               *sqs.Client // of SNS-URL and of SQS-URL
	together               bool        // SNS-URL and SQS-URL are the same

	ctx   context.Context //nolint:containedctx // of the movers, which outlive the request that starts them
	mu    sync.Mutex
	moved map[string]bool // queues, by name, that have a mover
	wg    sync.WaitGroup  // of the movers
}

// run serves until the process receives SIGTERM or SIGINT.
func run(urls []string, serial bool) error {
	if len(urls) != 3 {
		return errors.New("usage: front [--one-at-a-time] SNS-URL SQS-URL DYNAMODB-URL")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	sns, queues, tables := urls[0], urls[1], urls[2]
	f := &front{ctx: ctx, together: sns == queues, moved: map[string]bool{}}
	var errs [5]error
	f.topics, errs[0] = proxyTo(sns)
	f.queues, errs[1] = proxyTo(queues)
	f.tables, errs[2] = proxyTo(tables)
	f.from, errs[3] = newSQS(ctx, sns)
	f.to, errs[4] = newSQS(ctx, queues)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if serial {
		inner, mu := f.tables, new(sync.Mutex)
		f.tables = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			inner.ServeHTTP(w, r)
		})
	}
	server := &http.Server{Addr: ":4566", Handler: f, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	err := server.ListenAndServe()
	f.wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// proxyTo returns a handler that forwards requests to a URL.
func proxyTo(target string) (http.Handler, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}, nil
}

// newSQS returns a client of the SQS at a URL.
func newSQS(ctx context.Context, endpoint string) (*sqs.Client, error) {
	c, err := cloud.New(ctx, cloud.Options{Region: "us-east-1", Endpoint: endpoint})
	if err != nil {
		return nil, err
	}
	return c.SQS, nil
}

// ServeHTTP forwards a request to the endpoint of its service.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(target, "DynamoDB_"):
		f.tables.ServeHTTP(w, r)
	case target == "AmazonSQS.CreateQueue" && !f.together:
		if err := f.startMover(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fallthrough
	case strings.HasPrefix(target, "AmazonSQS."):
		f.queues.ServeHTTP(w, r)
	default: // SNS uses AWS's query protocol, which has no target
		f.topics.ServeHTTP(w, r)
	}
}

// startMover creates the queue of a CreateQueue request also beside the topics, and starts to move
// its messages.
func (f *front) startMover(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in struct{ QueueName string }
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	source, err := f.from.CreateQueue(r.Context(), &sqs.CreateQueueInput{QueueName: &in.QueueName})
	if err != nil {
		return fmt.Errorf("create queue %s beside the topics: %w", in.QueueName, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.moved[in.QueueName] {
		return nil
	}
	f.moved[in.QueueName] = true
	f.wg.Go(func() {
		for f.ctx.Err() == nil {
			if err := f.moveMessages(f.ctx, in.QueueName, *source.QueueUrl); err != nil && f.ctx.Err() == nil {
				log.Printf("move messages of queue %s: %v", in.QueueName, err)
				time.Sleep(100 * time.Millisecond)
			}
		}
	})
	return nil
}

// moveMessages moves up to ten messages of a queue, and waits up to 20 s for the first. A failure
// may duplicate a message, which SQS may do too.
func (f *front) moveMessages(ctx context.Context, name, source string) error {
	got, err := f.from.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &source, MaxNumberOfMessages: 10, WaitTimeSeconds: 20, MessageAttributeNames: []string{"All"},
	})
	if err != nil || len(got.Messages) == 0 {
		return err
	}
	to, err := f.to.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return err
	}
	for _, m := range got.Messages {
		_, err := f.to.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: to.QueueUrl, MessageBody: m.Body, MessageAttributes: m.MessageAttributes,
		})
		if err != nil {
			return err
		}
		_, err = f.from.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &source, ReceiptHandle: m.ReceiptHandle})
		if err != nil {
			return err
		}
	}
	return nil
}
