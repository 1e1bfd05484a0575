package cloudformation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// right is an action on a resource.
type right struct{ action, resource string }

func (r right) String() string { return r.action + " on " + r.resource }

// recorder is an endpoint in front of the emulator that notes every call's
// rights. Each component has its own, so that it is known whose they are; being
// no part of the client, it sees those of any process.
type recorder struct {
	*httptest.Server
	key string // ARN of the key of queues and topics

	// slow delays every dead-lettering: the consumer must then extend the message's visibility
	// timeout, which is a request of its own.
	slow atomic.Bool

	mu   sync.Mutex
	used map[right]bool
	odd  []string // calls that it cannot read
}

func (w world) record() *recorder {
	w.Helper()
	r := w.recordLater()
	r.key = arn("kms", "key/"+w.resources()["MessagesKey"])
	return r
}

// recordLater is record before there is a stack: its key is not known yet.
func (w world) recordLater() *recorder {
	w.Helper()
	target, err := url.Parse(w.endpoint)
	require.NoError(w, err)
	r := &recorder{used: map[right]bool{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host
	}, ErrorLog: log.New(io.Discard, "", 0)} // long polls that end with their client
	r.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the client is gone
		}
		target := req.Header.Get("X-Amz-Target")
		r.note(target, body)
		if r.slow.Load() && target == "AmazonSQS.SendMessage" && bytes.Contains(body, []byte("-dlq")) {
			time.Sleep(11 * time.Second) // more than a third of 30 s
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(rw, req)
	}))
	w.Cleanup(r.Close)
	return r
}

func arn(service, rest string) string {
	return "arn:aws:" + service + ":" + region + ":" + account + ":" + rest
}

// note finds out which rights a call takes, as AWS documents them:
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
func (r *recorder) note(target string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	service, operation, _ := strings.Cut(target, ".")
	var in struct {
		QueueUrl, QueueName, TableName, IndexName, SecretId string
		TransactItems                                       []map[string]struct{ TableName string }
		RequestItems                                        map[string]any // by table
	}
	form := url.Values{}
	var err error
	if target == "" {
		form, err = url.ParseQuery(string(body))
	} else {
		err = json.Unmarshal(body, &in)
	}
	switch {
	case err != nil:
		r.odd = append(r.odd, err.Error())
	case service == "AmazonSQS":
		name := in.QueueName + in.QueueUrl[strings.LastIndex(in.QueueUrl, "/")+1:]
		r.add("sqs:"+strings.TrimSuffix(operation, "Batch"), arn("sqs", name))
		// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
		switch strings.TrimSuffix(operation, "Batch") {
		case "SendMessage":
			r.add("kms:GenerateDataKey", r.key)
			r.add("kms:Decrypt", r.key)
		case "ReceiveMessage":
			r.add("kms:Decrypt", r.key)
		}
	case service == "DynamoDB_20120810" && operation == "TransactWriteItems":
		for _, item := range in.TransactItems {
			for kind, on := range item {
				r.add("dynamodb:"+kind+"Item", arn("dynamodb", "table/"+on.TableName))
			}
		}
	case service == "DynamoDB_20120810" && operation == "BatchGetItem":
		for table := range in.RequestItems {
			r.add("dynamodb:"+operation, arn("dynamodb", "table/"+table))
		}
	case service == "DynamoDB_20120810":
		resource := arn("dynamodb", "table/"+in.TableName)
		if in.IndexName != "" {
			resource += "/index/" + in.IndexName
		}
		r.add("dynamodb:"+operation, resource)
	case service == "secretsmanager":
		r.add("secretsmanager:"+operation, in.SecretId) // by name; check adds the ARN
	case form.Get("Action") == "GetCallerIdentity": // requires no permission
	case form.Get("TopicArn") != "":
		action := strings.TrimSuffix(form.Get("Action"), "Batch") // one right for both
		r.add("sns:"+action, form.Get("TopicArn"))
		if action == "Publish" {
			// https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
			r.add("kms:GenerateDataKey", r.key)
			r.add("kms:Decrypt", r.key)
		}
	default:
		r.odd = append(r.odd, target+" "+string(body))
	}
}

func (r *recorder) add(action, resource string) { r.used[right{action, resource}] = true }

