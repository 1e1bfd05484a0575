package daprlocal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// kinds are those of https://docs.dapr.io/reference/resource-specs/ that a
// sidecar reads.
var kinds = []string{"Component", "Configuration", "HTTPEndpoint", "MCPServer", "Resiliency", "Subscription", "WorkflowAccessPolicy"}

// resource is what is checked of a file. What is wrong with the rest of it
// daprd says.
type resource struct {
	APIVersion string    `yaml:"apiVersion"`
	Kind       string    `yaml:"kind"`
	Spec       yaml.Node `yaml:"spec"`
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
// kind that it does not know, and a target of a policy that is not there.
func check(folders []string) error {
	c := checker{known: map[string]bool{}}
	for _, folder := range folders {
		files, _ := filepath.Glob(filepath.Join(folder, "*.y*ml")) // its only error is a bad pattern
		for _, file := range files {
			if err := c.file(file); err != nil {
				return fmt.Errorf("Dapr resources in %s: %w", file, err)
			}
		}
	}
	var faults []string
	for _, u := range c.used {
		if !c.known[u.policy] && !strings.Contains(u.policy, " DaprBuiltIn") {
			faults = append(faults, fmt.Sprintf("Dapr resources in %s: %s wants the %s, which is not there", u.file, u.target, u.policy))
		}
	}
	if len(faults) > 0 {
		return errors.New(slices.Min(faults))
	}
	return nil
}

// checker has the resiliency policies of all files, each with its kind before
// its name, and the uses of them.
type checker struct {
	known map[string]bool
	used  []struct{ policy, target, file string }
}

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
		var spec resiliency
		if r.Kind != "Resiliency" || r.Spec.Decode(&spec) != nil {
			continue
		}
		for kind, names := range map[string]map[string]any{"timeout": spec.Policies.Timeouts, "retry": spec.Policies.Retries, "circuit breaker": spec.Policies.CircuitBreakers} {
			for name := range names {
				c.known[kind+" "+name] = true
			}
		}
		use := func(target string, p policies) {
			for kind, name := range map[string]string{"timeout": p.Timeout, "retry": p.Retry, "circuit breaker": p.CircuitBreaker} {
				if name != "" {
					c.used = append(c.used, struct{ policy, target, file string }{kind + " " + name, target, file})
				}
			}
		}
		for name, p := range spec.Targets.Apps {
			use("app "+name, p)
		}
		for name, p := range spec.Targets.Actors {
			use("actor "+name, p)
		}
		for name, p := range spec.Targets.Components {
			use("component "+name, p.Outbound)
			use("component "+name, p.Inbound)
		}
	}
}
