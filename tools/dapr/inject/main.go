// Command inject applies Dapr's sidecar injector to a pod, without a cluster. It reads the pod
// as JSON from standard input, adds the sidecar that the pod's annotations request, and writes
// the result to standard output. The injector's settings are those of Dapr's Helm chart.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"

	"github.com/dapr/dapr/pkg/injector/consts"
	"github.com/dapr/dapr/pkg/injector/patcher"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "inject:", err)
		os.Exit(1)
	}
}

// run injects the sidecar into one pod.
func run(in io.Reader, out io.Writer) error {
	raw, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read the pod: %w", err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return fmt.Errorf("decode the pod: %w", err)
	}
	const system, domain = "dapr-system", "cluster.local"
	c := patcher.NewSidecarConfig(&pod)
	c.Mode, c.Namespace = consts.ModeKubernetes, pod.Namespace
	c.Identity = pod.Namespace + ":" + pod.Spec.ServiceAccountName
	c.SidecarImage, c.ImagePullPolicy = "ghcr.io/dapr/daprd:1.18.2", corev1.PullIfNotPresent
	c.OperatorAddress = patcher.ServiceAPI.Address(system, domain)
	c.SentryAddress = patcher.ServiceSentry.Address(system, domain)
	c.PlacementAddress = patcher.ServicePlacement.Address(system, domain)
	c.ControlPlaneNamespace, c.ControlPlaneTrustDomain, c.KubeClusterDomain = system, domain, domain
	c.SentrySPIFFEID, c.CurrentTrustAnchors = "spiffe://cluster.local/ns/dapr-system/dapr-sentry", []byte("PEM")
	c.MTLSEnabled, c.SchedulerEnabled, c.RunAsNonRoot, c.ReadOnlyRootFilesystem = true, true, true, true
	c.SetFromPodAnnotations()
	ops, err := c.GetPatch()
	if err != nil {
		return fmt.Errorf("create the injector's patch: %w", err)
	}
	injected, err := ops.Apply(raw)
	if err != nil {
		return fmt.Errorf("apply the injector's patch: %w", err)
	}
	_, err = out.Write(injected)
	return err
}
