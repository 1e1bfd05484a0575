package awslocal

import (
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/awslocal/sns"
	"github.com/ordersaga/ordersaga/internal/awslocal/sqs"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
	"github.com/ordersaga/ordersaga/internal/httpserve"
)

// HealthPath is the path of the health check. It returns 200 while changes can be made
// durable, else 503 with the reason: the disk is full, or a journal has failed.
const HealthPath = "/_ordersaga/health"

// Prefixes of the X-Amz-Target header, which names service and operation of an AWS
// JSON request.
const (
	targetSQS    = "AmazonSQS."
	targetDynamo = "DynamoDB_20120810."
)

// dispatch serves one request of any of the services.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == HealthPath {
		httpserve.WriteHealth(w, s.Ready())
		return
	}
	id := uuid.NewString()
	w.Header()["X-Amzn-Requestid"] = []string{id} // canonical already, so Set would do needless work
	target := r.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(target, targetSQS):
		s.json(w, r, "sqs", target[len(targetSQS):])
	case strings.HasPrefix(target, targetDynamo) && s.dynamo != nil:
		if err := s.fault("dynamodb", target[len(targetDynamo):]); err != nil {
			wire.WriteJSONError(w, err)
			return
		}
		s.dynamo.ServeHTTP(w, r)
	case target != "":
		wire.WriteJSONError(w, &wire.Error{
			Shape: "com.amazon.coral.service#UnknownOperationException", Code: "UnknownOperationException",
			Message: "The local endpoint has no operation " + target + ".",
		})
	default:
		s.query(w, r, id)
	}
}

// fault returns the injected error of an operation, if there is one.
func (s *Server) fault(service, operation string) error {
	if s.opt.Fault == nil {
		return nil
	}
	return s.opt.Fault(service, operation)
}

// json serves an AWS JSON request to SQS; DynamoDB reads its requests itself.
func (s *Server) json(w http.ResponseWriter, r *http.Request, service, operation string) {
	buf := wire.GetBuffer()
	body, err := wire.ReadBody(w, r, (*buf)[:0])
	if err == nil {
		err = s.fault(service, operation)
	}
	if err != nil {
		wire.PutBuffer(buf)
		wire.WriteJSONError(w, err)
		return
	}
	// The buffer could be returned before a long poll waits, because inputs are
	// decoded into strings of their own. The saving would be small.
	s.sqs.ServeJSON(w, r, operation, body)
	*buf = body
	wire.PutBuffer(buf)
}

// query serves a request of the query protocol. The API version identifies the
// service; without one, the action does.
func (s *Server) query(w http.ResponseWriter, r *http.Request, id string) {
	form, err := readForm(w, r)
	if err != nil {
		wire.WriteXMLError(w, sqs.Namespace, id, err)
		return
	}
	action, version := form.Get("Action"), form.Get("Version")
	service := ""
	switch {
	case version == sqs.Version, version == "" && sqs.HasOperation(action):
		service = "sqs"
	case version == sns.Version, version == "" && sns.HasOperation(action):
		service = "sns"
	case version == stsVersion, version == "" && action == "GetCallerIdentity":
		service = "sts"
	}
	if err := s.fault(service, action); err != nil {
		wire.WriteXMLError(w, sqs.Namespace, id, err)
		return
	}
	switch service {
	case "sqs":
		s.sqs.ServeQuery(w, r, id, form)
	case "sns":
		s.sns.ServeQuery(w, r, id, form)
	case "sts":
		s.serveSTS(w, id, action)
	default:
		code, message := "InvalidAction", "The action "+action+" of version "+version+" is not valid for this endpoint."
		if action == "" {
			code = "MissingAction"
			message = "The request names no Action and no X-Amz-Target: " +
				"it is none of the local endpoint's services (SQS, SNS, DynamoDB, STS)."
		}
		wire.WriteXMLError(w, sqs.Namespace, id, &wire.Error{Code: code, Message: message})
	}
}

// readForm returns the parameters of the URL and of a posted form. The form takes
// precedence.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badForm(err)
	}
	if r.Method != http.MethodPost {
		return form, nil
	}
	buf := wire.GetBuffer()
	defer wire.PutBuffer(buf)
	body, err := wire.ReadBody(w, r, (*buf)[:0])
	if err != nil {
		return nil, err //nolint:wrapcheck // an AWS error
	}
	*buf = body
	posted, err := url.ParseQuery(string(bytes.TrimSpace(body)))
	if err != nil {
		return nil, badForm(err)
	}
	maps.Copy(form, posted)
	return form, nil
}

func badForm(err error) error {
	return &wire.Error{Code: "MalformedQueryString", Message: "The request's form can't be read: " + err.Error()}
}
