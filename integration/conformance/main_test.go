// Package conformance says what ordersaga relies on from SQS, SNS, STS and
// DynamoDB, behaviour by behaviour, and asks it of our local endpoint and of
// other people's emulators. It knows nothing but aws-sdk-go-v2 and the aws
// command. How they differ is in docs/aws-fidelity.md, which it writes.
package conformance

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// root is the module's, from here.
var root = filepath.Join("..", "..")

func TestMain(m *testing.M) {
	// Most tests wait most of the time: more of them at once than there are cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// Of clients that make the local endpoint's resources, and can't be closed.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// behaviour is one thing that ordersaga relies on.
type behaviour struct {
	name  string // "service: what"
	says  string // what AWS's documentation says
	page  string // on which page, behind the service's prefix of docs
	check func(*T)
}

func behaviours() []behaviour {
	return slices.Concat(queues(), topics(), tables(), parameters(), expressions(), transactions())
}

func (b behaviour) service() string {
	service, _, _ := strings.Cut(b.name, ":")
	return service
}

// docs is where AWS documents a service.
var docs = map[string]string{
	"SQS":      "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/",
	"SNS":      "https://docs.aws.amazon.com/sns/latest/",
	"STS":      "https://docs.aws.amazon.com/STS/latest/",
	"DynamoDB": "https://docs.aws.amazon.com/amazondynamodb/latest/",
}

// endpoints are URLs by service; a service that is not there is not offered.
type endpoints map[string]string

func all(url string) endpoints {
	return endpoints{"SQS": url, "SNS": url, "STS": url, "DynamoDB": url}
}

// The emulators, as the documentation calls them.
const (
	ours      = "ours"
	moto      = "moto"
	elasticmq = "ElasticMQ"
	ministack = "MiniStack"
	roto      = "roto"
)

type emulator struct {
	name  string
	start func(*testing.T) endpoints
	lacks string // services
}

var emulators = []emulator{
	{name: ours, start: func(t *testing.T) endpoints {
		return all(testkit.NewAWS(t, func(o *awslocal.Options) { o.Dir = t.TempDir() }).Endpoint)
	}},
	{name: moto, start: func(t *testing.T) endpoints { return all(testkit.Moto(t).Address) }},
	{name: elasticmq, lacks: "SNS STS DynamoDB", start: func(t *testing.T) endpoints {
		return endpoints{"SQS": testkit.ElasticMQ(t).Address}
	}},
	{name: ministack, start: func(t *testing.T) endpoints { return all(testkit.MiniStack(t).Address) }},
	{name: roto, start: func(t *testing.T) endpoints { return all(testkit.Roto(t).Address) }},
}

// endpointEnv names one more endpoint to test.
const endpointEnv = "ORDERSAGA_AWS_ENDPOINT"

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, e := range emulators {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			conform(t, e.name, e.start(t))
		})
	}
	if url := os.Getenv(endpointEnv); url != "" {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			conform(t, url, all(url))
		})
	}
}

func conform(t *testing.T, emulator string, at endpoints) {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	for _, b := range behaviours() {
		url := at[b.service()]
		if url == "" {
			continue
		}
		cfg := aws.Config{
			Region: "us-east-1", BaseEndpoint: &url, HTTPClient: client,
			Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			Retryer:     func() aws.Retryer { return aws.NopRetryer{} }, // what an endpoint answers is to be seen as it is
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			found := faults(t, b, cfg)
			for range 3 { // a connection that broke says nothing of the behaviour
				if !brokenOff.MatchString(strings.Join(found, "\n")) {
					break
				}
				t.Logf("once more, for %s", found)
				found = faults(t, b, cfg)
			}
			judge(t, emulator, b, found)
		})
	}
}

var brokenOff = regexp.MustCompile(`connection reset|broken pipe|use of closed network connection|EOF`)

// judge holds what was found against what is known.
func judge(t *testing.T, emulator string, b behaviour, found []string) {
	t.Helper()
	known := deviationOf(emulator, b.name)
	if known == nil {
		if len(found) > 0 {
			t.Errorf("%s\nAWS: %s, %s%s.html", strings.Join(found, "\n"), b.says, docs[b.service()], b.page)
		}
		return
	}
	if len(found) == 0 && known.sometimes() {
		t.Logf("not seen this time: %s", known.does)
	} else if len(found) == 0 {
		t.Errorf("%s does now what AWS documents, and did not (%s): take it out of deviations_test.go", emulator, known.does)
	}
	for _, f := range found {
		if !slices.ContainsFunc(known.sees, func(s string) bool { return strings.Contains(f, s) }) {
			t.Errorf("not the known deviation (%s): %s", known.does, f)
		}
	}
	for _, s := range known.sees {
		if len(found) > 0 && !known.sometimes() && !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, s) }) {
			t.Errorf("of the known deviation (%s), %q is not seen any more", known.does, s)
		}
	}
}

// faults is what an endpoint does wrong.
func faults(t *testing.T, b behaviour, cfg aws.Config) []string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := &T{T: t, ctx: ctx, cfg: cfg}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(errEnough) {
				r.Errorf("%v\n%s", p, debug.Stack()) // most often: a part of the answer is not there
			}
		}()
		b.check(r)
	}()
	return r.faults
}

// T takes the place of testing.T in a check: it keeps what is wrong, for that
// may be a known deviation.
type T struct {
	*testing.T
	ctx    context.Context
	cfg    aws.Config
	faults []string
}

var errEnough = errors.New("the check can't go on")

func (t *T) Context() context.Context { return t.ctx }

func (t *T) Errorf(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(errEnough)
}

// must ends the check if what it needs has failed.
func (t *T) must(what string, err error) {
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// refuses checks AWS's error code and a part of its message.
func (t *T) refuses(what string, err error, code, say string) {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), say) {
		t.Errorf("%s: %v, want %s: …%s…", what, cmp.Or(err, errAccepted), code, say)
	}
}

var errAccepted = errors.New("accepted")

// typed checks that the SDK makes its own type of an error.
func typed[E error](t *T, what string, err error) {
	if _, ok := errors.AsType[E](err); !ok {
		t.Errorf("%s: %v, want %T", what, cmp.Or(err, errAccepted), *new(E))
	}
}

// same compares what two values say: types like int32 and int don't matter.
func same(t *T, what string, got, want any) {
	if g, w := show(got), show(want); g != w {
		t.Errorf("%s: got %s, want %s", what, short(g), short(w))
	}
}

func show(v any) string {
	if s := fmt.Sprint(v); !slices.Contains([]string{"", "<nil>", "map[]", "[]"}, s) {
		return s
	}
	return "nothing"
}

func short(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

// unique makes a resource name that no other test, now or before, has used.
func unique(t testing.TB) string {
	name := notInNames.ReplaceAllString(t.Name()[strings.LastIndex(t.Name(), "/")+1:], "-")
	return name[:min(len(name), 60)] + "-" + uuid.NewString()[:8]
}
