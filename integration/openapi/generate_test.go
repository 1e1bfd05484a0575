package openapi

import (
	"flag"
	"os"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oapi-codegen/oapi-codegen/v2/pkg/codegen"
)

var update = flag.Bool("update", false, "write the generated client anew")

const generated = "client_gen_test.go"

// TestClientIsGenerated: the client in this package is what oapi-codegen makes
// of the document as it is served now.
func TestClientIsGenerated(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(served(t, newSystem(t)))
	if err != nil {
		t.Fatal(err)
	}
	code, err := codegen.Generate(doc, codegen.Configuration{
		PackageName: "openapi", Generate: codegen.GenerateOptions{Client: true, Models: true},
		OutputOptions: codegen.OutputOptions{ResponseTypeSuffix: "Result", SkipResponseBodyGetters: true, SkipClientResponseContentType: true, SkipEnumValidate: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(generated, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if was, err := os.ReadFile(generated); err != nil || string(was) != code {
		t.Errorf("%s is not what the document says (%v): go test ./integration/openapi -run TestClientIsGenerated -update", generated, err)
	}
}
