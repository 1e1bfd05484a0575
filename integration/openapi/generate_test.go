package openapi

import (
	"flag"
	"os"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oapi-codegen/oapi-codegen/v2/pkg/codegen"
)

var update = flag.Bool("update", false, "write the generated client")

const generated = "client_gen_test.go"

// TestClientIsGenerated checks that the client in this package is what oapi-codegen
// generates from the current document.
func TestClientIsGenerated(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(served(t, newSystem(t)))
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	code, err := codegen.Generate(doc, codegen.Configuration{
		PackageName: "openapi", Generate: codegen.GenerateOptions{Client: true, Models: true},
		OutputOptions: codegen.OutputOptions{
			ResponseTypeSuffix: "Result", SkipResponseBodyGetters: true,
			SkipClientResponseContentType: true, SkipEnumValidate: true,
		},
	})
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	if *update {
		if err := os.WriteFile(generated, []byte(code), 0o600); err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
	}
	if was, err := os.ReadFile(generated); err != nil || string(was) != code {
		t.Errorf("%s differs (error %v), want what the document generates: go test ./integration/openapi -run TestClientIsGenerated -update",
			generated, err)
	}
}
