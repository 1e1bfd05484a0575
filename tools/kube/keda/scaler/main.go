// Command scaler runs KEDA's own scalers without Kubernetes. It reads the triggers of a
// ScaledObject from standard input, as a JSON list, and writes the measurement of each to
// standard output.
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

// Trigger is a trigger of a ScaledObject.
type Trigger struct {
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	MetricType string            `json:"metricType"`
	Metadata   map[string]string `json:"metadata"`
	Auth       map[string]string `json:"auth"` // what the TriggerAuthentication would resolve to
}

// Measured is the measurement of a trigger, or the error.
type Measured struct {
	Name   string  `json:"name"`
	Metric string  `json:"metric,omitempty"`
	Value  float64 `json:"value"`
	Target float64 `json:"target"` // per replica
	Active bool    `json:"active"` // the trigger alone keeps one replica running
	Error  string  `json:"error,omitempty"`
}

// timeout is KEDA's default for a request to a metric's source.
const timeout = 3 * time.Second

func main() {
	log.SetLogger(logr.Discard())
	if err := run(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "keda-scaler:", err)
		os.Exit(1)
	}
}

// run measures all triggers.
func run(ctx context.Context, in io.Reader, out io.Writer) error {
	var triggers []Trigger
	if err := json.NewDecoder(in).Decode(&triggers); err != nil {
		return fmt.Errorf("read the triggers from standard input: %w", err)
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

// measure runs the scaler of one trigger. index is its index in the ScaledObject.
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
	defer func() { _ = s.Close(ctx) }() // the process exits after it
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

// open returns the scaler of a trigger. It supports the types that the Helm chart uses.
func open(ctx context.Context, c *scalersconfig.ScalerConfig) (scalers.Scaler, error) {
	switch c.TriggerType {
	case "aws-sqs-queue":
		return scalers.NewAwsSqsQueueScaler(ctx, c)
	case "metrics-api":
		return scalers.NewMetricsAPIScaler(c, nil)
	}
	return nil, fmt.Errorf("trigger %s has the type %q, which this program does not support", c.TriggerName, c.TriggerType)
}
