package helm

import (
	"strings"
	"testing"
)

// TestInvalidValuesAreReported: the error names the value and what is expected.
func TestInvalidValuesAreReported(t *testing.T) {
	t.Parallel()
	const good = "state.address=redis:6379,payment.url=https://pay.example.com"
	const scaled = good + ",autoscaling.enabled=true" +
		",autoscaling.queue.url=https://sqs.us-east-1.amazonaws.com/1/OrderProcessingQueue"
	for _, c := range []struct{ set, want string }{
		{
			"",
			"values: payment: 0 of payment.url, payment.appId and simulators.payment.enabled are set, must be one; " +
				"state.address: empty, must be Redis's host:port",
		},
		{good + ",payment.appId=till", "payment: 2 of payment.url"},
		{good + ",state.store=mysql", "at '/state/store': value must be one of 'redis', 'postgresql', 'none'"},
		{good + ",state.address=redis", "at '/state/address': 'redis' does not match pattern"},
		{good + ",worker.replicsa=3", "at '/worker': additional properties 'replicsa' not allowed"},
		{good + ",workers.replicas=3", "additional properties 'workers' not allowed"},
		{good + ",worker.replicas=many", "at '/worker/replicas': got string, want integer"},
		{good + ",worker.replicas=-1", "at '/worker/replicas': minimum: got -1, want 0"},
		{good + ",worker.replicas=null", "at '/worker': missing property 'replicas'"},
		{good + ",worker.shutdownSeconds=0", "at '/worker/shutdownSeconds': minimum: got 0, want 1"},
		// The format before amounts had currencies.
		{
			good + ",orders.approvalAbove=100000",
			"at '/orders/approvalAbove': maximum: got 100,000, want 0",
		},
		{good + ",orders.approvalAbove=EUR", "at '/orders/approvalAbove': 'EUR' does not match pattern"},
		{good + ",orders.patience=5", "at '/orders/patience': got number, want string"},
		{good + ",orders.patience=5days", "at '/orders/patience': '5days' does not match pattern"},
		{good + ",aws.region=mars", "at '/aws/region': 'mars' does not match pattern"},
		{good + ",aws.endpoint=127.0.0.1:4566", "at '/aws/endpoint': '127.0.0.1:4566' does not match pattern"},
		{good + ",tracing.endpoint=collector:4317", "at '/tracing/endpoint': 'collector:4317' does not match pattern"},
		{good + ",log.level=loud", "at '/log/level': value must be one of"},
		{good + ",api.replicas=0", "at '/api/replicas': minimum: got 0, want 1"},
		{good + ",api.service.type=Ingress", "at '/api/service/type': value must be one of"},
		{good + ",api.resources.requests.memory=lots", "at '/api/resources/requests/memory': 'lots' does not match pattern"},
		{good + ",serviceAccounts.worker.roleArn=ordersaga", "at '/serviceAccounts/worker/roleArn': 'ordersaga' does not match pattern"},
		{good + `,dapr.env.OTEL=a\,b`, "at '/dapr/env/OTEL': 'a,b' does not match pattern"},
		{good + ",auth.open=false", "auth: neither open nor issuer is set"},
		{good + ",auth.issuer=https://id.example.com", "auth: open and issuer are set, must be one; auth.audience: empty"},
		{good + ",auth.issuer=http://id.example.com", "at '/auth/issuer': 'http://id.example.com' does not match pattern"},
		{
			good + ",auth.open=false,auth.issuer=https://id.example.com,auth.clientId=c",
			"auth.publicUrl: empty, must be the public URL of the console",
		},
		{good + ",auth.publicUrl=http://orders.example.com", "at '/auth/publicUrl': 'http://orders.example.com' does not match pattern"},
		{good + ",auth.publicUrl=http://127.0.0.1.example.com", "at '/auth/publicUrl': 'http://127.0.0.1.example.com' does not match pattern"},
		{good + `,podAnnotations.dapr\.io/app-id=other`, "at '/podAnnotations/dapr.io~1app-id': false schema"},
		{good + `,podLabels.app\.kubernetes\.io/name=other`, "at '/podLabels/app.kubernetes.io~1name': false schema"},
		{good + `,monitoring.alerts.labels.helm\.sh/chart=other`, "at '/monitoring/alerts/labels/helm.sh~1chart': false schema"},
		{good + ",dapr.maxBodySize=65", "at '/dapr/maxBodySize': maximum: got 65, want 64"},
		{good + ",auth.clientSecret.secret=s", "auth.clientSecret: secret and key must be set together"},
		{good + ",autoscaling.enabled=true", "autoscaling.queue.url: empty, must be the URL of OrderProcessingQueue"},
		{scaled + ",autoscaling.min=21", "autoscaling.min: 21, must not be above autoscaling.max, 20"},
		{scaled + ",autoscaling.fallback.replicas=21", "autoscaling.fallback.replicas: 21, must not be above"},
		{scaled + ",autoscaling.fallback.behavior=guess", "at '/autoscaling/fallback/behavior': value must be one of"},
		{scaled + ",autoscaling.queue.perWorker=0", "at '/autoscaling/queue/perWorker': minimum: got 0, want 1"},
		{
			scaled + ",autoscaling.queue.url=https://sqs.us-east-1.amazonaws.com/1/Orders",
			"autoscaling.answers.url: empty, must be the URL of CarrierAnswersQueue",
		},
		{scaled + ",topologySpread.whenUnsatisfiable=Sometimes", "at '/topologySpread/whenUnsatisfiable': value must be one of"},
	} {
		t.Run(c.set, func(t *testing.T) {
			t.Parallel()
			wantError(t, c.want, append(installed("dapr", "keda"), "--set", c.set)...)
		})
	}
}

