package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// AWS is a proxy in front of an AWS endpoint. Like AWS, it never reports success for a request
// that had no effect. But requests and responses get lost, a request may fail after it had its
// effect, and SQS delivers messages twice and in any order.
type AWS struct {
	World *World
	Truth http.Handler
	// Hold is called before each request is forwarded. If it returns true, the request waits
	// until the client has disconnected, or for a moment. nil disables it.
	Hold func(operation string, orders []string) bool

	mu   sync.Mutex
	seen map[string][]json.RawMessage // messages delivered before, by queue
}

// ServeHTTP forwards a request to Truth, with a lie or without.
func (p *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has disconnected
	}
	service, operation := asked(r, body)
	text := string(body)
	if form, err := url.QueryUnescape(text); err == nil && service == "sns" {
		text = form
	}
	orders := OrdersIn(text)
	if p.Hold != nil && p.Hold(operation, orders) {
		hang(r, 300*time.Millisecond)
	}
	e := Exchange{With: "aws", Orders: orders, Asked: operation + " " + text}
	dice, lie := p.World.turn(p.World.AWS, "aws", operation, orders)
	switch {
	case r.Context().Err() != nil:
		return
	case service == "sns" && p.World.snsIsDown():
		e.Said, e.Truth = "503", "SNS is down for a moment"
		p.World.Note(e)
		failure(service, dice, "InternalError", 503).send(w)
		return
	case !lie:
		a := ask(p.Truth, r, p.hurried(operation, body))
		p.deliver(operation, body, a)
		e.Orders, e.Said = OrdersIn(text+a.body.String()), fmt.Sprint(a.status, " ", a.body.String())
		if len(e.Orders) > 0 {
			p.World.Note(e)
		}
		a.send(w)
		return
	}
	p.lie(w, r, dice, service, operation, p.hurried(operation, body), e)
}

// hurried shortens the back-off of messages: the test has no hour.
func (p *AWS) hurried(operation string, body []byte) []byte {
	if operation != "ChangeMessageVisibility" {
		return body
	}
	in := fields{}
	if json.Unmarshal(body, &in) == nil {
		if seconds, ok := in["VisibilityTimeout"].(float64); ok && seconds > 1 {
			return []byte(in.with("VisibilityTimeout", 1))
		}
	}
	return body
}

func (p *AWS) lie(w http.ResponseWriter, r *http.Request, dice *rand.Rand, service, operation string, body []byte, e Exchange) {
	tell := func(a *answer, truth string) {
		e.Said, e.Truth = fmt.Sprint(a.status, " ", a.body.String()), truth
		p.World.Note(e)
		a.send(w)
	}
	if operation == "ReceiveMessage" {
		a := ask(p.Truth, r, body)
		if dice.IntN(3) == 0 {
			e.Said, e.Truth = "(connection cut)", "received: "+a.body.String()
			e.Orders = OrdersIn(a.body.String())
			p.World.Note(e)
			p.putBack(body, a)
			panic(http.ErrAbortHandler)
		}
		what := p.disorder(dice, body, a)
		e.Orders = OrdersIn(a.body.String())
		tell(a, what)
		return
	}
	switch kind := dice.IntN(9); {
	case kind == 0:
		e.Said, e.Truth = "(connection cut)", "not done"
		p.World.Note(e)
		panic(http.ErrAbortHandler)
	case kind == 1:
		tell(failure(service, dice, "InternalFailure", 500), "not done")
	case kind == 2:
		tell(throttled(service), "not done")
	case kind == 3 && strings.HasPrefix(operation, "Transact"):
		tell(conflict(body), "not done")
	case kind == 4 && service == "sns":
		ask(p.Truth, r, body)
		tell(ask(p.Truth, r, body), "done twice")
	case kind <= 5:
		a := ask(p.Truth, r, body)
		e.Said, e.Truth = "(connection cut)", fmt.Sprint("done: ", a.status, " ", a.body.String())
		p.World.Note(e)
		panic(http.ErrAbortHandler)
	case kind == 6:
		a := ask(p.Truth, r, body)
		tell(failure(service, dice, "InternalFailure", 500), fmt.Sprint("done: ", a.status, " ", a.body.String()))
	case kind == 7:
		a := ask(p.Truth, r, body)
		e.Said, e.Truth = "(cut in the middle)", fmt.Sprint("done: ", a.status, " ", a.body.String())
		p.World.Note(e)
		a.cutOff(w, dice)
	default:
		a := ask(p.Truth, r, body)
		truth := fmt.Sprint("done: ", a.status, " ", a.body.String())
		if a.status == http.StatusOK && a.body.Len() > 0 {
			a.body.Truncate(dice.IntN(a.body.Len()))
			a.header.Del("X-Amz-Crc32")
			a.header.Del("Content-Length")
		}
		tell(a, truth)
	}
}

