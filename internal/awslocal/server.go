package awslocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb"
	"github.com/ordersaga/ordersaga/internal/awslocal/sns"
	"github.com/ordersaga/ordersaga/internal/awslocal/sqs"
	"github.com/ordersaga/ordersaga/internal/httpserve"
)

// Options of a Server. The zero value is usable: nothing is kept.
type Options struct {
	Dir       string // data directory, one folder per service; "" keeps nothing
	Region    string // default us-east-1
	AccountID string // default 000000000000
	Logger    zerolog.Logger
	Fault     Fault // optional, for tests
	// Conflict is asked before each DynamoDB transaction; true cancels it with
	// TransactionConflict. Optional, for tests.
	Conflict func() bool
	// CompactAfter is how many bytes of journal make a service compact; 0 is
	// the journal's default.
	CompactAfter int64
}

// Server is the endpoint.
type Server struct {
	opt    Options
	sqs    *sqs.Service
	sns    *sns.Service
	dynamo *dynamodb.Service

	closing sync.Once
	closed  error
}

// Open starts the services from what Dir holds.
func Open(o Options) (_ *Server, err error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.AccountID == "" {
		o.AccountID = "000000000000"
	}
	dir := func(service string) string {
		if o.Dir == "" {
			return ""
		}
		return filepath.Join(o.Dir, service)
	}
	s := &Server{opt: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	s.sqs, err = sqs.Open(dir("sqs"), sqs.Options{Region: o.Region, AccountID: o.AccountID, Logger: o.Logger, CompactAfter: o.CompactAfter})
	if err != nil {
		return nil, fmt.Errorf("local aws: %w", err)
	}
	s.sns, err = sns.Open(dir("sns"), s.sqs, sns.Options{Region: o.Region, AccountID: o.AccountID, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("local aws: %w", err)
	}
	s.dynamo, err = dynamodb.Open(dir("dynamodb"), dynamodb.Options{
		Region: o.Region, AccountID: o.AccountID, Logger: o.Logger, CompactAfter: o.CompactAfter, Fault: o.dynamoFault,
	})
	if err != nil {
		return nil, fmt.Errorf("local aws: %w", err)
	}
	return s, nil
}

func (o Options) dynamoFault(operation string, _ []string) error {
	if o.Conflict != nil && strings.HasPrefix(operation, "Transact") && o.Conflict() {
		return dynamodb.Conflict()
	}
	return nil
}

// Handler serves the endpoint; it is for in-process use, or for a server of
// the caller's. Serve is the usual way.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.dispatch) }

// Serve answers requests on l until ctx ends; then long polls return what they
// have, requests under way finish, and Serve returns nil. It closes l, but not
// the Server.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, s.sqs.Drain)
	defer stop()
	if err := httpserve.Run(ctx, l, s.Handler()); err != nil {
		return fmt.Errorf("local aws: %w", err)
	}
	return nil
}

// Close stops the services and closes their journals. A second call answers
// as the first.
func (s *Server) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.sns != nil {
			errs = append(errs, s.sns.Close())
		}
		if s.sqs != nil {
			errs = append(errs, s.sqs.Close())
		}
		if s.dynamo != nil {
			errs = append(errs, s.dynamo.Close())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}
