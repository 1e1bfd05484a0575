// Command front makes one AWS of three that each do a part: tables are at
// DYNAMODB-URL, queues in ElasticMQ, and topics, which that has not, in our own
// endpoint. That one delivers into queues of its own, by the same names, out of
// which front carries the messages over.
//
//	front [--one-at-a-time] SNS-URL SQS-URL DYNAMODB-URL
//
// With --one-at-a-time DynamoDB gets its next request when it has answered the
// last.
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
	serial := flag.Bool("one-at-a-time", false, "for DynamoDB")
	flag.Parse()
	if err := run(flag.Args(), *serial); err != nil {
		log.Fatal(err)
	}
}

type front struct {
	topics, queues, tables http.Handler
	from, to               *sqs.Client
	together               bool // topics and queues are one service's

	ctx     context.Context //nolint:containedctx // of the carriers, which outlive the request that starts them
	mu      sync.Mutex
	carried map[string]bool // queues by name
	wg      sync.WaitGroup
}

func run(urls []string, serial bool) error {
	if len(urls) != 3 {
		return errors.New("front [--one-at-a-time] SNS-URL SQS-URL DYNAMODB-URL")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	sns, queues, tables := urls[0], urls[1], urls[2]
	f := &front{ctx: ctx, together: sns == queues, carried: map[string]bool{}}
	for to, at := range map[*http.Handler]string{&f.topics: sns, &f.queues: queues, &f.tables: tables} {
		u, err := url.Parse(at)
		if err != nil {
			return err
		}
		*to = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	}
	for to, at := range map[**sqs.Client]string{&f.from: sns, &f.to: queues} {
		c, err := cloud.New(ctx, cloud.Options{Region: "us-east-1", Endpoint: at})
		if err != nil {
			return err
		}
		*to = c.SQS
	}
	if inner, mu := f.tables, new(sync.Mutex); serial {
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

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(target, "DynamoDB_"):
		f.tables.ServeHTTP(w, r)
	case target == "AmazonSQS.CreateQueue" && !f.together:
		if err := f.carry(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fallthrough
	case strings.HasPrefix(target, "AmazonSQS."):
		f.queues.ServeHTTP(w, r)
	default: // SNS speaks AWS's older protocol, without a target
		f.topics.ServeHTTP(w, r)
	}
}

// carry makes the queue also where topics deliver, and starts to empty it.
func (f *front) carry(r *http.Request) error {
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
	if f.carried[in.QueueName] {
		return nil
	}
	f.carried[in.QueueName] = true
	f.wg.Go(func() {
		for f.ctx.Err() == nil {
			if err := f.carryOne(f.ctx, in.QueueName, *source.QueueUrl); err != nil && f.ctx.Err() == nil {
				log.Printf("carry %s: %v", in.QueueName, err)
				time.Sleep(100 * time.Millisecond)
			}
		}
	})
	return nil
}

func (f *front) carryOne(ctx context.Context, name, source string) error {
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
		if _, err := f.to.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: to.QueueUrl, MessageBody: m.Body, MessageAttributes: m.MessageAttributes}); err != nil {
			return err
		}
		if _, err := f.from.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &source, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return err
		}
	}
	return nil
}
