package sns

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// API version and XML namespace of the query protocol.
const (
	Version   = "2010-03-31"
	Namespace = "http://sns.amazonaws.com/doc/2010-03-31/"
)

// call is one request.
type call struct {
	ctx  context.Context //nolint:containedctx // a call does not outlive its request
	base string          // http://host, as the client addressed the endpoint
}

// operation is one operation of the API.
type operation func(*Service, *call, url.Values) (any, error)

// op makes an operation of its typed implementation.
func op[In, Out any](f func(*Service, *call, *In) (*Out, error)) operation {
	return func(s *Service, c *call, form url.Values) (any, error) {
		in := new(In)
		if err := wire.DecodeQuery(form, in); err != nil {
			return nil, err //nolint:wrapcheck // an AWS error
		}
		out, err := f(s, c, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

var operations = map[string]operation{
	"CreateTopic":               op((*Service).createTopic),
	"DeleteTopic":               op((*Service).deleteTopic),
	"ListTopics":                op((*Service).listTopics),
	"GetTopicAttributes":        op((*Service).getTopicAttributes),
	"SetTopicAttributes":        op((*Service).setTopicAttributes),
	"Subscribe":                 op((*Service).subscribe),
	"Unsubscribe":               op((*Service).unsubscribe),
	"ListSubscriptions":         op((*Service).listSubscriptions),
	"ListSubscriptionsByTopic":  op((*Service).listByTopic),
	"GetSubscriptionAttributes": op((*Service).getSubscriptionAttributes),
	"SetSubscriptionAttributes": op((*Service).setSubscriptionAttributes),
	"Publish":                   op((*Service).publish),
	"PublishBatch":              op((*Service).publishBatch),
	"TagResource":               op((*Service).tagResource),
	"UntagResource":             op((*Service).untagResource),
	"ListTagsForResource":       op((*Service).listTags),
}

// HasOperation reports whether the service has an operation of that name.
func HasOperation(name string) bool { _, ok := operations[name]; return ok }

// run runs an operation, and waits until everything that its result may show is durable,
// the messages that it sent to queues and a topic that it found too.
func (s *Service) run(o operation, c *call, form url.Values) (any, error) {
	if err := errors.Join(s.log.WaitForSpace(c.ctx), s.queues.WaitForSpace(c.ctx)); err != nil {
		return nil, err
	}
	out, err := o(s, c, form)
	if notDurable := errors.Join(s.log.WaitAll(c.ctx), s.queues.WaitAll(c.ctx)); notDurable != nil {
		return nil, notDurable
	}
	return out, err
}

// ServeQuery serves one query-protocol request.
func (s *Service) ServeQuery(w http.ResponseWriter, r *http.Request, requestID string, form url.Values) {
	action := form.Get("Action")
	run, ok := operations[action]
	if !ok {
		wire.WriteXMLError(w, Namespace, requestID, &wire.Error{
			Code: "InvalidAction", Message: "The local SNS endpoint has no operation " + action + ".",
		})
		return
	}
	out, err := s.run(run, &call{ctx: r.Context(), base: "http://" + r.Host}, form)
	if err != nil {
		wire.WriteXMLError(w, Namespace, requestID, err)
		return
	}
	// TagResource and UntagResource return an empty result element; the other operations
	// without output return none.
	if _, none := out.(*empty); none && action != "TagResource" && action != "UntagResource" {
		out = nil
	}
	wire.WriteXML(w, Namespace, action, requestID, out)
}
