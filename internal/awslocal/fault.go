package awslocal

import (
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Fault is asked before each request; an error is answered instead of serving
// it. An *Error is answered as it is, anything else as InternalFailure.
// Services are named sqs, sns, sts, dynamodb; operations as in AWS's API.
type Fault func(service, operation string) error

// Error is an AWS error that a Fault may give.
type Error = wire.Error

// Throttled is the error with which the service asks a client to slow down.
// SDKs retry it, but for SNS's code, which aws-sdk-go-v2 has to be told.
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

// ThrottleSome is a Fault that throttles a share p of the requests to one
// service, or to all if service is empty. The seed makes it repeatable.
func ThrottleSome(service string, p float64, seed uint64) Fault {
	hit := Some(p, seed)
	return func(at, _ string) error {
		if (service == "" || service == at) && hit() {
			return Throttled(at)
		}
		return nil
	}
}

// Some says yes with probability p. The seed makes it repeatable.
func Some(p float64, seed uint64) func() bool {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a test's dice
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.Float64() < p
	}
}