// rights returns what a role of the stack allows. Its policies consist only of Allow, actions and
// resources.
func (w world) rights(role string, policies func(name string) bool) map[right]bool {
	w.Helper()
	name := w.resources()[role]
	var list struct{ PolicyNames []string }
	w.run(&list, "iam", "list-role-policies", "--role-name", name)
	var attached struct{ AttachedPolicies []any }
	w.run(&attached, "iam", "list-attached-role-policies", "--role-name", name)
	if len(attached.AttachedPolicies) > 0 {
		w.Errorf("%s: attached policies = %v, want none", role, attached.AttachedPolicies)
	}
	all := map[right]bool{}
	for _, p := range list.PolicyNames {
		if !policies(p) {
			continue
		}
		var policy struct {
			PolicyDocument struct {
				Statement []map[string]any
			}
		}
		w.run(&policy, "iam", "get-role-policy", "--role-name", name, "--policy-name", p)
		for _, s := range policy.PolicyDocument.Statement {
			if keys := slices.Sorted(maps.Keys(s)); s["Effect"] != "Allow" || !slices.Equal(keys, []string{"Action", "Effect", "Resource"}) {
				w.Errorf("%s: statement %v, want an Action, a Resource and the Effect Allow, and no more", role, s)
			}
			for _, a := range texts(s["Action"]) {
				for _, r := range texts(s["Resource"]) {
					if all[right{a, r}] {
						w.Errorf("%s: %s is allowed twice, want once", role, right{a, r})
					}
					all[right{a, r}] = true
				}
			}
		}
	}
	return all
}

func texts(v any) (all []string) {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			all = append(all, fmt.Sprint(e))
		}
		return all
	}
	return []string{fmt.Sprint(v)}
}

// unsecret is a right with a secret's name in place of its ARN: that ends in six
// characters of AWS's, and callers use the name.
func unsecret(r right) right {
	if name, ok := strings.CutPrefix(r.resource, arn("secretsmanager", "secret:")); ok {
		r.resource = name[:max(0, len(name)-len("-AbCdEf"))]
	}
	return r
}

// check compares what a role allows with what its component did. policy names
// the one of which all must be used.
func (w world) check(role, policy string, r *recorder) {
	w.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	allowed := w.rights(role, func(string) bool { return true })
	wanted := w.rights(role, func(name string) bool { return name == policy })
	plain := map[right]bool{}
	for a := range allowed {
		plain[unsecret(a)] = true
	}
	for _, o := range r.odd {
		w.Errorf("%s: unknown call, want only calls that have a known right: %s", role, o)
	}
	sorted := func(m map[right]bool) []right {
		return slices.SortedFunc(maps.Keys(m), func(a, b right) int { return strings.Compare(a.String(), b.String()) })
	}
	for _, u := range sorted(r.used) {
		if !plain[u] {
			w.Errorf("%s: does not allow %s, want every right that its component uses", role, u)
		}
	}
	for _, a := range sorted(wanted) {
		if strings.Contains(a.String(), "*") && !strings.HasPrefix(a.action, "logs:") {
			w.Errorf("%s: wildcard in %s, want wildcards only for logs", role, a)
		}
		if !r.used[unsecret(a)] {
			w.Errorf("%s: allows %s, want only rights that its component uses", role, a)
		}
	}
	w.Logf("%s, %s: %d rights, %d used", role, policy, len(wanted), len(r.used))
}

// TestNoteReadsCalls: what it misreads, or passes over, would not be checked.
func TestNoteReadsCalls(t *testing.T) {
	r := &recorder{used: map[right]bool{}, key: "k"}
	r.note("AmazonSQS.DeleteMessageBatch", []byte(`{"QueueUrl":"http://x/1/Q"}`))
	r.note("DynamoDB_20120810.TransactWriteItems",
		[]byte(`{"TransactItems":[{"Put":{"TableName":"a"}},{"ConditionCheck":{"TableName":"b"}}]}`))
	r.note("DynamoDB_20120810.Query", []byte(`{"TableName":"a","IndexName":"i"}`))
	r.note("DynamoDB_20120810.BatchGetItem", []byte(`{"RequestItems":{"a":{}}}`))
	r.note("", []byte("Action=Publish&TopicArn=t"))
	r.note("", []byte("Action=PublishBatch&TopicArn=u"))
	want := map[right]bool{
		{"sqs:DeleteMessage", arn("sqs", "Q")}: true, {"dynamodb:PutItem", arn("dynamodb", "table/a")}: true,
		{"dynamodb:ConditionCheckItem", arn("dynamodb", "table/b")}: true, {"dynamodb:Query", arn("dynamodb", "table/a/index/i")}: true,
		{"dynamodb:BatchGetItem", arn("dynamodb", "table/a")}: true, {"sns:Publish", "t"}: true, {"sns:Publish", "u"}: true,
		{"kms:GenerateDataKey", "k"}: true, {"kms:Decrypt", "k"}: true,
	}
	if !maps.Equal(r.used, want) {
		t.Errorf("permissions used = %v, want %v", r.used, want)
	}
	r.note("Other.Call", []byte("{}"))
	r.note("", []byte("Action=ListTopics"))
	if len(r.odd) != 2 {
		t.Errorf("unknown requests = %q, want two", r.odd)
	}
}
