package awslocal

import (
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Fault injects errors. It is called before each request and must be safe for
// concurrent use. If it returns an error, the request is not served and the error is
// returned to the client: an *Error unchanged, any other as InternalFailure.
// Services are sqs, sns, sts and dynamodb; operations have AWS's names.
type Fault func(service, operation string) error

// Error is an AWS error response, for a Fault to return.
type Error = wire.Error

// Throttled returns the error with which the service throttles a client. SDKs retry
// it, except that aws-sdk-go-v2 does so with SNS's code only if configured to.
func Throttled(service string) *Error {
	e := &Error{Code: "ThrottlingException", Message: "Rate exceeded"}
	switch service {
	case "dynamodb":
		e.Code = "ProvisionedThroughputExceededException"
		e.Shape = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
		e.Message = "The level of configured provisioned throughput for the table was exceeded."
	case "sqs":
		e.Status, e.Code, e.Shape = http.StatusForbidden, "RequestThrottled", "com.amazonaws.sqs#RequestThrottled"
	case "sns":
		e.Status, e.Code = http.StatusTooManyRequests, "Throttled"
	}
	return e
}

// ThrottleSome returns a Fault that throttles each request to the service with
// probability p; "" means every service. The seed makes the sequence reproducible.
func ThrottleSome(service string, p float64, seed uint64) Fault {
	hit := WithProbability(p, seed)
	return func(requested, _ string) error {
		if (service == "" || service == requested) && hit() {
			return Throttled(requested)
		}
		return nil
	}
}

// WithProbability returns a function that returns true with probability p. The seed
// makes the sequence reproducible. The function is safe for concurrent use.
func WithProbability(p float64, seed uint64) func() bool {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // fault injection needs no secure source
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.Float64() < p
	}
}
