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

// kinds are those of https://docs.dapr.io/reference/resource-specs/ that a
// sidecar reads.
var kinds = []string{"Component", "Configuration", "HTTPEndpoint", "MCPServer", "Resiliency", "Subscription", "WorkflowAccessPolicy"}

// versions of Dapr's kinds.
var versions = []string{"v1alpha1", "v2alpha1"}

// resource is what is checked of a file. What is wrong with the rest of it
// daprd says.
type resource struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec yaml.Node `yaml:"spec"`
}

type component struct {
	Type     string `yaml:"type"`
	Metadata []struct {
		Name   string `yaml:"name"`
		Value  string `yaml:"value"`
		EnvRef string `yaml:"envRef"`
	} `yaml:"metadata"`
}

// keepsWorkflows is for a state store: it can be one that keeps them and not be
// told to.
func (c component) keepsWorkflows() bool {
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

// check finds in folders of resources what daprd passes over without a word: a
// kind or version that it does not know, a target that wants a policy or is a
// component that is not there, a subscription to a pub/sub that is not there. Folders that
// are a whole have a state store that keeps workflows, too. The file whose store
// does with an envRef in it is hidden from programs without the sidecars'
// environment.
func check(folders []string, whole bool) (hidden string, err error) {
	c := checker{known: map[string]bool{}}
	for _, folder := range folders {
		files, _ := filepath.Glob(filepath.Join(folder, "*.y*ml")) // its only error is a bad pattern
		for _, file := range files {
			if err := c.file(file); err != nil {
				return "", fmt.Errorf("Dapr resources in %s: %w", file, err)
			}
		}
	}
	var faults []string
	for _, u := range c.used {
		if !whole && strings.HasPrefix(u.what, "component ") {
			continue
		}
		if !c.known[u.what] && !strings.Contains(u.what, " DaprBuiltIn") {
			faults = append(faults, fmt.Sprintf("Dapr resources in %s: %s wants the %s, which is not there", u.file, u.by, u.what))
		}
	}
	if whole && !c.keepsWorkflows {
		faults = append(faults, fmt.Sprintf("Dapr resources in %s: no state store has the metadata actorStateStore: \"true\", so that none keeps workflows", strings.Join(folders, ", ")))
	}
	if len(faults) > 0 {
		return "", errors.New(slices.Min(faults))
	}
	return c.hidden, nil
}

// checker has the resiliency policies and components of all files, each with its
// kind before its name, and the uses of them.
type checker struct {
	known          map[string]bool
	used           []use
	keepsWorkflows bool
	hidden         string
}

type use struct{ what, by, file string }

func (c *checker) file(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	for d := yaml.NewDecoder(f); ; {
		var r resource
		if d.Decode(&r) != nil { // it has ended; or daprd says what is wrong
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
	var spec component
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
		c.used = append(c.used, use{"component " + spec.PubSub, "subscription " + r.Metadata.Name, file})
	}
}

func (c *checker) resiliency(file string, r resource) {
	var spec resiliency
	if r.Spec.Decode(&spec) != nil { // daprd says what is wrong
		return
	}
	for kind, names := range map[string]map[string]any{"timeout": spec.Policies.Timeouts, "retry": spec.Policies.Retries, "circuit breaker": spec.Policies.CircuitBreakers} {
		for name := range names {
			c.known[kind+" "+name] = true
		}
	}
	uses := func(target string, p policies) {
		for kind, name := range map[string]string{"timeout": p.Timeout, "retry": p.Retry, "circuit breaker": p.CircuitBreaker} {
			if name != "" {
				c.used = append(c.used, use{kind + " " + name, target, file})
			}
		}
	}
	for name, p := range spec.Targets.Apps {
		uses("app "+name, p)
	}
	for name, p := range spec.Targets.Actors {
		uses("actor "+name, p)
	}
	for name, p := range spec.Targets.Components {
		c.used = append(c.used, use{"component " + name, "a resiliency target", file})
		uses("component "+name, p.Outbound)
		uses("component "+name, p.Inbound)
	}
}
