package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/order"
)

type schema struct {
	Type                 any
	Description          string
	Pattern              string
	MinLength, MaxLength int
	MinItems, MaxItems   int
	Minimum, Maximum     float64
	Properties           map[string]schema
	AdditionalProperties any
}

type openAPI struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID, Summary string
		Responses            map[string]any
		Parameters           []struct {
			Name, In, Description string
			Schema                schema
		}
	}
	Components struct{ Schemas map[string]schema }
}

// TestOpenAPIDescribesEveryRoute: the document has every route that chi serves, and no other.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	b := newBench(t)
	var doc openAPI
	b.get("/openapi.json").json(t, &doc)
	var described []string
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Responses) < 2 {
				t.Errorf("%s %s = %+v, want a unique operationId, a summary and at least 2 responses", method, path, op)
			}
			ids[op.OperationID] = true
			for _, p := range op.Parameters {
				if (p.In == "path" || p.Name == "customer") && !strings.Contains(path, "dead-letters") &&
					(p.Schema.Pattern != order.IDPattern || p.Schema.MaxLength != order.MaxIDLength) {
					t.Errorf("%s %s: %s has %+v, want pattern %s and maxLength %d", method, path, p.Name, p.Schema,
						order.IDPattern, order.MaxIDLength)
				}
			}
		}
	}
	// What describes the others is not described itself; the metrics are
	// Prometheus's.
	own := regexp.MustCompile(`^GET /(metrics|docs|openapi(-3\.0)?\.(json|yaml))$`)
	var served []string
	routes, ok := api.New(api.Options{Registry: prometheus.NewRegistry(), Sagas: b.behind}).(chi.Routes)
	if !ok {
		t.Fatal("the handler does not list its routes, want a router of chi")
	}
	err := chi.Walk(routes, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if r := method + " " + route; !own.MatchString(r) {
			served = append(served, r)
		} else if a := b.get(route); a.status != http.StatusOK || a.body == "" {
			t.Errorf("%s: status = %d, body = %q, want status %d and a body", r, a.status, a.body, http.StatusOK)
		}
		return nil
	})
	slices.Sort(described)
	slices.Sort(served)
	if err != nil || !strings.HasPrefix(doc.OpenAPI, "3.") || !slices.Equal(served, described) || len(served) < 15 {
		t.Errorf("error = %v, OpenAPI %s describes\n%v, want version 3 and the routes served, at least 15\n%v",
			err, doc.OpenAPI, described, served)
	}

	docs := b.get("/docs")
	for _, r := range described {
		if !strings.Contains(docs.body, "<code>"+r+"</code>") {
			t.Errorf("/docs does not list %s, want every operation", r)
		}
	}
	if kind := docs.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") || !strings.HasSuffix(docs.body, "</html>") {
		t.Errorf("/docs: Content-Type = %q, body = %s, want text/html up to </html>", kind, docs.body)
	}
	if strings.Contains(docs.header.Get("Content-Security-Policy"), "unsafe") ||
		regexp.MustCompile(`(?i)://|<script|<style|style=|\bsrc=|\son\w+=`).MatchString(docs.body) {
		t.Error("/docs loads something from elsewhere, or what its own policy forbids, want neither")
	}
}

// TestOpenAPIHasTheLimits: the document has the limits that order.Parse enforces.
func TestOpenAPIHasTheLimits(t *testing.T) {
	b := newBench(t)
	var doc openAPI
	b.get("/openapi.json").json(t, &doc)
	of := func(path string) schema {
		name, field, _ := strings.Cut(path, ".")
		s, ok := doc.Components.Schemas[name].Properties[field]
		if !ok {
			t.Fatalf("the document has no schema of %s, want one", path)
		}
		return s
	}
	for _, path := range []string{"Order.orderId", "Order.customerId", "Line.sku", "Payment.token"} {
		if s := of(path); s.Pattern != order.IDPattern || s.MinLength != 1 || s.MaxLength != order.MaxIDLength {
			t.Errorf("%s: schema = %+v, want pattern %s and 1 to %d characters", path, s, order.IDPattern, order.MaxIDLength)
		}
	}
	for _, path := range []string{
		"Address.name", "Address.line1", "Address.line2", "Address.city", "Address.region",
		"Address.postalCode", "Address.phone",
	} {
		if s := of(path); s.MaxLength != order.MaxTextLength {
			t.Errorf("%s: schema = %+v, want maxLength %d", path, s, order.MaxTextLength)
		}
	}
	if s := of("Order.lines"); s.MinItems != 1 || s.MaxItems != order.MaxLines || s.Type != "array" {
		t.Errorf("Order.lines: schema = %+v, want an array of 1 to %d items", s, order.MaxLines)
	}
	if s := of("Line.quantity"); s.Minimum != 1 || s.Maximum != order.MaxQuantity {
		t.Errorf("Line.quantity: schema = %+v, want 1 to %d", s, order.MaxQuantity)
	}
	for _, path := range []string{"Order.shipping", "Order.tax", "Order.discount"} {
		if s := of(path); s.Maximum != order.MaxExtra {
			t.Errorf("%s: schema = %+v, want maximum %d", path, s, order.MaxExtra)
		}
	}
	if s := of("Line.unitPrice"); s.Maximum != order.MaxUnitPrice {
		t.Errorf("Line.unitPrice: schema = %+v, want maximum %d", s, order.MaxUnitPrice)
	}
	for _, name := range []string{"Order", "Line", "Payment", "Address"} {
		if more := doc.Components.Schemas[name].AdditionalProperties; fmt.Sprint(more) != "false" {
			t.Errorf("%s: additionalProperties = %v, want false, because more fields are refused", name, more)
		}
	}
	if a := b.post("/v1/orders", strings.Replace(newOrder("more", nil), "{", `{"coupon":"X",`,
		1)); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"location":"body.coupon"`) {
		t.Errorf("an order with one more field: status = %d, body = %s, want status %d at body.coupon", a.status, a.body,
			http.StatusUnprocessableEntity)
	}
	if a := b.post("/v1/orders", strings.Replace(newOrder("more", nil), "{", `{"type":"OrderPlaced","metadata":{"coupon":"X"},`,
		1)); a.status != http.StatusAccepted {
		t.Errorf("an OrderPlaced event with metadata: status = %d, want %d: %s", a.status, http.StatusAccepted, a.body)
	}
}

// TestOpenAPIDescribesEveryProperty covers the components' schemas, which have all properties
// of requests and responses, and the parameters.
func TestOpenAPIDescribesEveryProperty(t *testing.T) {
	b := newBench(t)
	var doc openAPI
	b.get("/openapi.json").json(t, &doc)
	described := 0
	check := func(what, description string) {
		described++
		if description == "" {
			t.Errorf("%s has no description, want one", what)
		}
	}
	for name, s := range doc.Components.Schemas {
		for field, p := range s.Properties {
			check(name+"."+field, p.Description)
		}
	}
	if described < 150 {
		t.Errorf("properties = %d, want at least 150", described)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for _, p := range op.Parameters {
				check(method+" "+path+": "+p.Name, p.Description)
			}
		}
	}
}
