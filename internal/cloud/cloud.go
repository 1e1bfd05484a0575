// Package cloud is the wiring to AWS: one set of clients, pointed at AWS or at
// any endpoint that speaks its protocols, and the names of what they use.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
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

// Options say where AWS is.
type Options struct {
	Region   string
	Endpoint string // "" is AWS itself, with its usual credential chain
	// Logger gets the SDK's own remarks, at debug level: what matters comes
	// back as an error too.
	Logger zerolog.Logger
	// Observe is told of every request, retries included; nil if nobody
	// listens.
	Observe func(Call)
}

// Call is one request to AWS.
type Call struct {
	Service, Operation string
	Outcome            Outcome
}

// Outcome is what came of a request.
type Outcome string

// The outcomes.
const (
	Done      Outcome = "done"
	Refused   Outcome = "refused"   // AWS says no: a condition does not hold, say
	Throttled Outcome = "throttled" // too many for it
	Failed    Outcome = "failed"    // it is broken, or did not answer
)

// Validate says what is wrong with the options.
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

// Clients are made once and shared.
type Clients struct {
	DynamoDB *dynamodb.Client
	SQS      *sqs.Client
	SNS      *sns.Client
	sts      *sts.Client
	region   string
	where    string // for people
	calls    atomic.Int64
}

// New makes the clients.
func New(ctx context.Context, o Options) (*Clients, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &Clients{region: o.Region, where: "region " + o.Region}
	if o.Endpoint != "" {
		c.where += " at " + o.Endpoint
	}
	// Long polls last 20 s; nothing else takes so long, hence the 30 s below.
	load := []func(*config.LoadOptions) error{
		config.WithRegion(o.Region),
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			o.Logger.Debug().Str("from", "AWS SDK").Msgf(format, v...)
		})),
		config.WithHTTPClient(keepAlive(awshttp.NewBuildableClient().WithTimeout(30 * time.Second))),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(so *retry.StandardOptions) {
				so.MaxAttempts, so.MaxBackoff = attempts, longest
				so.Backoff = backOff{retry.NewExponentialJitterBackoff(longest)}
				so.Retryables = append(so.Retryables, retry.RetryableErrorCode{Codes: throttleCodes})
			})
		}),
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
	// Not before: AWS_CA_BUNDLE is for a client of the SDK's own type.
	sdk := cfg.HTTPClient.(*awshttp.BuildableClient) //nolint:forcetypeassert // the one above, with those certificates
	cfg.HTTPClient = whole{&http.Client{Timeout: sdk.GetTimeout(), Transport: sdk.GetTransport()}}
	c.DynamoDB = dynamodb.NewFromConfig(cfg)
	c.SQS = sqs.NewFromConfig(cfg)
	c.SNS = sns.NewFromConfig(cfg)
	c.sts = sts.NewFromConfig(cfg)
	return c, nil
}

// Calls is how many requests have been made, retries included.
func (c *Clients) Calls() int64 { return c.calls.Load() }

func (c *Clients) count(observe func(Call)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("CountCalls",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				c.calls.Add(1)
				out, meta, err := next.HandleDeserialize(ctx, in)
				if observe != nil && !errors.Is(context.Cause(ctx), context.Canceled) { // given up: a long poll at the end
					observe(Call{awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx), outcome(err)})
				}
				return out, meta, err
			}), middleware.Before) // outside of what makes an error of an answer
	}
}

// throttleCodes are those that the SDK knows, and SNS's, which it does not: it
// neither repeats such a request nor waits before it
// (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html, "Errors";
// ThrottledException in the SDK's types, whose code is Throttled).
var throttleCodes = func() map[string]struct{} {
	codes := maps.Clone(retry.DefaultThrottleErrorCodes)
	codes["Throttled"] = struct{}{}
	return codes
}()

var throttles = retry.ThrottleErrorCode{Codes: throttleCodes}

const (
	attempts = 5 // at a request
	longest  = 2 * time.Second
)

// backOff is how long the SDK waits before it repeats a request. Its own first
// wait is up to two seconds, whatever went wrong. DynamoDB and SNS throttle
// by the second and refill all the time: there is room again after some tens
// of milliseconds.
type backOff struct{ otherwise retry.BackoffDelayer }

// BackoffDelay is up to 50 ms after the first attempt that was throttled, then
// four times as long each time. The shorter half of it is left to chance.
func (b backOff) BackoffDelay(attempt int, err error) (time.Duration, error) {
	if throttles.IsErrorThrottle(err) != aws.TrueTernary {
		return b.otherwise.BackoffDelay(attempt, err)
	}
	const first, factor = 50 * time.Millisecond, 4
	wait := first
	for n := 1; n < attempt && wait < longest; n++ {
		wait *= factor
	}
	wait = min(wait, longest)
	return wait/2 + rand.N(wait/2), nil //nolint:gosec // jitter needs no secrecy
}

func outcome(err error) Outcome {
	if err == nil {
		return Done
	}
	if throttles.IsErrorThrottle(err) == aws.TrueTernary {
		return Throttled
	}
	if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorFault() != smithy.FaultServer {
		return Refused
	}
	return Failed
}
