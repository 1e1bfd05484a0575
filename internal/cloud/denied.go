package cloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
)

// Denied reports whether AWS refuses a call because the caller has no right to
// it. Trying again is of no use then.
func Denied(err error) bool {
	answer, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", // SQS and STS; DynamoDB, and SQS in JSON
		"AuthorizationError", "AuthorizationErrorException", // SNS
	}, answer.ErrorCode())
}

// Advise adds to an error of a process that starts where to look.
func Advise(err error) error {
	switch {
	case err == nil:
		return nil
	case Denied(err):
		return fmt.Errorf("%w; the roles in deploy/cloudformation have all rights that are needed", err)
	case strings.Contains(err.Error(), "get credentials"): // the SDK has no type for it
		return fmt.Errorf("%w; there are no AWS credentials: on EKS the service account's annotation eks.amazonaws.com/role-arn brings them, elsewhere AWS_PROFILE or AWS_ACCESS_KEY_ID", err)
	}
	return err
}
