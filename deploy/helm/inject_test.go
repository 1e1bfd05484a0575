package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// object is any rendered object, with the fields that the tests below read.
type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Scopes   []string
	Spec     struct {
		Metadata []struct {
			EnvRef string `yaml:"envRef"`
		}
		Template struct {
			Metadata map[string]any
			Spec     map[string]any
		}
	}
}

type pod struct {
	Spec struct {
		TerminationGracePeriodSeconds int
		InitContainers, Containers    []container
	}
}

type container struct {
	Name, RestartPolicy string
	Args                []string
	Env                 []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct{ Name, Key string }
		}
	}
}

// env returns a variable's value, or the secret and key that it comes from.
func (c container) env(name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return strings.Trim(e.Value+" "+e.ValueFrom.SecretKeyRef.Name+" "+e.ValueFrom.SecretKeyRef.Key, " ")
		}
	}
	return ""
}

// TestInjectedSidecarsMatchSchemasAndApps runs the injector of the real Dapr on the chart's pods. The sidecars must
// match the schemas of Kubernetes, their apps, and the components that they load.
func TestInjectedSidecarsMatchSchemasAndApps(t *testing.T) {
	t.Parallel()
	inject := testkit.Pinned(t, "dapr-inject", "helm")
	kubeconform := testkit.Pinned(t, "kubeconform", "helm")
	location := writeSchemas(t, t.TempDir())
	tokens := map[string]string{"first": "", "production": "ordersaga-dapr-api-token token", "elsewhere": "dapr-token token"}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		all := decode(t, render(t, cases[name]...))
		if !slices.ContainsFunc(all, func(o object) bool { return o.Metadata.Name == "ordersaga-worker" && o.Kind == "Deployment" }) {
			t.Errorf("%s: the chart renders no Deployment ordersaga-worker, want one", name)
		}
		for _, o := range all {
			if o.Kind != "Deployment" {
				continue
			}
			t.Run(name+"/"+o.Metadata.Name, func(t *testing.T) {
				t.Parallel()
				raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": named(o), "spec": o.Spec.Template.Spec})
				require.NoError(t, err)
				injected := pipe(t, raw, inject)
				pipe(t, injected, kubeconform, "-strict", "-schema-location", location, "-")
				var p pod
				require.NoError(t, json.Unmarshal(injected, &p))
				side, app := p.sidecar(t, name != "elsewhere")
				check := func(what, got, want string) {
					if got != want {
						t.Errorf("%s = %q, want %q", what, got, want)
					}
				}
				id := side.flag("--app-id")
				check("configuration", side.flag("--config"), "ordersaga")
				if id == "ordersaga" {
					check("the worker's token", app.env("ORDERSAGA_DAPR_API_TOKEN"), tokens[name])
					check("port", side.flag("--app-port"), "")
					p.outlasts(t, side, app)
				} else {
					check("port", ":"+side.flag("--app-port"), app.env("ORDERSAGA_LISTEN"))
				}
				check("the sidecar's token", side.env("DAPR_API_TOKEN"), tokens[name])
				check("the app's token", app.env("ORDERSAGA_APP_API_TOKEN"), side.env("APP_API_TOKEN"))
				// A component may refer only to variables from the annotation.
				may := strings.Fields(side.env("DAPR_ENV_KEYS"))
				for _, c := range all {
					for _, m := range c.Spec.Metadata {
						if c.Kind == "Component" && slices.Contains(c.Scopes, id) && m.EnvRef != "" && !slices.Contains(may, m.EnvRef) {
							t.Errorf("component %s refers to %s, want a variable of the sidecar of %s: %v", c.Metadata.Name, m.EnvRef, id, may)
						}
					}
				}
			})
		}
	}
}

// named returns the pod's metadata with the name and namespace that its controller sets.
func named(o object) map[string]any {
	m := maps.Clone(o.Spec.Template.Metadata)
	m["name"], m["namespace"] = o.Metadata.Name+"-x", o.Metadata.Namespace
	return m
}

func (p pod) sidecar(t *testing.T, native bool) (side, app container) {
	t.Helper()
	where := p.Spec.Containers
	if native {
		where = p.Spec.InitContainers
	}
	at := slices.IndexFunc(where, func(c container) bool { return c.Name == "daprd" })
	if at < 0 || (where[at].RestartPolicy == "Always") != native {
		t.Fatalf("pod has no daprd with the expected restart policy: %+v", p.Spec)
	}
	return where[at], p.Spec.Containers[0]
}

// outlasts checks that the pod's grace period is longer than the worker's shutdown
// timeout. A sidecar that stops at the same time as the worker must wait for it too.
func (p pod) outlasts(t *testing.T, side, app container) {
	t.Helper()
	drain, err := time.ParseDuration(app.env("ORDERSAGA_SHUTDOWN_TIMEOUT"))
	require.NoError(t, err)
	if grace := time.Duration(p.Spec.TerminationGracePeriodSeconds) * time.Second; grace < drain+10*time.Second {
		t.Errorf("the pod is killed after %s, want at least 10s more than the shutdown timeout of %s", grace, drain)
	}
	if side.RestartPolicy == "Always" { // native: it stops after the worker
		return
	}
	if stays, err := time.ParseDuration(side.flag("--dapr-block-shutdown-duration")); err != nil || stays < drain {
		t.Errorf("the sidecar stops after %s, want at least the shutdown timeout of %s (error %v)", stays, drain, err)
	}
}

func (c container) flag(name string) string {
	if i := slices.Index(c.Args, name); i >= 0 {
		return c.Args[i+1]
	}
	return ""
}

func decode(t *testing.T, manifests string) (all []object) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(manifests)); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil && strings.Contains(err.Error(), "cannot unmarshal") { // another kind has another type there
			continue
		}
		require.NoError(t, err)
		all = append(all, o)
	}
}

func pipe(t *testing.T, in []byte, program string, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.CommandContext(t.Context(), program, args...)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s failed: %v; output:\n%s%s\ninput:\n%s", program, err, out.String(), errs.String(), in)
	}
	return out.Bytes()
}
