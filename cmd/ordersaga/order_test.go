package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/api/loadgen"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

const shops = "../../internal/importer/testdata/"

func convert(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"order", "convert"}, args...), &out, &errs)
	return status, out.String(), errs.String()
}

// TestConvertedOrdersComplete checks that each shop's converted orders pass through
// the system, and that all records agree afterwards.
func TestConvertedOrdersComplete(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	args := []string{"load", "--concurrency=4", "--orders=40", "--output=json"}
	stock := map[string]int64{}
	for fixture, from := range map[string]string{
		"shopify": "shopify", "shopify-foreign": "shopify", "woocommerce": "woocommerce",
		"commercetools": "commercetools", "cloudevents": "cloudevents",
	} {
		status, out, errs := convert(t, "--from="+from, "--payment-token=tok_ok", shops+fixture+".json")
		if status != 0 {
			t.Fatalf("convert %s: status %d, errors %s", fixture, status, errs)
		}
		o, err := order.Parse([]byte(out))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range o.Demand() {
			stock[d.SKU] = 10_000
		}
		file := filepath.Join(t.TempDir(), fixture+".jsonl")
		if err := os.WriteFile(file, []byte(out+out), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--file="+file)
	}
	s.SetStock(t, stock)
	status, out, errs := s.run(args...)
	var r loadgen.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 {
		t.Fatalf("load: status %d, output %s, errors %s (%v), want status 0 and a report in JSON", status, out, errs, err)
	}
	if r.Accepted != 40 || r.Ended[order.StatusCompleted] != 40 || r.Open != 0 || len(r.Unexpected) != 0 {
		t.Errorf("load report %+v, want 40 orders COMPLETED", r)
	}
	var result bytes.Buffer
	status = run(t.Context(), []string{
		"check", "--aws-endpoint", s.Endpoint, "--api", s.API,
		"--payment-url", s.Simulators.PaymentURL, "--carrier-url", s.Simulators.CarrierURL,
	}, &result, &result)
	if status != 0 || !strings.Contains(result.String(), `"violations": []`) || !strings.Contains(result.String(), `"COMPLETED": 40`) {
		t.Errorf("check: status %d, %s, want no violations and 40 COMPLETED", status, &result)
	}
	charges, _, err := s.Parts.Payments.Charges(t.Context(), "", 100)
	currencies := map[string]int64{}
	for _, c := range charges {
		currencies[c.Currency] += c.Amount
	}
	want := map[string]int64{"JPY": 8 * 5060, "EUR": 8 * (5438 + 5901), "USD": 8 * 6688, "KWD": 8 * 26000}
	if err != nil || len(charges) != 40 || !maps.Equal(currencies, want) {
		t.Errorf("%d charges of %v, %v, want 40 with the fixtures' totals", len(charges), currencies, err)
	}
}

// TestConvertMapsSKUWithEqualsSign checks that the shop's SKU may contain =, and
// ours not.
func TestConvertMapsSKUWithEqualsSign(t *testing.T) {
	raw, err := os.ReadFile(shops + "woocommerce.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "order.json")
	if err := os.WriteFile(file, bytes.Replace(raw, []byte(`"WOO-MUG"`), []byte(`"a=b, c"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := convert(t, "--from=woocommerce", "--payment-token=tok_ok", "--sku", "a=b, c=MUG-BLUE", "--sku=other=B", file)
	if status != 0 || !strings.Contains(out, `"MUG-BLUE"`) {
		t.Errorf("status %d, %s; want an order of MUG-BLUE", status, errs)
	}
	for _, bad := range [][]string{{"--sku=MUG"}, {"--sku==MUG"}, {"--sku=a=b="}, {"--sku=a=b c"}, {"--sku=a=B", "--sku=a=C"}} {
		status, out, errs := convert(t, append(bad, "--from=woocommerce", "--payment-token=tok_ok", file)...)
		if status == 0 || out != "" || !strings.Contains(errs, "--sku") {
			t.Errorf("%s: status %d, wrote %q, and %s; want an error about --sku", bad, status, out, errs)
		}
	}
}

// TestConvertReportsDroppedFields checks the notes on standard error and in JSON.
func TestConvertReportsDroppedFields(t *testing.T) {
	status, out, errs := convert(t, "--from=shopify", "--payment-token=tok_ok", shops+"shopify.json")
	if status != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(errs, "note: tags: has no counterpart and is left out\n") {
		t.Errorf("convert: status %d, output %s, errors %s, want status 0, one line, and the note that tags is left out", status, out, errs)
	}
	status, out, errs = convert(t, "--from=shopify", shops+"shopify.json")
	refused := strings.Contains(errs, "REFUSED: payment: the shop's order has no payment token") &&
		strings.Contains(errs, "no order was written, because of the fields marked REFUSED")
	if status != 1 || out != "" || !refused {
		t.Errorf("convert: status %d, output %s, errors %s, want status 1, no output, and one field REFUSED: payment", status, out, errs)
	}
	var document struct {
		Order *order.Order
		Notes []struct {
			Field   string
			Refused bool
		}
	}
	status, out, _ = convert(t, "--from=shopify", "-ojson", shops+"shopify.json")
	if err := json.Unmarshal([]byte(out), &document); err != nil || status != 1 || document.Order != nil || len(document.Notes) == 0 {
		t.Errorf("convert -ojson: status %d, output %s (error %v), want status 1, and notes without an order", status, out, err)
	}
	status, out, _ = convert(t, "--from=woocommerce", "--payment-token=tok_ok", "-ojson", shops+"woocommerce.json")
	if err := json.Unmarshal([]byte(out), &document); err != nil || status != 0 || document.Order == nil || document.Order.OrderID != "727" {
		t.Errorf("convert -ojson: status %d, output %s (error %v), want status 0 and order 727", status, out, err)
	}
	raw, err := os.ReadFile(shops + "woocommerce.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "order.json")
	if err := os.WriteFile(file, bytes.Replace(raw, []byte(`"WOO-MUG"`), []byte(`"mug, blue; 1/2"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, errs = convert(t, "--from=woocommerce", "--payment-token=tok_ok", file)
	if status != 1 || !strings.Contains(errs, `REFUSED: line_items[1].sku: is "mug, blue; 1/2"`) {
		t.Errorf("convert: status %d, errors %s, want status 1 and the SKU of line_items[1] REFUSED", status, errs)
	}
	status, out, errs = convert(t, "--from=woocommerce", "--payment-token=tok_ok", "--sku=mug, blue; 1/2=MUG-BLUE", file)
	if status != 0 || !strings.Contains(out, `"MUG-BLUE"`) {
		t.Errorf("convert --sku: status %d, output %s, errors %s, want status 0 and the SKU MUG-BLUE", status, out, errs)
	}
	for _, args := range [][]string{{"--from=magento"}, {}, {"--from=shopify", "no-such-file"}} {
		if status, out, errs := convert(t, args...); status == 0 || out != "" || errs == "" {
			t.Errorf("convert %s: status %d, output %s, errors %s, want an error only", args, status, out, errs)
		}
	}
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.fails("read orders from", "load", "--rate=1", "--file="+shops+"../importer.go")
	s.fails("order 1: invalid order", "load", "--rate=1", "--file="+shops+"shopify.json")
}
