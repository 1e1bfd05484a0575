package helm

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// source is a Go module that contains schemas, at the version that the module in within
// requires.
type source struct{ within, module, files string }

var (
	kubernetes = source{within: "../../tools/kube/kubernetes", module: "k8s.io/kubernetes", files: "api/openapi-spec/swagger.json"}
	// crds are the schemas of Dapr, KEDA and the Prometheus operator.
	crds = []source{
		{within: "../../tools/dapr", module: "github.com/dapr/dapr", files: "charts/dapr/crds/*.yaml"},
		{within: "../../tools/kube/keda", module: "github.com/kedacore/keda/v2", files: "config/crd/bases/*.yaml"},
		// No module of this repository requires it.
		{
			within: ".", module: "github.com/prometheus-operator/prometheus-operator@v0.88.0",
			files: "example/prometheus-operator-crd/*.yaml",
		},
	}
)

// glob returns the module's schema files. It downloads the module if it is not in the
// module cache.
func (s source) glob(t *testing.T) []string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", s.module)
	c.Dir = s.within
	out, err := c.Output()
	var module struct{ Dir, Error string }
	if bad := json.Unmarshal(out, &module); err != nil || bad != nil {
		testkit.SkipOrFail(t, fmt.Sprintf("%s cannot be downloaded: %v %s", s.module, err, module.Error))
	}
	found, err := filepath.Glob(filepath.Join(module.Dir, filepath.FromSlash(s.files)))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s has no files %s, want at least one (error %v)", module.Dir, s.files, err)
	}
	return found
}

type schema = map[string]any

// strict converts an OpenAPI schema to a JSON Schema that allows no unknown fields.
func strict(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			strict(e)
		}
	case schema:
		for _, e := range v {
			strict(e)
		}
		_, fields := v["properties"].(schema)
		_, more := v["additionalProperties"]
		if fields && !more && v["x-kubernetes-preserve-unknown-fields"] != true {
			v["additionalProperties"] = false
		}
		if v["x-kubernetes-int-or-string"] == true || v["format"] == "int-or-string" {
			v["type"] = []any{"integer", "string"}
			delete(v, "format")
		}
		if kind, ok := v["type"].(string); ok && v["nullable"] == true {
			v["type"] = []any{kind, "null"}
		}
	}
}

const objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

// writeSchemas writes a JSON schema for each kind to a folder. It returns their location
// in kubeconform's template syntax.
func writeSchemas(t *testing.T, dir string) (location string) {
	t.Helper()
	var api struct {
		Definitions map[string]schema `json:"definitions"`
	}
	b, err := os.ReadFile(kubernetes.glob(t)[0])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &api))
	for _, d := range api.Definitions {
		strict(d)
	}
	write := func(group, version, kind string, root schema, names ...string) {
		root["definitions"] = reachable(api.Definitions, names...)
		b, err := json.Marshal(root)
		require.NoError(t, err)
		if group == "" {
			group = version
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s_%s_%s.json", group, version, strings.ToLower(kind))), b, 0o600))
	}
	for name, d := range api.Definitions {
		of, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(of) != 1 { // others are options of requests
			continue
		}
		gvk := of[0].(schema)
		write(gvk["group"].(string), gvk["version"].(string), gvk["kind"].(string), schema{"$ref": "#/definitions/" + name}, name)
	}
	for _, s := range crds {
		for _, file := range s.glob(t) {
			var crd struct {
				Spec struct {
					Group string
					Names struct{ Kind string }

					Versions []struct {
						Name   string
						Schema struct {
							OpenAPIV3Schema schema `yaml:"openAPIV3Schema"`
						}
					}
				}
			}
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, yaml.Unmarshal(b, &crd))
			for _, v := range crd.Spec.Versions {
				root := v.Schema.OpenAPIV3Schema
				fields := root["properties"].(schema)
				fields["metadata"] = schema{"$ref": "#/definitions/" + objectMeta}
				fields["apiVersion"], fields["kind"] = schema{"type": "string"}, schema{"type": "string"}
				strict(root)
				write(crd.Spec.Group, v.Name, crd.Spec.Names.Kind, root, objectMeta)
			}
		}
	}
	return filepath.Join(dir, "{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json")
}

// reachable returns the named definitions and everything that they refer to.
func reachable(all map[string]schema, names ...string) map[string]schema {
	some := map[string]schema{}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				visit(e)
			}
		case schema:
			if ref, ok := v["$ref"].(string); ok {
				name := strings.TrimPrefix(ref, "#/definitions/")
				if _, seen := some[name]; !seen {
					some[name] = all[name]
					visit(all[name])
				}
			}
			for _, e := range v {
				visit(e)
			}
		}
	}
	for _, name := range names {
		visit(schema{"$ref": "#/definitions/" + name})
	}
	return some
}

// TestRenderedChartMatchesSchemas validates the rendered chart against the schemas of Kubernetes, Dapr, KEDA
// and the Prometheus operator. Broken manifests must fail.
func TestRenderedChartMatchesSchemas(t *testing.T) {
	t.Parallel()
	kubeconform := testkit.Pinned(t, "kubeconform", "helm")
	location := writeSchemas(t, t.TempDir())
	conform := func(manifests string) (string, error) {
		c := exec.CommandContext(t.Context(), kubeconform, "-strict", "-summary", "-schema-location", location, "-")
		c.Stdin = strings.NewReader(manifests)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		out, err := conform(render(t, cases[name]...))
		if err != nil {
			t.Errorf("%s does not conform: %v\n%s", name, err, out)
		}
		t.Logf("%s: %s", name, out)
	}
	all := render(t, cases["production"]...)
	for _, c := range []struct{ from, to, want string }{
		{"terminationGracePeriodSeconds:", "terminationGraceSeconds:", "Deployment ordersaga-api is invalid"},
		{"cooldownPeriod: 300", "cooldown: 300", "ScaledObject ordersaga-worker is invalid"},
		{"pollingInterval: 15", "pollingInterval: often", "ScaledObject ordersaga-worker is invalid"},
		{"provider: aws", "provider: amazon", "TriggerAuthentication ordersaga-worker is invalid"},
		{"  pubsubname:", "  pubsub:", "Subscription shipments is invalid"},
		{"    retries:", "    fuses:", "Resiliency ordersaga is invalid"},
		{"samplingRate:", "sampling:", "Configuration ordersaga is invalid"},
		{"- envRef: AWS_REGION", "- env: AWS_REGION", "Component cursorstore is invalid"},
		{"path: /metrics", "paths: /metrics", "ServiceMonitor ordersaga-monitoring is invalid"},
		{"kind: ConfigMap", "kind: Config", "could not find schema for Config"},
	} {
		broken := strings.ReplaceAll(all, c.from, c.to)
		if out, err := conform(broken); broken == all || err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%q in place of %q: error %v, want %q in\n%s", c.to, c.from, err, c.want, out)
		}
	}
}
