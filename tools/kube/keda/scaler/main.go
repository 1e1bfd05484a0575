// Command scaler asks KEDA's own scalers, without Kubernetes: it reads triggers
// as a ScaledObject has them, a JSON list, from standard input and writes what
// each measures to standard output.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	v2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

// Trigger is one of a ScaledObject's; Auth is what its TriggerAuthentication
// would resolve to.
type Trigger struct {
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	MetricType string            `json:"metricType"`
	Metadata   map[string]string `json:"metadata"`
	Auth       map[string]string `json:"auth"`
}

// Measured is what a trigger says, or why it cannot.
type Measured struct {
	Name   string  `json:"name"`
	Metric string  `json:"metric,omitempty"`
	Value  float64 `json:"value"`
	Target float64 `json:"target"` // for each replica
	Active bool    `json:"active"` // whether it alone keeps the last replica
	Error  string  `json:"error,omitempty"`
}

// timeout is KEDA's usual one for a call to a metric's source.
const timeout = 3 * time.Second

func main() {
	log.SetLogger(logr.Discard())
	if err := run(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "keda-scaler:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in io.Reader, out io.Writer) error {
	var triggers []Trigger
	if err := json.NewDecoder(in).Decode(&triggers); err != nil {
		return fmt.Errorf("read triggers from standard input: %w", err)
	}
	all := make([]Measured, len(triggers))
	for i, t := range triggers {
		m, err := measure(ctx, i, t)
		if err != nil {
			m.Error = err.Error()
		}
		m.Name = t.Name
		all[i] = m
	}
	return json.NewEncoder(out).Encode(all)
}

func measure(ctx context.Context, index int, t Trigger) (m Measured, err error) {
	s, err := open(ctx, &scalersconfig.ScalerConfig{
		ScalableObjectName: "ordersaga", ScalableObjectNamespace: "default", ScalableObjectType: "ScaledObject",
		GlobalHTTPTimeout: timeout, TriggerIndex: index, TriggerUniqueKey: t.Name,
		TriggerName: t.Name, TriggerType: t.Type, TriggerMetadata: t.Metadata, AuthParams: t.Auth,
		MetricType:  v2.MetricTargetType(t.MetricType),
		PodIdentity: v1alpha1.AuthPodIdentity{Provider: v1alpha1.PodIdentityProviderNone},
	})
	if err != nil {
		return m, err
	}
	defer func() { _ = s.Close(ctx) }() // the process ends here
	target := s.GetMetricSpecForScaling(ctx)[0].External
	m.Metric = target.Metric.Name
	if q := target.Target.AverageValue; q != nil {
		m.Target = q.AsApproximateFloat64()
	}
	values, active, err := s.GetMetricsAndActivity(ctx, m.Metric)
	if err != nil {
		return m, err
	}
	m.Value, m.Active = values[0].Value.AsApproximateFloat64(), active
	return m, nil
}

// open knows the scalers that the chart uses.
func open(ctx context.Context, c *scalersconfig.ScalerConfig) (scalers.Scaler, error) {
	switch c.TriggerType {
	case "aws-sqs-queue":
		return scalers.NewAwsSqsQueueScaler(ctx, c)
	case "metrics-api":
		return scalers.NewMetricsAPIScaler(c, nil)
	}
	return nil, fmt.Errorf("trigger %s is of type %q, of which this program knows nothing", c.TriggerName, c.TriggerType)
}
