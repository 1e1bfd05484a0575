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
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb"
	"github.com/ordersaga/ordersaga/internal/awslocal/sns"
	"github.com/ordersaga/ordersaga/internal/awslocal/sqs"
	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// Options configures a Server. The zero value is usable and keeps all state in
// memory.
type Options struct {
	Dir       string         // data directory, one subdirectory per service; "" keeps state in memory only
	Region    string         // default us-east-1
	AccountID string         // default 000000000000
	Logger    zerolog.Logger // the zero value writes nothing
	FS        journal.FS     // as in journal.Options
	Fault     Fault          // injects errors, for tests; nil disables it
	// Conflict is called before each DynamoDB transaction; if it returns true, the
	// transaction is cancelled with TransactionConflict. It must be safe for
	// concurrent use. For tests; nil disables it.
	Conflict func() bool
	// CompactAfter is the number of journal bytes after which a service compacts its
	// journal; 0 means the journal's default.
	CompactAfter int64
}

// Server is a local AWS endpoint. Its methods are safe for concurrent use.
type Server struct {
	opt    Options
	sqs    *sqs.Service
	sns    *sns.Service
	dynamo *dynamodb.Service

	closing  sync.Once
	closeErr error // the result of Close
}

// Open starts the services with the state in Options.Dir. The caller must Close the
// Server.
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
	s.sqs, err = sqs.Open(dir("sqs"), sqs.Options{
		Region: o.Region, AccountID: o.AccountID, Logger: o.Logger, CompactAfter: o.CompactAfter, FS: o.FS,
	})
	if err != nil {
		return nil, fmt.Errorf("local AWS endpoint: %w", err)
	}
	s.sns, err = sns.Open(dir("sns"), s.sqs, sns.Options{Region: o.Region, AccountID: o.AccountID, Logger: o.Logger, FS: o.FS})
	if err != nil {
		return nil, fmt.Errorf("local AWS endpoint: %w", err)
	}
	s.dynamo, err = dynamodb.Open(dir("dynamodb"), dynamodb.Options{
		Region: o.Region, AccountID: o.AccountID, Logger: o.Logger, CompactAfter: o.CompactAfter, FS: o.FS, Fault: o.dynamoFault,
	})
	if err != nil {
		return nil, fmt.Errorf("local AWS endpoint: %w", err)
	}
	return s, nil
}

func (o Options) dynamoFault(operation string, _ []string) error {
	if o.Conflict != nil && strings.HasPrefix(operation, "Transact") && o.Conflict() {
		return dynamodb.Conflict()
	}
	return nil
}

// Handler returns the endpoint as an HTTP handler, for use in process or in the
// caller's own HTTP server. Serve is the usual way to run the endpoint.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.dispatch) }

// Ready returns why no change can be made durable at the moment, or nil.
func (s *Server) Ready() error { return errors.Join(s.sqs.Ready(), s.sns.Ready(), s.dynamo.Ready()) }

// Serve serves requests on l until ctx ends. Long polls then return what they have,
// requests in progress finish, and Serve returns nil. When a journal has failed, Serve ends
// too and returns an error; Close returns the cause. It closes l, but not the Server.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g, gctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(gctx, s.sqs.Drain)
	defer stop()
	g.Go(func() error { return s.watch(gctx) })
	g.Go(func() error { return httpserve.Run(gctx, l, s.Handler()) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("local AWS endpoint: %w", err)
	}
	return nil
}

// watch waits until ctx ends, or returns an error once a journal has failed.
func (s *Server) watch(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, watch := range []func(context.Context) error{s.sqs.Watch, s.sns.Watch, s.dynamo.Watch} {
		g.Go(func() error { return watch(ctx) })
	}
	return g.Wait()
}

// Close stops the services and closes their journals. Further calls return the
// result of the first.
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
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}
