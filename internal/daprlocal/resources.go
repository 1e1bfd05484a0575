package daprlocal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// kinds lists the resource kinds that a sidecar reads
// (https://docs.dapr.io/reference/resource-specs/).
var kinds = []string{"Component", "Configuration", "HTTPEndpoint", "MCPServer", "Resiliency", "Subscription", "WorkflowAccessPolicy"}

// versions lists the API versions of Dapr's kinds.
var versions = []string{"v1alpha1", "v2alpha1"}

// resource has the checked part of a file. daprd reports faults of the rest.
type resource struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec yaml.Node `yaml:"spec"`
}

type componentSpec struct {
	Type     string `yaml:"type"`
	Metadata []struct {
		Name   string `yaml:"name"`
		Value  string `yaml:"value"`
		EnvRef string `yaml:"envRef"`
	} `yaml:"metadata"`
}

// keepsWorkflows reports whether a state store is configured to keep workflows. It
// may be able to without being configured to.
func (c componentSpec) keepsWorkflows() bool {
	for _, m := range c.Metadata {
		if on, err := strconv.ParseBool(m.Value); strings.EqualFold(m.Name, "actorStateStore") && err == nil && on {
			return true
		}
	}
	return false
}

type resiliency struct {
	Policies struct {
		Timeouts        map[string]any `yaml:"timeouts"`
		Retries         map[string]any `yaml:"retries"`
		CircuitBreakers map[string]any `yaml:"circuitBreakers"`
	} `yaml:"policies"`
	Targets struct {
		Apps       map[string]policies `yaml:"apps"`
		Actors     map[string]policies `yaml:"actors"`
		Components map[string]struct {
			Outbound policies `yaml:"outbound"`
			Inbound  policies `yaml:"inbound"`
		} `yaml:"components"`
	} `yaml:"targets"`
}

type policies struct {
	Timeout        string `yaml:"timeout"`
	Retry          string `yaml:"retry"`
	CircuitBreaker string `yaml:"circuitBreaker"`
}

// checkResources returns an error for what daprd ignores silently in folders of
// resources: an unknown kind or version, a resiliency target with a missing policy
// or component, a subscription to a missing pub/sub. If the folders are whole, that
// is, all that the sidecar reads, they must also have a state store that keeps
// workflows. hidden is the file of that store if it contains an envRef: programs
// without the sidecars' environment cannot read it.
func checkResources(folders []string, whole bool) (hidden string, err error) {
	c := checker{known: map[string]bool{}}
	for _, folder := range folders {
		files, _ := filepath.Glob(filepath.Join(folder, "*.y*ml")) // its only error is a bad pattern
		for _, file := range files {
			if err := c.file(file); err != nil {
				return "", fmt.Errorf("read the Dapr resources in %s: %w", file, err)
			}
		}
	}
	var faults []string
	for _, u := range c.used {
		if !whole && strings.HasPrefix(u.what, "component ") {
			continue
		}
		if !c.known[u.what] && !strings.Contains(u.what, " DaprBuiltIn") {
			faults = append(faults, fmt.Sprintf("Dapr resources in %s: %s needs the %s, which does not exist", u.file, u.by, u.what))
		}
	}
	if whole && !c.keepsWorkflows {
		faults = append(faults, fmt.Sprintf("Dapr resources in %s: no state store has the metadata actorStateStore: \"true\", "+
			"so none keeps workflows", strings.Join(folders, ", ")))
	}
	if len(faults) > 0 {
		return "", errors.New(slices.Min(faults))
	}
	return c.hidden, nil
}

// checker collects the resiliency policies and components of all files, and the
// references to them.
type checker struct {
	known          map[string]bool // policies and components, as "kind name"
	used           []use
	keepsWorkflows bool   // one of the state stores does
	hidden         string // see checkResources
}

// use is a reference to a policy or component.
type use struct{ what, by, file string }

func (c *checker) file(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	for d := yaml.NewDecoder(f); ; {
		var r resource
		if d.Decode(&r) != nil { // the end of the file, or a fault that daprd reports
			return nil
		}
		if strings.HasPrefix(r.APIVersion, "dapr.io/") && !slices.Contains(kinds, r.Kind) {
			return fmt.Errorf("kind %q is none of %s", r.Kind, strings.Join(kinds, ", "))
		}
		if v, is := strings.CutPrefix(r.APIVersion, "dapr.io/"); is && !slices.Contains(versions, v) {
			return fmt.Errorf("apiVersion dapr.io/%s is none of %s", v, strings.Join(versions, ", "))
		}
		switch r.Kind {
		case "Component":
			c.component(file, r)
		case "Subscription":
			c.subscription(file, r)
		case "Resiliency":
			c.resiliency(file, r)
		}
	}
}

func (c *checker) component(file string, r resource) {
	c.known["component "+r.Metadata.Name] = true
	var spec componentSpec
	if r.Spec.Decode(&spec) == nil && strings.HasPrefix(spec.Type, "state.") && spec.keepsWorkflows() {
		c.keepsWorkflows = true
		for _, m := range spec.Metadata {
			if m.EnvRef != "" {
				c.hidden = file
			}
		}
	}
}

func (c *checker) subscription(file string, r resource) {
	var spec struct {
		PubSub string `yaml:"pubsubname"`
	}
	if r.Spec.Decode(&spec) == nil {
		c.used = append(c.used, use{what: "component " + spec.PubSub, by: "subscription " + r.Metadata.Name, file: file})
	}
}

func (c *checker) resiliency(file string, r resource) {
	var spec resiliency
	if r.Spec.Decode(&spec) != nil { // daprd reports the fault
		return
	}
	define := func(kind string, policies map[string]any) {
		for name := range policies {
			c.known[kind+" "+name] = true
		}
	}
	define("timeout", spec.Policies.Timeouts)
	define("retry", spec.Policies.Retries)
	define("circuit breaker", spec.Policies.CircuitBreakers)
	reference := func(what, name, target string) {
		if name != "" {
			c.used = append(c.used, use{what: what + " " + name, by: target, file: file})
		}
	}
	uses := func(target string, p policies) {
		reference("timeout", p.Timeout, target)
		reference("retry", p.Retry, target)
		reference("circuit breaker", p.CircuitBreaker, target)
	}
	for name, p := range spec.Targets.Apps {
		uses("app "+name, p)
	}
	for name, p := range spec.Targets.Actors {
		uses("actor "+name, p)
	}
	for name, p := range spec.Targets.Components {
		reference("component", name, "a resiliency target")
		uses("component "+name, p.Outbound)
		uses("component "+name, p.Inbound)
	}
}
