package dynamodb

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/expr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

const namespace = "com.amazonaws.dynamodb.v20120810#"

// awsError returns an error of DynamoDB's own namespace.
func awsError(code, format string, args ...any) *wire.Error {
	return &wire.Error{Code: code, Shape: namespace + code, Message: fmt.Sprintf(format, args...)}
}

// validation returns a ValidationException.
func validation(format string, args ...any) *wire.Error {
	e := awsError("ValidationException", format, args...)
	e.Shape = "com.amazon.coral.validate#ValidationException"
	return e
}

func notFound(table string) *wire.Error {
	return awsError("ResourceNotFoundException", "Requested resource not found: Table: %s not found", table)
}

// conditionFailedError is a ConditionalCheckFailedException. item is the item that did not meet the
// condition, if the request wants it returned.
type conditionFailedError struct{ item attr.Item }

func (*conditionFailedError) Error() string { return "The conditional request failed" }

// cancelledError is a TransactionCanceledException with the reason for each action.
type cancelledError struct{ reasons []reason }

// reason is one of a transaction's CancellationReasons.
type reason struct {
	code, message string
	item          attr.Item
}

func (c *cancelledError) Error() string {
	codes := make([]string, len(c.reasons))
	for i, r := range c.reasons {
		codes[i] = r.code
	}
	return "Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]"
}

// Conflict returns the error with which Options.Fault cancels a transaction, as AWS does while
// another one uses one of its items.
func Conflict() error {
	return awsError("TransactionConflictException", "Transaction is ongoing for the item")
}

// asAWS converts a *attr.ValidationError into a ValidationException. Other errors stay.
func asAWS(err error) error {
	if v, ok := errors.AsType[*attr.ValidationError](err); ok {
		return validation("%s", v.Message)
	}
	return err
}

// inExpression adds the kind of expression to a syntax error.
func inExpression(kind string, err error) error {
	if s, ok := errors.AsType[*expr.SyntaxError](err); ok {
		return validation("Invalid %s: %s", kind, s.Message)
	}
	return err
}

// writeError writes err as an error response.
func writeError(w http.ResponseWriter, err error) {
	err = asAWS(err)
	if f, ok := errors.AsType[*conditionFailedError](err); ok {
		b := []byte(`{"__type":"` + namespace + `ConditionalCheckFailedException","message":"The conditional request failed"`)
		if f.item != nil {
			b = append(b, `,"Item":`...)
			b = f.item.AppendJSON(b, wire.AppendString)
		}
		writeBody(w, http.StatusBadRequest, append(b, '}'))
		return
	}
	if c, ok := errors.AsType[*cancelledError](err); ok {
		b := []byte(`{"__type":"` + namespace + `TransactionCanceledException","Message":`)
		b = wire.AppendString(b, c.Error())
		b = append(b, `,"CancellationReasons":[`...)
		for i, r := range c.reasons {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"Code":`...)
			b = wire.AppendString(b, r.code)
			if r.message != "" {
				b = append(b, `,"Message":`...)
				b = wire.AppendString(b, r.message)
			}
			if r.item != nil {
				b = append(b, `,"Item":`...)
				b = r.item.AppendJSON(b, wire.AppendString)
			}
			b = append(b, '}')
		}
		writeBody(w, http.StatusBadRequest, append(b, "]}"...))
		return
	}
	wire.WriteJSONError(w, err)
}