// TestMissingAPIsAreReported: the error lists, in one line, what the cluster lacks of
// Dapr, KEDA and the Prometheus operator.
func TestMissingAPIsAreReported(t *testing.T) {
	t.Parallel()
	all := []string{"-f", chart + "/values-production.yaml"}
	for _, c := range []struct {
		want  string
		flags []string
	}{
		{
			"the cluster lacks required APIs: Dapr 1.18 or later is not installed (no dapr.io/v1alpha1/Component, " +
				"dapr.io/v1alpha1/Configuration, dapr.io/v1alpha1/Resiliency, dapr.io/v2alpha1/Subscription): see https://docs.dapr.io/",
			append(installed("keda", "prometheus"), all...),
		},
		{
			"required APIs: KEDA 2.21 or later is not installed (no keda.sh/v1alpha1/ScaledObject, " +
				"keda.sh/v1alpha1/TriggerAuthentication): see https://keda.sh/docs/deploy/, or set autoscaling.enabled=false. " +
				"Without a cluster: --api-versions, or requireCRDs=false",
			append(installed("dapr", "prometheus"), all...),
		},
		{
			"required APIs: the Prometheus operator is not installed (no monitoring.coreos.com/v1/ServiceMonitor, " +
				"monitoring.coreos.com/v1/PrometheusRule)",
			append(installed("dapr", "keda"), all...),
		},
		{
			"chart requires kubeVersion: >=1.30.0-0 which is incompatible with Kubernetes v1.29.0",
			append([]string{"--kube-version", "1.29.0"}, cases["first"]...),
		},
	} {
		wantError(t, c.want, c.flags...)
	}
	if out := render(t, append(all, "--set", "requireCRDs=false")...); !strings.Contains(out, "kind: ScaledObject") {
		t.Error("with requireCRDs=false the chart renders no ScaledObject, want one")
	}
}

// wantError checks that rendering fails with want in one line of the error.
func wantError(t *testing.T, want string, flags ...string) {
	t.Helper()
	out, errs, err := helm(t, append([]string{"template", "ordersaga", chart}, flags...)...)
	if err == nil {
		t.Fatalf("helm template %v succeeded, want error %q; output:\n%s", flags, want, out)
	}
	for line := range strings.SplitSeq(errs, "\n") {
		if strings.Contains(line, want) {
			return
		}
	}
	t.Errorf("helm template %v: stderr has no line with %q:\n%s", flags, want, errs)
}