// deliver remembers what a queue has delivered, for a second time.
func (p *AWS) deliver(operation string, body []byte, a *answer) {
	if operation != "ReceiveMessage" || a.status != http.StatusOK {
		return
	}
	queue, messages := received(body, a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string][]json.RawMessage{}
	}
	p.seen[queue] = append(p.seen[queue], messages...)
}

func received(body []byte, a *answer) (queue string, messages []json.RawMessage) {
	var in struct {
		QueueURL string `json:"QueueUrl"`
	}
	var out struct{ Messages []json.RawMessage }
	_, _ = json.Unmarshal(body, &in), json.Unmarshal(a.body.Bytes(), &out) // what is neither has none
	return in.QueueURL, out.Messages
}

// disorder shuffles a delivery and adds messages that were delivered before.
func (p *AWS) disorder(dice *rand.Rand, body []byte, a *answer) string {
	if a.status != http.StatusOK {
		return "nothing"
	}
	var in struct{ MaxNumberOfMessages int }
	_ = json.Unmarshal(body, &in) // one, then
	queue, messages := received(body, a)
	p.mu.Lock()
	before := slices.Clone(p.seen[queue])
	p.mu.Unlock()
	p.deliver("ReceiveMessage", body, a)
	again := 0
	for len(messages) < in.MaxNumberOfMessages && len(before) > 0 && again < 3 {
		messages = append(messages, before[dice.IntN(len(before))])
		again++
	}
	dice.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
	b, err := json.Marshal(fields{"Messages": messages})
	if err != nil {
		panic(err) // it was JSON
	}
	a.body.Reset()
	a.body.Write(b)
	a.header.Del("Content-Length")
	return fmt.Sprintf("shuffled, %d of them once more", again)
}

// putBack makes messages visible again whose delivery got lost, as half a minute
// would.
func (p *AWS) putBack(body []byte, a *answer) {
	queue, messages := received(body, a)
	for _, m := range messages {
		var got struct{ ReceiptHandle string }
		_ = json.Unmarshal(m, &got) // it is ours
		in := fields{"QueueUrl": queue, "ReceiptHandle": got.ReceiptHandle, "VisibilityTimeout": 0}.json()
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "/", strings.NewReader(in))
		if err != nil {
			panic(err) // it is fixed
		}
		r.Header.Set("X-Amz-Target", "AmazonSQS.ChangeMessageVisibility")
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		ask(p.Truth, r, []byte(in))
	}
}

// asked returns a request's service and operation.
func asked(r *http.Request, body []byte) (service, operation string) {
	target := r.Header.Get("X-Amz-Target")
	if before, after, ok := strings.Cut(target, "."); ok {
		if before == "AmazonSQS" {
			return "sqs", after
		}
		return "dynamodb", after
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", ""
	}
	return "sns", form.Get("Action")
}

// failure returns a server error of AWS, after which the outcome of a request is unknown.
func failure(service string, dice *rand.Rand, code string, status int) *answer {
	if dice.IntN(3) == 0 { // from a load balancer in front of AWS
		return respond(502, "text/html", html)
	}
	if service == "sns" {
		return respond(status, "text/xml", snsError("Receiver", code, "retry later"))
	}
	return respond(status, "application/x-amz-json-1.0", `{"__type":"com.amazon.coral.service#`+code+`","message":"retry later"}`)
}

// snsError returns an error response of SNS.
func snsError(fault, code, message string) string {
	return `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>` + fault + `</Type><Code>` + code +
		`</Code><Message>` + message + `</Message></Error><RequestId>0</RequestId></ErrorResponse>`
}

// throttled returns the error with which a service throttles a client.
func throttled(service string) *answer {
	switch service {
	case "sns":
		return respond(429, "text/xml", snsError("Sender", "Throttled", "Rate exceeded"))
	case "sqs":
		return respond(403, "application/x-amz-json-1.0", `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Rate exceeded"}`)
	}
	return respond(400, "application/x-amz-json-1.0",
		`{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"Rate exceeded"}`)
}

// conflict returns the cancellation of a transaction because of another one in progress.
func conflict(body []byte) *answer {
	var in struct{ TransactItems []json.RawMessage }
	_ = json.Unmarshal(body, &in) // without actions there is one reason
	reasons := []any{fields{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}}
	for range max(len(in.TransactItems)-1, 0) {
		reasons = append(reasons, fields{"Code": "None"})
	}
	return respond(400, "application/x-amz-json-1.0", fields{
		"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "CancellationReasons": reasons,
		"message": "Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict" +
			strings.Repeat(", None", len(reasons)-1) + "]",
	}.json())
}

// snsIsDown reports whether SNS is in an outage.
func (w *World) snsIsDown() bool {
	if !w.lying.Load() {
		return false
	}
	w.mu.Lock()
	at := time.Since(w.begun)
	w.mu.Unlock()
	return slices.ContainsFunc(w.SNSDown, func(d [2]time.Duration) bool { return d[0] <= at && at < d[1] })
}
