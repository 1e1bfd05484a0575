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
			Name, In string
			Schema   schema
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
				t.Errorf("%s %s is described as %+v", method, path, op)
			}
			ids[op.OperationID] = true
			for _, p := range op.Parameters {
				if (p.In == "path" || p.Name == "customer") && !strings.Contains(path, "dead-letters") &&
					(p.Schema.Pattern != order.IDPattern || p.Schema.MaxLength != order.MaxIDLength) {
					t.Errorf("%s %s: %s has %+v", method, path, p.Name, p.Schema)
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
		t.Fatal("the handler is no chi router")
	}
	err := chi.Walk(routes, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if r := method + " " + route; !own.MatchString(r) {
			served = append(served, r)
		} else if a := b.get(route); a.status != http.StatusOK || a.body == "" {
			t.Errorf("%s: status = %d, body = %s", r, a.status, a.body)
		}
		return nil
	})
	slices.Sort(described)
	slices.Sort(served)
	if err != nil || !strings.HasPrefix(doc.OpenAPI, "3.") || !slices.Equal(served, described) || len(served) < 15 {
		t.Errorf("%v; OpenAPI %s describes\n%v, served are\n%v", err, doc.OpenAPI, described, served)
	}

	docs := b.get("/docs")
	for _, r := range described {
		if !strings.Contains(docs.body, "<code>"+r+"</code>") {
			t.Errorf("/docs does not list %s", r)
		}
	}
	if kind := docs.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") || !strings.HasSuffix(docs.body, "</html>") {
		t.Errorf("/docs is %s: %s", kind, docs.body)
	}
	if strings.Contains(docs.header.Get("Content-Security-Policy"), "unsafe") ||
		regexp.MustCompile(`(?i)://|<script|<style|style=|\bsrc=|\son\w+=`).MatchString(docs.body) {
		t.Error("/docs loads something from elsewhere, or what its own policy forbids")
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
			t.Fatalf("no schema of %s", path)
		}
		return s
	}
	for _, path := range []string{"Order.orderId", "Order.customerId", "Line.sku", "Payment.token"} {
		if s := of(path); s.Pattern != order.IDPattern || s.MinLength != 1 || s.MaxLength != order.MaxIDLength {
			t.Errorf("%s: value = %+v", path, s)
		}
	}
	for _, path := range []string{
		"Address.name", "Address.line1", "Address.line2", "Address.city", "Address.region",
		"Address.postalCode", "Address.phone",
	} {
		if s := of(path); s.MaxLength != order.MaxTextLength {
			t.Errorf("%s: value = %+v", path, s)
		}
	}
	if s := of("Order.lines"); s.MinItems != 1 || s.MaxItems != order.MaxLines || s.Type != "array" {
		t.Errorf("lines: %+v", s)
	}
	if s := of("Line.quantity"); s.Minimum != 1 || s.Maximum != order.MaxQuantity {
		t.Errorf("quantity: %+v", s)
	}
	for _, path := range []string{"Order.shipping", "Order.tax", "Order.discount"} {
		if s := of(path); s.Maximum != order.MaxExtra {
			t.Errorf("%s: value = %+v", path, s)
		}
	}
	if s := of("Line.unitPrice"); s.Maximum != order.MaxUnitPrice {
		t.Errorf("unitPrice: %+v", s)
	}
	for _, name := range []string{"Order", "Line", "Payment", "Address"} {
		if more := doc.Components.Schemas[name].AdditionalProperties; fmt.Sprint(more) != "false" {
			t.Errorf("%s: additionalProperties is %v, but more fields are refused", name, more)
		}
	}
	if a := b.post("/v1/orders", strings.Replace(newOrder("more", nil), "{", `{"coupon":"X",`,
		1)); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"location":"body.coupon"`) {
		t.Errorf("status = %v, body = %v", a.status, a.body)
	}
	if a := b.post("/v1/orders", strings.Replace(newOrder("more", nil), "{", `{"type":"OrderPlaced","metadata":{"coupon":"X"},`,
		1)); a.status != http.StatusAccepted {
		t.Errorf("status = %v, body = %v", a.status, a.body)
	}
}
