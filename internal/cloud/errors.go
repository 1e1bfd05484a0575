package cloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
)

// IsAccessDenied reports whether AWS rejected a request because the caller has no
// permission. A retry does not help then.
func IsAccessDenied(err error) bool {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", // SQS and STS; DynamoDB, and SQS in JSON
		"AuthorizationError", "AuthorizationErrorException", // SNS
	}, apiErr.ErrorCode())
}

// WithHint adds to an error of a starting process how to fix the cause, if the error is
// about permissions or credentials. It returns nil for nil.
func WithHint(err error) error {
	if IsAccessDenied(err) {
		return fmt.Errorf("%w; the roles in deploy/cloudformation grant all permissions that are needed", err)
	}
	return WithCredentialsHint(err)
}

// WithCredentialsHint adds to an error of a process without AWS credentials how to provide
// them. It returns nil for nil.
func WithCredentialsHint(err error) error {
	if err == nil || !strings.Contains(err.Error(), "get credentials") { // the SDK has no error type for it
		return err
	}
	return fmt.Errorf("%w; no AWS credentials were found: on EKS, set the annotation eks.amazonaws.com/role-arn "+
		"of the service account; elsewhere, AWS_PROFILE or AWS_ACCESS_KEY_ID; "+
		"with `ordersaga dev`, --aws-endpoint http://127.0.0.1:4566", err)
}
