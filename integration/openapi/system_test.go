// Package openapi tests the API against its OpenAPI document. A client that is generated from
// the document calls a running system, and each request and response is checked against it.
package openapi

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSystem(t *testing.T) testkit.System {
	t.Helper()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 1000, "NONE": 0})
	return s
}

// served returns the document.
func served(t *testing.T, s testkit.System) []byte {
	t.Helper()
	res, err := http.Get(s.API + "/openapi.json")
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET /openapi.json: status %s, error %v, want status %d", res.Status, err, http.StatusOK)
	}
	return b
}

// judge is a transport that checks requests and responses against the document.
type judge struct {
	*testing.T

	fault func(format string, args ...any)

	validator validator.Validator
	model     *v3.Document

	mu   sync.Mutex
	seen map[string][]int // statuses by operation
}

func newJudge(t *testing.T, document []byte) *judge {
	t.Helper()
	doc, err := libopenapi.NewDocument(document)
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	v, errs := validator.NewValidator(doc, config.WithFormatAssertions())
	if len(errs) > 0 {
		t.Fatalf("errs = %v", errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		t.Fatalf("faults of the OpenAPI document = %v, want none", faults)
	}
	m, err := doc.BuildV3Model()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	return &judge{T: t, fault: t.Errorf, validator: v, model: &m.Model, seen: map[string][]int{}}
}

// operation returns the operation id of a request. No two paths of the document match the
// same request.
func (j *judge) operation(r *http.Request) string {
	asked := strings.Split(r.URL.Path, "/")
	for path, item := range j.model.Paths.PathItems.FromOldest() {
		parts := strings.Split(path, "/")
		fits := len(parts) == len(asked)
		for i := 0; fits && i < len(parts); i++ {
			fits = parts[i] == asked[i] || strings.HasPrefix(parts[i], "{")
		}
		if op, ok := item.GetOperations().Get(strings.ToLower(r.Method)); fits && ok {
			return op.OperationId
		}
	}
	j.Errorf("%s %s is no operation of the document, want one", r.Method, r.URL.Path)
	return ""
}

// RoundTrip implements http.RoundTripper.
func (j *judge) RoundTrip(r *http.Request) (*http.Response, error) {
	if ok, faults := j.validator.ValidateHttpRequestSync(r); !ok {
		for _, f := range faults {
			j.fault("request %s %s: %s", r.Method, r.URL, f)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	op := j.operation(r)
	j.seen[op] = append(j.seen[op], res.StatusCode)
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res, nil // first checks its events
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it was read
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	if ok, faults := j.validator.ValidateHttpResponse(r, res); !ok {
		for _, f := range faults {
			j.fault("response to %s %s: %d %s: %s %+v", r.Method, r.URL, res.StatusCode, body, f, f.SchemaValidationErrors)
		}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// check checks a body's example against its schema.
func (j *judge) check(what string, media *v3.MediaType) {
	j.Helper()
	if media.Example == nil {
		j.Errorf("%s has no example, want one", what)
		return
	}
	var example any
	if err := media.Example.Decode(&example); err != nil {
		j.Errorf("%s: %v", what, err)
		return
	}
	if ok, faults := schema_validation.NewSchemaValidator().ValidateSchemaObject(media.Schema.Schema(), example); !ok {
		for _, f := range faults {
			j.Errorf("%s: the example must match its schema: %s %+v", what, f, f.SchemaValidationErrors)
		}
	}
}
