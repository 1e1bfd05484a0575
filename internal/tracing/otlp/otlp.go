// Package otlp exports a process's spans over OTLP. It is separate from package tracing for
// the Lambda functions: they propagate traces and do not link the exporter.
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

// Start starts to export spans if OpenTelemetry's environment variables set an endpoint.
// The SDK reads the other variables itself (sampler, headers, limits …). service is the
// name of the process unless the environment sets one. The caller must call stop, which
// exports the remaining spans.
func Start(ctx context.Context, service string, log zerolog.Logger) (stop func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.TraceContext{}) // no baggage: its content is not ours to forward
	if on, err := enabled(); err != nil || !on {
		return func(context.Context) error { return nil }, err
	}
	exporter, err := newExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("create the exporter of traces: %w", err)
	}
	// Later options take precedence: the environment over service.
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(semconv.ServiceName(service)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("export of traces failed") }))
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(res))
	otel.SetTracerProvider(provider{sdk: p})
	return p.Shutdown, nil
}

// env returns the value of OTEL_EXPORTER_OTLP_TRACES_name, or, if that is not set, of
// OTEL_EXPORTER_OTLP_name, which is for all signals.
func env(name string) string {
	if v := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
		return v
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_" + name)
}

// enabled reports whether the environment enables the export.
func enabled() (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || env("ENDPOINT") == "" {
		return false, nil
	}
	switch e := os.Getenv("OTEL_TRACES_EXPORTER"); e {
	case "", "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q, must be otlp or none", e)
	}
}

// newExporter returns an exporter for the configured protocol.
func newExporter(ctx context.Context) (*otlptrace.Exporter, error) {
	switch p := env("PROTOCOL"); p {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, must be http/protobuf or grpc", p)
	}
}

// provider is the SDK's provider, with fewer spans of the workflow SDK.
type provider struct {
	embedded.TracerProvider
	sdk *sdk.TracerProvider
}

// Tracer implements trace.TracerProvider.
func (p provider) Tracer(name string, o ...trace.TracerOption) trace.Tracer {
	t := p.sdk.Tracer(name, o...)
	if name == "durabletask" {
		return engineTracer{Tracer: t}
	}
	return t
}

// engineTracer omits spans with which the workflow SDK would start a trace: the SDK drops
// the context of what is not sampled, so each activity would be sampled on its own. It also
// omits the SDK's span of an activity, which has less information than BeginAttempt's.
type engineTracer struct{ trace.Tracer }

// Start implements trace.Tracer.
func (t engineTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsValid() || strings.HasPrefix(name, "activity||") {
		return noop.Tracer{}.Start(ctx, name, o...)
	}
	return t.Tracer.Start(ctx, name, o...)
}
