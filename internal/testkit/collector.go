package testkit

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector receives and keeps traces, as an OpenTelemetry collector does, by OTLP over HTTP.
// It is safe for concurrent use.
type Collector struct {
	URL string // base URL

	server *httptest.Server
	mu     sync.Mutex
	spans  []Span
}

// Span is a span with the properties that tests use.
type Span struct {
	Service, Name     string
	Trace, ID, Parent string // hex
	Attributes        map[string]string
	Error             string   // the message of an error status; "" without an error
	Events            []string // names of the events; for an exception its message
	started           uint64   // Unix nanoseconds
}

// NewCollector starts a collector. The caller must Close it.
func NewCollector() *Collector {
	c := &Collector{}
	c.server = httptest.NewServer(c)
	c.URL = c.server.URL
	return c
}

// Close stops the collector.
func (c *Collector) Close() { c.server.Close() }

// ServeHTTP receives traces.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collectorpb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &req)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		service := attributes(rs.GetResource().GetAttributes())["service.name"]
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.spans = append(c.spans, spanOf(service, s))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty response means that all spans were accepted
}

func spanOf(service string, s *tracepb.Span) Span {
	out := Span{
		Service: service, Name: s.GetName(), Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
		Parent: hex.EncodeToString(s.GetParentSpanId()), Attributes: attributes(s.GetAttributes()), started: s.GetStartTimeUnixNano(),
	}
	if s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		out.Error = cmp.Or(s.GetStatus().GetMessage(), "error")
	}
	for _, e := range s.GetEvents() {
		out.Events = append(out.Events, cmp.Or(attributes(e.GetAttributes())["exception.message"], e.GetName()))
	}
	return out
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[kv.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		default:
			m[kv.GetKey()] = v.(fmt.Stringer).String() //nolint:forcetypeassert // protobuf's types have the method
		}
	}
	return m
}

// Spans returns all spans received so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// OfOrder returns the spans of all traces that have a span with the order's id.
func (c *Collector) OfOrder(orderID string) (out []Span) {
	all, traces := c.Spans(), map[string]bool{}
	for _, s := range all {
		if s.Attributes["order.id"] == orderID {
			traces[s.Trace] = true
		}
	}
	for _, s := range all {
		if traces[s.Trace] {
			out = append(out, s)
		}
	}
	return out
}

// Tree formats spans as a tree: one line for each span in the order of their start, indented
// below its parent. detail returns the text after a span's name. A span whose parent is missing
// is marked as ORPHAN.
func Tree(spans []Span, detail func(Span) string) string {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.started, b.started) })
	known, below := map[string]bool{}, map[string][]Span{}
	for _, s := range spans {
		known[s.ID] = true
	}
	for _, s := range spans {
		if s.Parent != "" && !known[s.Parent] {
			s.Name, s.Parent = "ORPHAN "+s.Name, ""
		}
		below[s.Parent] = append(below[s.Parent], s)
	}
	var b strings.Builder
	var write func(parent string, depth int)
	write = func(parent string, depth int) {
		for _, s := range below[parent] {
			fmt.Fprintln(&b, strings.TrimRight(strings.Repeat("  ", depth)+s.Name+" "+detail(s), " "))
			write(s.ID, depth+1)
		}
	}
	write("", 0)
	return b.String()
}
