package events

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

var update = flag.Bool("update", false, "write the golden files and schemas in testdata")

// contract is an event with its example, the content of its golden file. variants are further
// events that its schema must accept. parse decodes the example as ordersaga does; it is nil
// for an event that ordersaga only publishes.
type contract struct {
	example  any
	variants []any
	parse    func(raw []byte) (any, error)
}

func contracts() map[string]contract {
	total := int64(4288)
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	address := &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "10115", Country: "DE"}
	placed := order.Order{
		SpecVersion: order.SpecVersion, OrderID: "o-1042", CustomerID: "c-7", Currency: "EUR",
		Lines:    []order.Line{{SKU: "SKU-1", Quantity: 2, UnitPrice: 1999}},
		Shipping: 490, Discount: 200, Agreed: &total,
		Payment: order.Payment{Token: "tok_ok"}, ShipTo: address, PlacedAt: at,
	}
	answer := func(raw []byte) (any, error) { return ParseCarrierAnswer(Event{Payload: raw, Kind: EnvelopeNone}) }
	return map[string]contract{
		"OrderPlaced": {
			example: OrderPlaced{Type: TypeOrderPlaced, Order: placed},
			parse: func(raw []byte) (any, error) {
				o, err := order.Parse(raw)
				return OrderPlaced{Type: TypeOrderPlaced, Order: o}, err
			},
		},
		"ShipmentRequested": {example: ShipmentRequest{
			SpecVersion: SpecVersion, Type: TypeShipmentRequested, ShipmentID: "shp-o-1042", OrderID: "o-1042",
			Lines: placed.Demand(), ShipTo: address,
		}, variants: []any{ShipmentRequest{
			SpecVersion: SpecVersion, Type: TypeShipmentRequested, ShipmentID: "shp-o-1042", OrderID: "o-1042", Lines: placed.Demand(),
		}}},
		"ShipmentDispatched": {parse: answer, example: CarrierAnswer{
			SpecVersion: SpecVersion, Type: TypeShipmentDispatched, ShipmentID: "shp-o-1042", OrderID: "o-1042", TrackingID: "trk-1",
		}},
		"ShipmentRefused": {parse: answer, example: CarrierAnswer{
			SpecVersion: SpecVersion, Type: TypeShipmentRefused, ShipmentID: "shp-o-1042", OrderID: "o-1042",
			Reason: "no delivery to islands",
		}},
		"CustomerNotification": {example: Notification{
			SpecVersion: SpecVersion, NotificationID: "o-1042-rejected", Type: NotifyRejected, OrderID: "o-1042", CustomerID: "c-7",
			ReasonCode: ReasonOutOfStock, Reason: ReasonOutOfStock.Text(),
		}, variants: notifications()},
		"StockAdjusted": {
			example: StockAdjusted{
				SpecVersion: SpecVersion, Type: TypeStockAdjusted, EventID: "dn-2231", Reason: Delivery,
				Lines: []StockLine{{SKU: "SKU-1", Quantity: 250}}, Reference: "delivery note 2231", OccurredAt: at,
			},
			parse: func(raw []byte) (any, error) { return ParseStockAdjusted(raw, "") },
		},
		"StockChanged": {example: StockChanged{
			SpecVersion: SpecVersion, Type: TypeStockChanged, EventID: "dn-2231/SKU-1", Cause: "dn-2231", Reason: Delivery,
			SKU: "SKU-1", Change: 250, Available: 262, Reserved: 3,
		}},
		"LowStock": {example: LowStock{
			SpecVersion: SpecVersion, Type: TypeLowStock, EventID: "dn-2232/SKU-1/low", Cause: "dn-2232",
			SKU: "SKU-1", Available: 4, Threshold: 10,
		}},
	}
}

// notifications returns one notification of each kind.
func notifications() []any {
	var all []any
	for _, kind := range []NotificationKind{
		NotifyConfirmed, NotifyRejected, NotifyDeclined, NotifyCancelled, NotifyDelayed, NotifyRefunded, NotifyFailed,
	} {
		all = append(all, Notification{
			SpecVersion: SpecVersion, NotificationID: "o-1042-" + string(kind), Type: kind, OrderID: "o-1042", CustomerID: "c-7",
		})
	}
	return all
}

