package sns

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFilterMatchesBodies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		policy, body string
		want         bool
	}{
		{`{"a":["x"]}`, `{"a":"x"}`, true},
		{`{"a":["x"]}`, `{"a":["y","x"]}`, true},
		{`{"a":["x"]}`, `not json`, false},
		{`{"a":["x"]}`, `["x"]`, false},
		{`{"a":[null]}`, `{"a":null}`, true},
		{`{"a":[null]}`, `{}`, false},
		{`{"a":[true]}`, `{"a":true}`, true},
		{`{"a":[1]}`, `{"a":"1"}`, false},
		{`{"a":[3.10]}`, `{"a":3.1}`, true},
		{`{"a":[{"suffix":".jpg"}]}`, `{"a":"b.jpg"}`, true},
		{`{"a":[{"equals-ignore-case":"PAID"}]}`, `{"a":"paid"}`, true},
		{`{"a":[{"cidr":"10.0.0.0/24"}]}`, `{"a":"10.0.0.9"}`, true},
		{`{"a":[{"anything-but":["x","y"]}]}`, `{"a":"z"}`, true},
		{`{"a":[{"anything-but":["x","y"]}]}`, `{"a":["z","y"]}`, false},
		{`{"a":[{"anything-but":["x"]}]}`, `{}`, false},
		{`{"a":[{"anything-but":{"prefix":"or"}}]}`, `{"a":"order"}`, false},
		{`{"a":[{"numeric":["=",300.1]}]}`, `{"a":300.10}`, true},
		{`{"a":[{"numeric":[">=",0,"<",10]}]}`, `{"a":10}`, false},
		{`{"a":[{"numeric":[">=",0,"<",10]}]}`, `{"a":"5"}`, false},
		{`{"a":[{"exists":true}]}`, `{"a":0}`, true},
		{`{"a":[{"exists":false}]}`, `{"a":0}`, false},
		{`{"a":[{"exists":true}]}`, `{"a":null}`, false}, // "must have a non-null and non-empty value"
		{`{"a":[{"exists":true}]}`, `{"a":""}`, false},
		{`{"a":[{"exists":false}]}`, `{"a":null}`, true},
		{`{"a":[{"exists":false},"x"]}`, `{"a":"x"}`, true},
		{`{"o":{"p":{"q":["x"]}}}`, `{"o":{"p":{"q":"x"}}}`, true},
		{`{"o":{"q":["x"]}}`, `{"o":[{"q":"y"},{"q":"x"}]}`, true},
		{`{"o":{"q":[{"exists":false}]}}`, `{}`, true},
		{`{"k":["x"],"$or":[{"a":["1"]},{"b":["2"]}]}`, `{"k":"x","b":"2"}`, true},
		{`{"k":["x"],"$or":[{"a":["1"]},{"b":["2"]}]}`, `{"k":"x","b":"3"}`, false},
		{`{"o":{"$or":[{"a":["1"]},{"b":["2"]}]}}`, `{"o":{"a":"1"}}`, true},
	} {
		f, err := ParseFilter(tt.policy, true)
		if err != nil {
			t.Errorf("ParseFilter(%s) failed: %v", tt.policy, err)
			continue
		}
		if got := f.MatchBody(tt.body); got != tt.want {
			t.Errorf("policy %s matches body %s = %v, want %v", tt.policy, tt.body, got, tt.want)
		}
	}
}

func TestFilterMatchesAttributes(t *testing.T) {
	t.Parallel()
	f, err := ParseFilter(`{"n":[{"numeric":[">",1]}],"s":["x"]}`, false)
	require.NoError(t, err)
	for value, want := range map[string]bool{"2": true, "1": false, "1e400": false} {
		attrs := map[string]wire.MessageAttribute{
			"n": {DataType: "Number.float", StringValue: value}, "s": {DataType: "String.Array", StringValue: `["x",1]`},
		}
		if got := f.MatchAttributes(attrs); got != want {
			t.Errorf("policy matches n = %s: %v, want %v", value, got, want)
		}
	}
}

func TestInvalidPoliciesAreRejected(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{
		``, `[]`, `{"a":"x"}`, `{"a":[]}`, `{"a":{"b":["x"]}}`, `{"a":[{"numeric":[]}]}`, `{"a":[{"numeric":["<"]}]}`,
		`{"a":[{"numeric":["<",5,">",1]}]}`, `{"a":[{"numeric":[">",5,"<",1]}]}`, `{"a":[{"numeric":["~",5]}]}`,
		`{"a":[{"prefix":1}]}`, `{"a":[{"wildcard":"x*"}]}`, `{"a":[{"exists":"yes"}]}`, `{"a":[{"prefix":"x","suffix":"y"}]}`,
		`{"a":[["x"]]}`, `{"a":["x"]} {}`, `{"a":[{"numeric":["=",1e999999999]}]}`, `{"a":[{"cidr":"10.0.0.1"}]}`,
		`{"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"],"f":["1"]}`,
	} {
		if _, err := ParseFilter(policy, false); err == nil {
			t.Errorf("ParseFilter(%s) succeeded, want an error", policy)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`{"a":["x",{"prefix":"y"}]}`, `{"a":"yes"}`)
	f.Add(`{"$or":[{"a":[{"numeric":[">",0,"<=",5]}]},{"b":{"c":[{"exists":false}]}}]}`, `{"a":3}`)
	f.Add(`{"a":[{"anything-but":[1,"x"]}]}`, `{"a":[1e5]}`)
	f.Fuzz(func(_ *testing.T, policy, body string) {
		for _, nested := range []bool{true, false} {
			filter, err := ParseFilter(policy, nested)
			if err != nil {
				continue
			}
			filter.MatchBody(body)
			filter.MatchAttributes(map[string]wire.MessageAttribute{
				"a": {DataType: "Number", StringValue: body}, "b": {DataType: "String.Array", StringValue: body},
			})
		}
	})
}
