package sqs

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// API version and XML namespace of the query protocol.
const (
	Version   = "2012-11-05"
	Namespace = "http://queue.amazonaws.com/doc/2012-11-05/"
)

// call is one request.
type call struct {
	ctx  context.Context //nolint:containedctx // a call does not outlive its request
	base string          // http://host, as the client addressed the endpoint
}

// url returns a queue's URL under the host name that the client used.
func (s *Service) url(c *call, q *queue) string {
	return c.base + "/" + s.opt.AccountID + "/" + q.name
}

// operation is one operation of the API.
type operation struct {
	input func() any // allocates an input
	run   func(*Service, *call, any) (any, error)
}

// op makes an operation of its typed implementation.
func op[In, Out any](f func(*Service, *call, *In) (*Out, error)) operation {
	return operation{
		input: func() any { return new(In) },
		run: func(s *Service, c *call, in any) (any, error) {
			out, err := f(s, c, in.(*In)) //nolint:forcetypeassert // input made it
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

var operations = map[string]operation{
	"CreateQueue":                  op((*Service).createQueue),
	"DeleteQueue":                  op((*Service).deleteQueue),
	"ListQueues":                   op((*Service).listQueues),
	"GetQueueUrl":                  op((*Service).getQueueURL),
	"GetQueueAttributes":           op((*Service).getAttributes),
	"SetQueueAttributes":           op((*Service).setAttributes),
	"PurgeQueue":                   op((*Service).purge),
	"TagQueue":                     op((*Service).tag),
	"UntagQueue":                   op((*Service).untag),
	"ListQueueTags":                op((*Service).listTags),
	"ListDeadLetterSourceQueues":   op((*Service).listSources),
	"SendMessage":                  op((*Service).sendMessage),
	"SendMessageBatch":             op((*Service).sendBatch),
	"ReceiveMessage":               op((*Service).receiveMessage),
	"DeleteMessage":                op((*Service).deleteMessage),
	"DeleteMessageBatch":           op((*Service).deleteBatch),
	"ChangeMessageVisibility":      op((*Service).changeVisibility),
	"ChangeMessageVisibilityBatch": op((*Service).changeBatch),
	"StartMessageMoveTask":         op((*Service).startMove),
	"CancelMessageMoveTask":        op((*Service).cancelMove),
	"ListMessageMoveTasks":         op((*Service).listMoves),
}

// HasOperation reports whether the service has an operation of that name.
func HasOperation(name string) bool { _, ok := operations[name]; return ok }

// run runs an operation, and waits until everything that its result may show is durable:
// a message that was received, or a queue that was found, too.
func (s *Service) run(r *http.Request, o operation, in any) (any, error) {
	if err := s.log.WaitForSpace(r.Context()); err != nil {
		return nil, err
	}
	out, err := o.run(s, &call{ctx: r.Context(), base: "http://" + r.Host}, in)
	if notDurable := s.log.WaitAll(r.Context()); notDurable != nil {
		return nil, notDurable
	}
	return out, err
}

// ServeJSON serves one AWS JSON 1.0 request. body may be reused when ServeJSON has
// returned.
func (s *Service) ServeJSON(w http.ResponseWriter, r *http.Request, action string, body []byte) {
	o, ok := operations[action]
	if !ok {
		wire.WriteJSONError(w, &wire.Error{
			Shape: coral + "UnknownOperationException", Code: "InvalidAction",
			Message: "The local SQS endpoint has no operation " + action + ".",
		})
		return
	}
	in := o.input()
	err := wire.DecodeJSON(body, in)
	var out any
	if err == nil {
		out, err = s.run(r, o, in)
	}
	if err == nil {
		err = wire.WriteJSON(w, out)
	}
	if err != nil {
		wire.WriteJSONError(w, err)
	}
}

// ServeQuery serves one query-protocol request. A request without QueueUrl names its
// queue by the path of its URL.
func (s *Service) ServeQuery(w http.ResponseWriter, r *http.Request, requestID string, form url.Values) {
	action := form.Get("Action")
	o, ok := operations[action]
	if !ok {
		wire.WriteXMLError(w, Namespace, requestID, &wire.Error{
			Code: "InvalidAction", Message: "The action " + action + " is not valid for this endpoint.",
		})
		return
	}
	if !form.Has("QueueUrl") && len(r.URL.Path) > 1 {
		form.Set("QueueUrl", r.URL.Path)
	}
	in := o.input()
	err := wire.DecodeQuery(form, in)
	var out any
	if err == nil {
		out, err = s.run(r, o, in)
	}
	if err != nil {
		wire.WriteXMLError(w, Namespace, requestID, err)
		return
	}
	if _, none := out.(*empty); none {
		out = nil
	}
	wire.WriteXML(w, Namespace, action, requestID, out)
}
