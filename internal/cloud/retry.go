package cloud

import (
	"maps"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// throttleCodes are the error codes of throttled requests: those of the SDK, and SNS's
// Throttled, which the SDK lacks. Without it the SDK would neither retry such a request
// nor wait (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html, "Errors"; type
// ThrottledException of the SDK).
var throttleCodes = func() map[string]struct{} {
	codes := maps.Clone(retry.DefaultThrottleErrorCodes)
	codes["Throttled"] = struct{}{}
	return codes
}()

var throttles = retry.ThrottleErrorCode{Codes: throttleCodes}

const (
	maxAttempts = 5 // of one request, the first included
	maxBackOff  = 2 * time.Second
)

// newRetryer returns the SDK's standard retryer with throttleCodes and backOff.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(so *retry.StandardOptions) {
		so.MaxAttempts, so.MaxBackoff = maxAttempts, maxBackOff
		so.Backoff = backOff{otherwise: retry.NewExponentialJitterBackoff(maxBackOff)}
		so.Retryables = append(so.Retryables, retry.RetryableErrorCode{Codes: throttleCodes})
	})
}

// backOff is the delay before the SDK retries a request. The SDK's own first delay is up
// to two seconds for every error. DynamoDB and SNS throttle per second and refill
// continuously: capacity is available again after tens of milliseconds.
type backOff struct{ otherwise retry.BackoffDelayer }

// BackoffDelay returns the delay before the next attempt. For a throttled request it is up
// to 50 ms after the first attempt, four times as long after each further one, and at most
// 2 s; half of it is jitter.
func (b backOff) BackoffDelay(attempt int, err error) (time.Duration, error) {
	if throttles.IsErrorThrottle(err) != aws.TrueTernary {
		return b.otherwise.BackoffDelay(attempt, err)
	}
	const first, factor = 50 * time.Millisecond, 4
	wait := first
	for n := 1; n < attempt && wait < maxBackOff; n++ {
		wait *= factor
	}
	wait = min(wait, maxBackOff)
	return wait/2 + rand.N(wait/2), nil //nolint:gosec // jitter needs no secrecy
}
