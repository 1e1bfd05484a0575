package components_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

type resiliency struct {
	Spec struct {
		Policies struct {
			Timeouts map[string]string
			Retries  map[string]struct {
				Policy, Duration string
				MaxRetries       int `yaml:"maxRetries"`
				Matching         struct {
					HTTPStatusCodes string `yaml:"httpStatusCodes"`
				}
			}
			CircuitBreakers map[string]any `yaml:"circuitBreakers"`
		}
		Targets struct {
			Apps       map[string]policies
			Components map[string]struct{ Inbound policies }
		}
	}
}

type policies struct{ Timeout, Retry string }

type component struct {
	Spec struct {
		Metadata []struct{ Name, Value string }
	}
}

// TestDaprDoesNotRetryWhatTheSagaHandles: Dapr ignores Retry-After, so it must not
// retry statuses that may have one. It must not retry a decline either.
func TestDaprDoesNotRetryWhatTheSagaHandles(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"local", "aws"} {
		var r resiliency
		read(t, filepath.Join(folder, "resiliency.yaml"), &r)
		repeated := r.Spec.Policies.Retries[r.Spec.Targets.Apps["payment"].Retry].Matching.HTTPStatusCodes
		for code, want := range map[int]bool{402: false, 429: false, 503: false, 500: true, 502: true, 504: true} {
			got := false
			for part := range strings.SplitSeq(repeated, ",") {
				first, last, is := strings.Cut(part, "-")
				if !is {
					last = first
				}
				low, err1 := strconv.Atoi(first)
				high, err2 := strconv.Atoi(last)
				if err1 != nil || err2 != nil {
					t.Fatalf("%s: httpStatusCodes = %q, want numbers and ranges", folder, repeated)
				}
				got = got || low <= code && code <= high
			}
			if got != want {
				t.Errorf("%s: Dapr retries status %d = %t, want %t", folder, code, got, want)
			}
		}
	}
}

// TestRetriesFitTheCallersTimeout: all attempts of Dapr together take less time than
// the caller's timeout. There is no circuit breaker: Dapr's would count a declined
// card as a failure.
func TestRetriesFitTheCallersTimeout(t *testing.T) {
	t.Parallel()
	for folder, payments := range map[string]time.Duration{
		"local": 8 * time.Second,  // internal/devenv's daprPayment
		"aws":   10 * time.Second, // the default of --payment-timeout
	} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			var r resiliency
			read(t, filepath.Join(folder, "resiliency.yaml"), &r)
			if len(r.Spec.Policies.CircuitBreakers) > 0 {
				t.Errorf("circuit breakers = %v, want none: declines would open them", r.Spec.Policies.CircuitBreakers)
			}
			app := r.Spec.Targets.Apps["payment"]
			if all := r.longest(t, app); all >= payments {
				t.Errorf("all attempts of a payment take %s, want less than %s", all, payments)
			}
			var c component
			read(t, filepath.Join(folder, "orderpubsub.yaml"), &c)
			visible := time.Duration(0)
			for _, m := range c.Spec.Metadata {
				if m.Name == "messageVisibilityTimeout" {
					seconds, err := strconv.Atoi(m.Value)
					if err != nil {
						t.Fatalf("%s: messageVisibilityTimeout = %q, want a number of seconds: %v", folder, m.Value, err)
					}
					visible = time.Duration(seconds) * time.Second
				}
			}
			if all := r.longest(t, r.Spec.Targets.Components["orderpubsub"].Inbound); all >= visible {
				t.Errorf("all attempts of a delivery take %s, want less than the visibility timeout of %s", all, visible)
			}
		})
	}
}

// longest returns how long all attempts under a target's policies can take.
func (r resiliency) longest(t *testing.T, p policies) time.Duration {
	t.Helper()
	one, err := time.ParseDuration(r.Spec.Policies.Timeouts[p.Timeout])
	if err != nil {
		t.Fatalf("timeout %q: %v", p.Timeout, err)
	}
	retry := r.Spec.Policies.Retries[p.Retry]
	pause, err := time.ParseDuration(retry.Duration)
	if err != nil || retry.Policy != "constant" || retry.MaxRetries <= 0 {
		t.Fatalf("retry %q = %+v (%v), want a constant policy with a positive maxRetries", p.Retry, retry, err)
	}
	return one + time.Duration(retry.MaxRetries)*(one+pause)
}

func read(t *testing.T, file string, to any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
}
