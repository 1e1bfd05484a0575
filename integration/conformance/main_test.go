// Package conformance tests every behaviour of SQS, SNS, STS and DynamoDB that ordersaga
// relies on: in its local endpoint and in third-party emulators. It uses only aws-sdk-go-v2
// and the aws command. It writes the table of deviations in docs/aws-fidelity.md.
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

// root is the root of the module, relative to this package.
var root = filepath.Join("..", "..")

func TestMain(m *testing.M) {
	// The tests mostly wait, so run more of them in parallel than there are cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// Connections of the clients that create the local endpoint's resources stay open.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// behaviour is one behaviour of AWS that ordersaga relies on.
type behaviour struct {
	name       string   // "service: behaviour"
	documented string   // what AWS documents
	page       string   // the page that documents it, relative to the service's entry in docs
	check      func(*T) // reports how an endpoint deviates
}

// behaviours returns all behaviours, in the order of the table.
func behaviours() []behaviour {
	return slices.Concat(queues(), topics(), tables(), parameters(), expressions(), transactions())
}

// service returns the AWS service of the behaviour.
func (b behaviour) service() string {
	service, _, _ := strings.Cut(b.name, ":")
	return service
}

// docs holds the address of each service's documentation.
var docs = map[string]string{
	"SQS":      "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/",
	"SNS":      "https://docs.aws.amazon.com/sns/latest/",
	"STS":      "https://docs.aws.amazon.com/STS/latest/",
	"DynamoDB": "https://docs.aws.amazon.com/amazondynamodb/latest/",
}

// endpoints are URLs by service. A service without URL is not tested.
type endpoints map[string]string

// all returns one URL for all services.
func all(url string) endpoints {
	return endpoints{"SQS": url, "SNS": url, "STS": url, "DynamoDB": url}
}

// The names of the emulators in the table.
const (
	ours      = "ours"
	moto      = "moto"
	elasticmq = "ElasticMQ"
	ministack = "MiniStack"
	roto      = "roto"
)

// emulator is an implementation that is tested.
type emulator struct {
	name  string
	start func(*testing.T) endpoints
	lacks string // the services that it does not have
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

// endpointEnv is the environment variable with the URL of one more endpoint to test.
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

// conform runs the check of every behaviour as a subtest.
func conform(t *testing.T, emulator string, at endpoints) {
	t.Helper()
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
			Retryer:     func() aws.Retryer { return aws.NopRetryer{} }, // so that checks see every error
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			found := failuresOf(t, b, cfg)
			for range 3 { // a broken connection is not a deviation: retry
				if !connectionError.MatchString(strings.Join(found, "\n")) {
					break
				}
				t.Logf("retrying after a broken connection: %s", found)
				found = failuresOf(t, b, cfg)
			}
			compare(t, emulator, b, found)
		})
	}
}

var connectionError = regexp.MustCompile(`connection reset|broken pipe|use of closed network connection|EOF`)

// compare compares the failures of a check with the known deviation, if there is one.
func compare(t *testing.T, emulator string, b behaviour, found []string) {
	t.Helper()
	known := deviationOf(emulator, b.name)
	if known == nil {
		if len(found) > 0 {
			t.Errorf("%s\nwant as AWS documents: %s, %s%s.html", strings.Join(found, "\n"), b.documented, docs[b.service()], b.page)
		}
		return
	}
	if len(found) == 0 && known.sometimes() {
		t.Logf("the deviation did not occur this time: %s", known.does)
	} else if len(found) == 0 {
		t.Errorf("%s now conforms to AWS, want its deviation (%s): remove it from deviations_test.go", emulator, known.does)
	}
	for _, f := range found {
		if !slices.ContainsFunc(known.reports, func(s string) bool { return strings.Contains(f, s) }) {
			t.Errorf("want only the known deviation (%s), got also: %s", known.does, f)
		}
	}
	for _, s := range known.reports {
		if len(found) > 0 && !known.sometimes() && !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, s) }) {
			t.Errorf("the check reports %q, want also %q as part of the known deviation (%s)", found, s, known.does)
		}
	}
}

// failuresOf runs a check and returns the failures that it reports.
func failuresOf(t *testing.T, b behaviour, cfg aws.Config) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := &T{T: t, ctx: ctx, cfg: cfg}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(errStopped) {
				r.Errorf("the check panicked, want it to return: %v\n%s", p, debug.Stack()) // usually a part of the response is missing
			}
		}()
		b.check(r)
	}()
	return r.failures
}

// T replaces testing.T in a check. It collects failures, because they may be a known
// deviation.
type T struct {
	*testing.T

	ctx      context.Context
	cfg      aws.Config
	failures []string
}

var errStopped = errors.New("the check has stopped")

// Context returns the check's context.
func (t *T) Context() context.Context { return t.ctx }

// Errorf adds a failure.
func (t *T) Errorf(format string, args ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

// Fatalf adds a failure and stops the check.
func (t *T) Fatalf(format string, args ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
	panic(errStopped)
}

// noError stops the check if err is not nil.
func (t *T) noError(what string, err error) {
	if err != nil {
		t.Fatalf("%s: unexpected error: %v", what, err)
	}
}

// wantError checks for an AWS error with the given code, and a part of its message.
func (t *T) wantError(what string, err error, code, message string) {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("%s: %v, want %s: …%s…", what, cmp.Or(err, errAccepted), code, message)
	}
}

var errAccepted = errors.New("accepted")

// wantErrorType checks for an error of one of the SDK's own types.
func wantErrorType[E error](t *T, what string, err error) {
	if _, ok := errors.AsType[E](err); !ok {
		t.Errorf("%s: %v, want %T", what, cmp.Or(err, errAccepted), *new(E))
	}
}

// equal compares two values as text, so that an int32 can equal an int.
func equal(t *T, what string, got, want any) {
	if g, w := format(got), format(want); g != w {
		t.Errorf("%s: got %s, want %s", what, shorten(g), shorten(w))
	}
}

// format returns a value as text; all empty values are "nothing".
func format(v any) string {
	if s := fmt.Sprint(v); !slices.Contains([]string{"", "<nil>", "map[]", "[]"}, s) {
		return s
	}
	return "nothing"
}

// shorten cuts a text for a failure message.
func shorten(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

var invalidInName = regexp.MustCompile(`[^A-Za-z0-9]+`)

// unique returns a resource name that no other test, or run of it, uses.
func unique(t testing.TB) string {
	name := invalidInName.ReplaceAllString(t.Name()[strings.LastIndex(t.Name(), "/")+1:], "-")
	return name[:min(len(name), 60)] + "-" + uuid.NewString()[:8]
}
