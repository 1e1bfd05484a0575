// Package otlp exports a process's spans. It is apart from package tracing for
// the Lambda functions' sake, which pass traces on and need no exporter.
package otlp

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"
)

// Start begins to export spans if OpenTelemetry's environment variables name
// an endpoint; its SDK reads the others (sampler, headers, limits …) by itself.
// service is this process's name unless the environment has one. stop sends
// what is left.
func Start(ctx context.Context, service string, log zerolog.Logger) (stop func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.TraceContext{}) // no baggage: nobody here says what may be in it
	if on, err := wanted(); err != nil || !on {
		return func(context.Context) error { return nil }, err
	}
	exporter, err := newExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("exporter of traces: %w", err)
	}
	// The later ones win: the environment over our name.
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(semconv.ServiceName(service)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("traces") }))
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(res))
	otel.SetTracerProvider(provider{sdk: p})
	return p.Shutdown, nil
}

// env is the first of the variables that is set, by its last name: for traces
// alone, or for all signals.
func env(name string) string {
	if v := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
		return v
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_" + name)
}

func wanted() (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || env("ENDPOINT") == "" {
		return false, nil
	}
	switch e := os.Getenv("OTEL_TRACES_EXPORTER"); e {
	case "", "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: is %q, must be otlp or none", e)
	}
}

func newExporter(ctx context.Context) (*otlptrace.Exporter, error) {
	switch p := env("PROTOCOL"); p {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: is %q, must be http/protobuf or grpc", p)
	}
}

// provider is the SDK's, with fewer spans of the workflow SDK.
type provider struct {
	embedded.TracerProvider
	sdk *sdk.TracerProvider
}

func (p provider) Tracer(name string, o ...trace.TracerOption) trace.Tracer {
	t := p.sdk.Tracer(name, o...)
	if name == "durabletask" {
		return engineTracer{t}
	}
	return t
}

// engineTracer leaves out what the workflow SDK would begin a trace with: it
// drops the context of what is not sampled, and would have each activity
// sampled anew. It also leaves out the SDK's span of an activity, which says
// less than that of our attempt.
type engineTracer struct{ trace.Tracer }

func (t engineTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsValid() || strings.HasPrefix(name, "activity||") {
		return noop.Tracer{}.Start(ctx, name, o...)
	}
	return t.Tracer.Start(ctx, name, o...)
}
