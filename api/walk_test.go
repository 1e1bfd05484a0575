package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// operation is one of the document, with the paths' parameters filled in.
type operation struct {
	method, path string
	query        []string
	body         map[string]schema // properties; nil: it takes none
}

func (o operation) String() string { return o.method + " " + o.path }

// operations are all that the document has.
func (c client) operations() (all []operation) {
	c.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters  []struct{ Name, In string }
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
		Components struct{ Schemas map[string]schema }
	}
	c.get("/openapi.json").json(c.t, &doc)
	fill := strings.NewReplacer("{id}", "known", "{sku}", "A", "{queue}", "OrderProcessingQueue")
	for path, methods := range doc.Paths {
		for method, op := range methods {
			o := operation{method: strings.ToUpper(method), path: fill.Replace(path)}
			for _, p := range op.Parameters {
				if p.In == "query" {
					o.query = append(o.query, p.Name)
				}
			}
			if ref := op.RequestBody.Content["application/json"].Schema.Ref; ref != "" {
				name := ref[strings.LastIndex(ref, "/")+1:]
				o.body = doc.Components.Schemas[name].Properties
				if len(o.body) == 0 {
					c.t.Errorf("%s: the schema %s of its body has no properties, want at least one", o, name)
				}
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// TestEmptyParametersAreRejected: an empty filter would match everything.
func TestEmptyParametersAreRejected(t *testing.T) {
	c := start(t)
	var checked []string
	for _, o := range c.operations() {
		for _, name := range o.query {
			for _, query := range []string{name + "=", name} {
				c.do(o.method, o.path+"?"+query, "").wantProblem(t, o.String()+"?"+query, 422, "query."+name, "empty")
			}
			checked = append(checked, o.String()+" "+name)
		}
	}
	for _, want := range []string{"customer", "sku", "status", "since", "before", "stuck", "undoing", "runtimeStatus", "limit", "cursor"} {
		if !slices.Contains(checked, "GET /v1/sagas "+want) {
			t.Errorf("parameters tried = %v, want %s of GET /v1/sagas among them", checked, want)
		}
	}
	if len(checked) < 18 {
		t.Errorf("parameters tried = %v, want at least 18", checked)
	}
}

// TestEveryBodyRejectsUnknownFields: every operation names a field that is unknown, duplicated
// or spelled differently.
func TestEveryBodyRejectsUnknownFields(t *testing.T) {
	c := start(t)
	c.place(newOrder("known", nil), "COMPLETED")
	bodies, none := 0, 0
	for _, o := range c.operations() {
		c.do(o.method, o.path, `{"zzz":1}`).wantProblem(t, o.String()+" with what it does not know", 422, "body.zzz", "")
		if o.body == nil {
			none++
			c.do(o.method, o.path, `["x"]`).wantProblem(t, o.String()+" with a body", 422, "body", "")
			continue
		}
		for name, s := range o.body {
			bodies++
			value := `"x"`
			if s.Type == "integer" {
				value = "5"
			}
			upper := strings.ToUpper(name)
			c.do(o.method, o.path, fmt.Sprintf(`{%q:%s,%q:%s}`, name, value, name, value)).wantProblem(t,
				o.String()+" with two of "+name, 422, "body."+name, "more than once")
			c.do(o.method, o.path, fmt.Sprintf(`{%q:%s,%q:%s}`, name, value, upper, value)).wantProblem(t,
				o.String()+" with a second spelling of "+name, 422, "body."+name, upper)
			c.do(o.method, o.path, fmt.Sprintf(`{%q:%s}`, upper, value)).wantProblem(t, o.String()+" with "+upper, 422, "body."+upper, name)
		}
	}
	if bodies < 15 || none < 15 {
		t.Errorf("fields = %d, operations without a body = %d, want at least 15 of each", bodies, none)
	}
	if v := c.view("known"); len(v.Notes) > 0 {
		t.Errorf("a refused request left %+v, want no notes", v.Notes)
	}
	if l := c.get("/v1/stock/A"); !strings.Contains(l.body, `"available":999998,"reserved":0,"sold":2,`) {
		t.Errorf("a refused request changed the stock: %s, want 999998 available, 0 reserved and 2 sold", l.body)
	}
}

// TestProblemsUseTermsOfHTTPAndJSON: whatever the type of a value, the problem has a 4xx
// status and names the field in the terms of HTTP and JSON.
func TestProblemsUseTermsOfHTTPAndJSON(t *testing.T) {
	c := newBench(t)
	gos := regexp.MustCompile(`\bGo\b|unmarshal|struct|json:|\bu?int(8|16|32|64)?\b|float64|strconv|parsing|reflect|map\[|\*[a-z]`)
	tried := 0
	check := func(what string, a answer) {
		t.Helper()
		tried++
		var p problem
		if a.status < 400 || len(a.body) == 0 {
			return
		}
		a.json(t, &p)
		said := p.Title + " " + p.Detail
		var built strings.Builder
		for _, e := range p.Errors {
			built.WriteString(" " + e.Message)
		}
		said += built.String()
		if a.status >= 500 || gos.MatchString(said) {
			t.Errorf("%s: status = %d, problem = %s, want a status below 500 and no term of Go", what, a.status, said)
		}
	}
	for _, o := range c.operations() {
		for _, name := range o.query {
			if strings.HasSuffix(o.path, "/events") {
				continue
			}
			for _, v := range []string{"1.5", "2.0", "-1", "NaN", "Inf", "1e400", "99999999999999999999", "yes", ",", "PAID,,", "0x10", "é", "%00"} {
				at := o.path + "?" + url.Values{name: {v}}.Encode()
				check(o.method+" "+at, c.do(o.method, at, ""))
			}
		}
		for name := range o.body {
			for _, v := range []string{
				"1.5", "2.0", "1e0", "-1", "1e400", "-1e400", "1e-400", "99999999999999999999", `"x"`,
				`"\ud800"`, "true", "[]", "{}", "null", "[[1]]",
			} {
				body := fmt.Sprintf(`{%q:%s}`, name, v)
				check(o.String()+" "+body, c.do(o.method, o.path, body))
			}
		}
	}
	if tried < 400 {
		t.Errorf("requests tried = %d, want at least 400", tried)
	}
}

// TestWholeNumbersAreIntegers: in JSON Schema, to which the document refers, 2.0 is an
// integer.
func TestWholeNumbersAreIntegers(t *testing.T) {
	c := start(t)
	for sku, n := range map[string]string{"X": "7.0", "Y": "7e0", "Z": "70e-1"} {
		a := c.do("PUT", "/v1/stock/"+sku, `{"onHand":`+n+`}`, "If-None-Match", "*")
		var l struct{ Available json.Number }
		a.json(t, &l)
		if a.status != http.StatusOK || l.Available != "7" {
			t.Errorf("%s: status = %d, body = %s, want status %d and 7 available", n, a.status, a.body, http.StatusOK)
		}
	}
	c.do("PUT", "/v1/stock/X", `{"onHand":7.5}`).wantProblem(t, "a half", 422, "body.onHand", "whole number")
	c.do("PUT", "/v1/stock/X", `{"onHand":1e30}`).wantProblem(t, "too many", 422, "body.onHand", "range")
}
