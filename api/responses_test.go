package api

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// rowOnly are the fields of an order's row that are in no response.
var rowOnly = []string{
	"Refunding", "Queued", "Restored", "Resolution", "GivenUp", "Terminated", "Token", "IdleUntil", "Settled", "Trace", "Fingerprint",
	"Content", "Created", "Updated", "Placed", "StatusShard", "TimeShard",
}

// structs calls visit for t and for every struct type that a value of t can contain.
func structs(t reflect.Type, seen map[reflect.Type]bool, visit func(reflect.Type)) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		structs(t.Elem(), seen, visit)
	case reflect.Map:
		structs(t.Key(), seen, visit)
		structs(t.Elem(), seen, visit)
	case reflect.Struct:
		visit(t)
		for field := range t.Fields() {
			structs(field.Type, seen, visit)
		}
	default:
	}
}

// TestNoResponseTypeHasATokenOrIsARow visits every type that is reachable from the
// response of an operation: the examples have one of each.
func TestNoResponseTypeHasATokenOrIsARow(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	for _, example := range examples() {
		if example.out == nil {
			continue
		}
		structs(reflect.TypeOf(example.out), seen, func(s reflect.Type) {
			if strings.HasSuffix(s.PkgPath(), "/internal/orderstore") || strings.HasSuffix(s.PkgPath(), "/internal/fleet") {
				t.Errorf("a response contains the row %s, want a type of package api", s)
			}
			for f := range s.Fields() {
				if strings.Contains(strings.ToLower(f.Name+f.Tag.Get("json")), "token") {
					t.Errorf("%s.%s is in a response, want no field with token in its name", s, f.Name)
				}
			}
		})
	}
	for _, want := range []reflect.Type{
		reflect.TypeFor[Saga](), reflect.TypeFor[Note](), reflect.TypeFor[Overview](),
		reflect.TypeFor[Level](),
	} {
		if !seen[want] {
			t.Errorf("%s was not visited, want it checked too", want)
		}
	}
	if seen[reflect.TypeFor[order.Payment]()] {
		t.Error("order.Payment, which has the token, is in a response, want it in none")
	}
}

// TestSagaHasEveryFieldOfTheRowThatIsNotRowOnly fails for a new field of the row until
// it is in one of both lists.
func TestSagaHasEveryFieldOfTheRowThatIsNotRowOnly(t *testing.T) {
	t.Parallel()
	row, response := reflect.TypeFor[orderstore.Record](), reflect.TypeFor[Saga]()
	for field := range row.Fields() {
		name := field.Name
		_, has := response.FieldByName(name)
		if only := slices.Contains(rowOnly, name); has == only {
			t.Errorf("field %s of the row: in the response = %t, row only = %t, want exactly one of them", name, has, only)
		}
	}
	for f := range response.Fields() {
		if slices.Contains(rowOnly, f.Name) {
			t.Errorf("%s of a row is in the response, want it left out", f.Name)
		}
	}
}

// TestResponsesHaveTheValuesOfTheirRows fills rows by reflection and compares field by
// field.
func TestResponsesHaveTheValuesOfTheirRows(t *testing.T) {
	t.Parallel()
	var rec orderstore.Record
	var level orderstore.Level
	var note orderstore.Note
	for _, row := range []any{&rec, &level, &note} {
		fill(reflect.ValueOf(row).Elem())
	}
	rec.CreatedAt, rec.UpdatedAt = time.Unix(1, 0), time.Unix(2, 0)
	saga := toSaga(rec)
	same(t, rec, saga)
	same(t, note, toNote(note))
	same(t, level, toLevel(level))
	if got := toCount(orderstore.Count{N: 7, More: true}); got != (Count{N: 7, More: true}) {
		t.Errorf("count = %v, want 7 or more", got)
	}
	if len(saga.Notes) != len(rec.Notes) || saga.Notes[0] != toNote(rec.Notes[0]) {
		t.Errorf("notes = %v, want %v", saga.Notes, rec.Notes)
	}
	b, err := json.Marshal(saga)
	if err != nil {
		t.Fatalf("encode the saga: %v", err)
	}
	if strings.Contains(string(b), rec.Token) {
		t.Errorf("the saga contains the token %q, want it left out: %s", rec.Token, b)
	}
}

// same compares the fields of a row and of its response that have the same name and type.
func same(t *testing.T, row, response any) {
	t.Helper()
	from, to := reflect.ValueOf(row), reflect.ValueOf(response)
	compared := 0
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		want := from.FieldByName(name)
		if !want.IsValid() || want.Type() != to.Field(i).Type() {
			continue
		}
		compared++
		if got := to.Field(i).Interface(); !reflect.DeepEqual(got, want.Interface()) {
			t.Errorf("%T.%s = %v, want %v as in the row", response, name, got, want)
		}
	}
	if compared < 4 {
		t.Errorf("%T: compared %d fields with the row, want most of them", response, compared)
	}
}

// fill sets every exported field to a value that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("v-" + v.Type().Name())
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				name := v.Type().Field(i).Name
				fill(v.Field(i))
				if v.Field(i).Kind() == reflect.String {
					v.Field(i).SetString("v-" + name)
				}
			}
		}
	default:
	}
}
