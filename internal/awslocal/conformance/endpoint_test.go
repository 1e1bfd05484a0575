// Package conformance holds tests that any endpoint claiming to be SQS, SNS,
// STS or DynamoDB should pass. They know nothing but aws-sdk-go-v2 and the aws
// command. ORDERSAGA_AWS_ENDPOINT points them at another endpoint; without it
// they start the local one.
package conformance

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/awslocal"
)

// endpointEnv names the endpoint to test instead of the local one.
const endpointEnv = "ORDERSAGA_AWS_ENDPOINT"

var stopLocal = func() error { return nil }

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := stopLocal(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}),
		// The SDK's default HTTP client keeps connections that nobody can close.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		// The local server runs until the last test; Cleanup stops it.
		goleak.IgnoreAnyFunction("github.com/ordersaga/ordersaga/internal/awslocal.(*Server).Serve"),
		goleak.IgnoreAnyFunction("github.com/ordersaga/ordersaga/internal/awslocal/dynamodb.(*Service).sweep"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("github.com/ordersaga/ordersaga/internal/journal.(*Journal).write"),
	)
}

var local = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "awslocal-conformance-")
	if err != nil {
		return "", err
	}
	s, err := awslocal.Open(awslocal.Options{Dir: dir, Logger: zerolog.New(os.Stderr)})
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stopLocal = func() error {
		cancel()
		if err := <-done; err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		return os.RemoveAll(dir)
	}
	return "http://" + l.Addr().String(), nil
})

// endpoint is the URL under test.
func endpoint(t testing.TB) string {
	t.Helper()
	if e := os.Getenv(endpointEnv); e != "" {
		return e
	}
	e, err := local()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// awsConfig is a client configuration for the endpoint under test.
func awsConfig(t testing.TB) aws.Config {
	t.Helper()
	return aws.Config{
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		BaseEndpoint: aws.String(endpoint(t)),
	}
}

// unique makes a resource name that no other test, now or before, has used.
func unique(t testing.TB) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return name[:min(len(name), 60)] + "-" + uuid.NewString()[:8]
}
