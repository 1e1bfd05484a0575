package dapr

import (
	"context"
	"fmt"
	"slices"
	"strings"

	daprclient "github.com/dapr/go-sdk/client"
	"golang.org/x/mod/semver"
)

// oldestVersion is the first version of Dapr whose workflow API has everything
// that this package uses: listing, history and rerun of instances.
const oldestVersion = "1.18.0"

// IncompatibleSidecarError means that a sidecar lacks something that this program
// needs.
type IncompatibleSidecarError struct {
	Reason string // a predicate, such as "has no component x"
}

// Error implements error.
func (e *IncompatibleSidecarError) Error() string { return e.Reason }

// checkSidecar returns an *IncompatibleSidecarError if the sidecar lacks something,
// so that the start fails, and not the first saga that needs it.
func checkSidecar(ctx context.Context, client daprclient.Client, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := client.GetMetadata(ctx)
	if err != nil {
		return fmt.Errorf("read the sidecar's metadata: %w", err)
	}
	if err := checkVersion(m.ExtendedMetadata["daprRuntimeVersion"]); err != nil {
		return err
	}
	var has []string
	actors := false
	for _, c := range m.RegisteredComponents {
		has = append(has, c.Name)
		actors = actors || canKeepWorkflows(c)
	}
	for _, name := range o.Needs {
		if !slices.Contains(has, name) {
			return &IncompatibleSidecarError{Reason: fmt.Sprintf(
				"has no component %s (it has: %s): use the ones in components/aws or components/local; "+
					"the sidecar's log lists those that it could not load", name, strings.Join(has, ", "))}
		}
	}
	if !actors {
		return &IncompatibleSidecarError{Reason: "has no state store that can keep workflows: " +
			"it needs one with the metadata actorStateStore: \"true\", as in components/state and components/aws/redis"}
	}
	return nil
}

// canKeepWorkflows reports whether a component is a state store that is able to
// keep workflows. A sidecar does not report whether it is configured to, by
// actorStateStore.
func canKeepWorkflows(c *daprclient.MetadataRegisteredComponents) bool {
	return strings.HasPrefix(c.Type, "state.") && slices.Contains(c.Capabilities, "ACTOR")
}

// checkVersion returns an error for a version of Dapr that is too old. A build
// without a version reports "edge" and is accepted.
func checkVersion(version string) error {
	v := "v" + strings.TrimPrefix(version, "v")
	if version == "edge" || semver.IsValid(v) && semver.Compare(v, "v"+oldestVersion) >= 0 {
		return nil
	}
	return &IncompatibleSidecarError{Reason: fmt.Sprintf("is Dapr %q, and must be %s or later", version, oldestVersion)}
}
