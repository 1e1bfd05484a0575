package sqs

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Version and Namespace of the query protocol.
const (
	Version   = "2012-11-05"
	Namespace = "http://queue.amazonaws.com/doc/2012-11-05/"
)

// call is the context of one request.
type call struct {
	ctx  context.Context //nolint:containedctx // lives as long as the request
	base string          // http://host
}

func (s *Service) url(c *call, q *queue) string {
	return c.base + "/" + s.opt.AccountID + "/" + q.name
}

type operation struct {
	input func() any
	run   func(*Service, *call, any) (any, error)
}

func op[In, Out any](f func(*Service, *call, *In) (*Out, error)) operation {
	return operation{
		input: func() any { return new(In) },
		run: func(s *Service, c *call, in any) (any, error) {
			out, err := f(s, c, in.(*In)) //nolint:forcetypeassert // made by input
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

// ServeJSON answers one AWS JSON 1.0 request.
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
		out, err = o.run(s, &call{ctx: r.Context(), base: "http://" + r.Host}, in)
	}
	if err == nil {
		err = wire.WriteJSON(w, out)
	}
	if err != nil {
		wire.WriteJSONError(w, err)
	}
}

// ServeQuery answers one query-protocol request. The queue may be named by the
// request's path instead of by a QueueUrl parameter.
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
		out, err = o.run(s, &call{ctx: r.Context(), base: "http://" + r.Host}, in)
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
