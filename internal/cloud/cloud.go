// Package cloud creates the AWS clients, for AWS itself or for an endpoint with the same
// protocols, and finds or creates the topics and queues.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	"github.com/rs/zerolog"
)

// Options configure New. Region is required.
type Options struct {
	Region string
	// Endpoint is the URL of another endpoint, with static credentials; "" is AWS itself,
	// with the SDK's credential chain.
	Endpoint string
	// Logger receives the SDK's log at debug level: its errors are returned too.
	Logger zerolog.Logger
	// Observe is called after every request, each retry included; nil disables it. It must
	// be safe for concurrent use.
	Observe func(Call)
}

// Call is one request to AWS and its outcome.
type Call struct {
	Service, Operation string
	Outcome            Outcome
}

// Outcome classifies the result of a request. It is a metric label.
type Outcome string

// The outcomes.
const (
	Done      Outcome = "done"
	Refused   Outcome = "refused"   // a client error, such as a failed condition
	Throttled Outcome = "throttled" // too many requests
	Failed    Outcome = "failed"    // a server error, or no response
)

// Validate returns an error if the options are not usable.
func (o Options) Validate() error {
	if o.Region == "" {
		return errors.New("AWS region must be set")
	}
	if o.Endpoint == "" {
		return nil
	}
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("AWS endpoint %q must be an http or https URL, such as http://127.0.0.1:4566", o.Endpoint)
	}
	return nil
}

// Clients are the AWS clients of a process. They are safe for concurrent use.
type Clients struct {
	DynamoDB *dynamodb.Client
	SQS      *sqs.Client
	SNS      *sns.Client
	sts      *sts.Client
	region   string
	location string // region and endpoint, for error messages
	calls    atomic.Int64
}

// New creates the clients. It sends no request.
func New(ctx context.Context, o Options) (*Clients, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &Clients{region: o.Region, location: "region " + o.Region}
	if o.Endpoint != "" {
		c.location += " at " + o.Endpoint
	}
	load := []func(*config.LoadOptions) error{
		config.WithRegion(o.Region),
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			o.Logger.Debug().Str("from", "AWS SDK").Msgf(format, v...)
		})),
		config.WithHTTPClient(newHTTPClient()),
		config.WithRetryer(newRetryer),
		config.WithAPIOptions([]func(*middleware.Stack) error{c.count(o.Observe)}),
	}
	if o.Endpoint != "" {
		load = append(load, config.WithBaseEndpoint(o.Endpoint),
			config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("local", "local", "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	// Not before the configuration is loaded: the SDK adds the certificates of AWS_CA_BUNDLE
	// to its own type of client.
	sdk := cfg.HTTPClient.(*awshttp.BuildableClient) //nolint:forcetypeassert // the one above, with those certificates
	cfg.HTTPClient = bufferedClient{client: &http.Client{Timeout: sdk.GetTimeout(), Transport: sdk.GetTransport()}}
	c.DynamoDB = dynamodb.NewFromConfig(cfg)
	c.SQS = sqs.NewFromConfig(cfg)
	c.SNS = sns.NewFromConfig(cfg)
	c.sts = sts.NewFromConfig(cfg)
	return c, nil
}

// Calls returns the number of requests so far, each retry included.
func (c *Clients) Calls() int64 { return c.calls.Load() }

// count returns a middleware that counts requests and passes each to observe.
func (c *Clients) count(observe func(Call)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("CountCalls",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
				middleware.DeserializeOutput, middleware.Metadata, error,
			) {
				c.calls.Add(1)
				out, meta, err := next.HandleDeserialize(ctx, in)
				// A long poll that the shutdown cancels has no result to observe.
				if observe != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
					observe(Call{
						Service: awsmiddleware.GetServiceID(ctx), Operation: awsmiddleware.GetOperationName(ctx), Outcome: outcome(err),
					})
				}
				return out, meta, err
			}), middleware.Before) // outside the SDK's middleware that turns a response into an error
	}
}

// outcome classifies the error of a request.
func outcome(err error) Outcome {
	if err == nil {
		return Done
	}
	if throttles.IsErrorThrottle(err) == aws.TrueTernary {
		return Throttled
	}
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok && apiErr.ErrorFault() != smithy.FaultServer {
		return Refused
	}
	return Failed
}