// The golden files are the wire format, version 1. A change that breaks one of them breaks
// producers or consumers, and needs a new version. go test ./internal/events -update writes them.
func TestEventsMatchTheirGoldenFilesAndSchemas(t *testing.T) {
	t.Parallel()
	for name, c := range contracts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			event := golden(t, name+".v1.json", c.example)
			compiled := compile(t, golden(t, name+".v1.schema.json", schema(t, name, reflect.TypeOf(c.example))))
			require.NoError(t, compiled.Validate(decoded(t, event)))
			for _, v := range c.variants {
				b, err := json.Marshal(v)
				require.NoError(t, err)
				err = compiled.Validate(decoded(t, b))
				if err != nil {
					t.Errorf("schema rejects %s: %v", b, err)
				}
			}
			other := bytes.Replace(event, []byte(`"specVersion": 1`), []byte(`"specVersion": 2`), 1)
			if compiled.Validate(decoded(t, other)) == nil {
				t.Errorf("schema accepts %s, want an error about specVersion", other)
			}
			if c.parse == nil {
				return
			}
			got, err := c.parse(event)
			require.NoError(t, err)
			if !reflect.DeepEqual(got, c.example) {
				t.Errorf("parsed golden file = %+v, want %+v", got, c.example)
			}
		})
	}
}

func TestEveryGoldenFileBelongsToAnEvent(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		_, ok := contracts()[name]
		if !ok {
			t.Errorf("no event has the file %s, want every golden file to belong to one", file)
		}
	}
}

func TestEveryEventIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/events.md")
	require.NoError(t, err)
	for name := range contracts() {
		for _, file := range []string{name + ".v1.schema.json", name + ".v1.json"} {
			if !bytes.Contains(page, []byte("(../internal/events/testdata/"+file+")")) {
				t.Errorf("docs/events.md has no link to %s, want one", file)
			}
		}
	}
}

// golden returns the content of a file in testdata, and fails the test if it is not v in JSON.
// With -update it writes the file first.
func golden(t *testing.T, file string, v any) []byte {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	got = append(got, '\n')
	path := filepath.Join("testdata", file)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %s, want %s; run go test ./internal/events -update", file, got, want)
	}
	return want
}

func decoded(t *testing.T, raw []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	return v
}

func compile(t *testing.T, raw []byte) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource("event.json", decoded(t, raw)))
	compiled, err := compiler.Compile("event.json")
	require.NoError(t, err)
	return compiled
}

// schema returns the JSON Schema of an event, from its Go type. Receivers ignore unknown
// fields, so the schema accepts them, except in OrderPlaced: there they are rejected, and
// metadata is for the producer's own use.
func schema(t *testing.T, name string, event reflect.Type) map[string]any {
	t.Helper()
	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	root := huma.SchemaFromType(registry, event)
	defs := registry.Map()
	if name == TypeOrderPlaced {
		root.Properties["metadata"] = &huma.Schema{
			Type: huma.TypeObject, AdditionalProperties: true, Description: "For the producer's own use. Neither read nor stored.",
		}
	} else {
		root.AdditionalProperties = nil
		for _, def := range defs {
			def.AdditionalProperties = nil
		}
	}
	switch name {
	case TypeShipmentDispatched, TypeShipmentRefused: // both are a CarrierAnswer
		root.Properties["type"].Enum = []any{name}
	case TypeShipmentRequested:
		shipTo := root.Properties["shipTo"]
		root.Properties["shipTo"] = &huma.Schema{
			AnyOf: []*huma.Schema{{Ref: shipTo.Ref}, {Type: "null"}}, Description: shipTo.Description,
		}
	}
	b, err := json.Marshal(root)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(b, &fields))
	fields["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	fields["title"] = name + ", version 1"
	if len(defs) > 0 {
		fields["$defs"] = defs
	}
	return fields
}
