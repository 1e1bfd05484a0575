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

// TestSagaHearsWhenToComeBack: Dapr repeats a payment without a look at its
// Retry-After, so what may have one goes to the saga. So does a decline, which is
// an answer.
func TestSagaHearsWhenToComeBack(t *testing.T) {
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
					t.Fatalf("%s: status codes %q", folder, repeated)
				}
				got = got || low <= code && code <= high
			}
			if got != want {
				t.Errorf("%s: Dapr repeats %d: %t, want %t", folder, code, got, want)
			}
		}
	}
}

// TestTimesFit: all tries of Dapr's together take less time than whoever
// waits for them has. And Dapr has no circuit breaker: its counts a declined
// card as a failure.
func TestTimesFit(t *testing.T) {
	for folder, payments := range map[string]time.Duration{
		"local": 8 * time.Second,  // internal/devenv's daprPayment
		"aws":   10 * time.Second, // the default of --payment-timeout
	} {
		t.Run(folder, func(t *testing.T) {
			var r resiliency
			read(t, filepath.Join(folder, "resiliency.yaml"), &r)
			if len(r.Spec.Policies.CircuitBreakers) > 0 {
				t.Error("a circuit breaker that declines can trip")
			}
			app := r.Spec.Targets.Apps["payment"]
			if all := r.longest(t, app); all >= payments {
				t.Errorf("tries of a payment take %s of %s", all, payments)
			}
			var c component
			read(t, filepath.Join(folder, "orderpubsub.yaml"), &c)
			visible := time.Duration(0)
			for _, m := range c.Spec.Metadata {
				if m.Name == "messageVisibilityTimeout" {
					seconds, err := strconv.Atoi(m.Value)
					if err != nil {
						t.Fatal(err)
					}
					visible = time.Duration(seconds) * time.Second
				}
			}
			if all := r.longest(t, r.Spec.Targets.Components["orderpubsub"].Inbound); all >= visible {
				t.Errorf("tries of a delivery take %s of %s", all, visible)
			}
		})
	}
}

// longest is how long all tries under a target's policies can take.
func (r resiliency) longest(t *testing.T, p policies) time.Duration {
	t.Helper()
	one, err := time.ParseDuration(r.Spec.Policies.Timeouts[p.Timeout])
	if err != nil {
		t.Fatalf("time-out %q: %v", p.Timeout, err)
	}
	retry := r.Spec.Policies.Retries[p.Retry]
	pause, err := time.ParseDuration(retry.Duration)
	if err != nil || retry.Policy != "constant" || retry.MaxRetries <= 0 {
		t.Fatalf("retry %q must have constant pauses and an end: %+v, %v", p.Retry, retry, err)
	}
	tries := time.Duration(retry.MaxRetries)
	return one*(tries+1) + pause*tries
}

func read(t *testing.T, file string, to any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}
