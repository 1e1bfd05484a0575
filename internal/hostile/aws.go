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

// AWS is a proxy before an AWS endpoint. It never says that something was done
// that was not: AWS does not. But requests and answers get lost on the way, an
// error may come after the effect, and SQS delivers twice and in any order.
type AWS struct {
	World *World
	Truth http.Handler
	// Hold is asked about each request, before anything is done about it: true
	// lets it wait until who asked has gone away, or for a moment; nil is never.
	Hold func(operation string, orders []string) bool

	mu   sync.Mutex
	seen map[string][]json.RawMessage // messages delivered before, by queue
}

func (p *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
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

// asked names a request's service and operation.
func asked(r *http.Request, body []byte) (service, operation string) {
	target := r.Header.Get("X-Amz-Target")
	if before, after, ok := strings.Cut(target, "."); ok {
		service = map[bool]string{true: "sqs", false: "dynamodb"}[before == "AmazonSQS"]
		return service, after
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", ""
	}
	return "sns", form.Get("Action")
}

// failure is an error of AWS, with which the outcome is unknown.
func failure(service string, dice *rand.Rand, code string, status int) *answer {
	if dice.IntN(3) == 0 { // of a load balancer before it
		return say(502, "text/html", html)
	}
	if service == "sns" {
		return say(status, "text/xml", `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Receiver</Type><Code>`+code+`</Code><Message>try again</Message></Error><RequestId>0</RequestId></ErrorResponse>`)
	}
	return say(status, "application/x-amz-json-1.0", `{"__type":"com.amazon.coral.service#`+code+`","message":"try again"}`)
}

// throttled is what each service says to whom asks too often.
func throttled(service string) *answer {
	switch service {
	case "sns":
		return say(429, "text/xml", `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>Throttled</Code><Message>Rate exceeded</Message></Error><RequestId>0</RequestId></ErrorResponse>`)
	case "sqs":
		return say(403, "application/x-amz-json-1.0", `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Rate exceeded"}`)
	}
	return say(400, "application/x-amz-json-1.0", `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"Rate exceeded"}`)
}

// conflict cancels a transaction because another one is under way.
func conflict(body []byte) *answer {
	var in struct{ TransactItems []json.RawMessage }
	_ = json.Unmarshal(body, &in) // of none there is one reason
	reasons := []any{fields{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}}
	for range max(len(in.TransactItems)-1, 0) {
		reasons = append(reasons, fields{"Code": "None"})
	}
	return say(400, "application/x-amz-json-1.0", fields{
		"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "CancellationReasons": reasons,
		"message": "Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict" + strings.Repeat(", None", len(reasons)-1) + "]",
	}.json())
}

// snsIsDown reports whether it is in one of the world's outages.
func (w *World) snsIsDown() bool {
	if !w.lying.Load() {
		return false
	}
	w.mu.Lock()
	at := time.Since(w.begun)
	w.mu.Unlock()
	return slices.ContainsFunc(w.SNSDown, func(d [2]time.Duration) bool { return d[0] <= at && at < d[1] })
}
