package dapr

import (
	"context"
	"fmt"
	"slices"
	"strings"

	daprclient "github.com/dapr/go-sdk/client"
	"golang.org/x/mod/semver"
)

// oldest is the first version of Dapr whose workflow API has all that is used
// here: listing, history and rerun of instances.
const oldest = "1.18.0"

// UnfitError says why a sidecar is not one to work with.
type UnfitError struct{ Reason string }

func (e *UnfitError) Error() string { return e.Reason }

// fit reports what the sidecar lacks, before a saga finds out.
func fit(ctx context.Context, client daprclient.Client, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	m, err := client.GetMetadata(ctx)
	if err != nil {
		return fmt.Errorf("read its metadata: %w", err)
	}
	if err := supported(m.ExtendedMetadata["daprRuntimeVersion"]); err != nil {
		return err
	}
	var has []string
	actors := false
	for _, c := range m.RegisteredComponents {
		has = append(has, c.Name)
		actors = actors || keepsWorkflows(c)
	}
	for _, name := range o.Needs {
		if !slices.Contains(has, name) {
			return &UnfitError{fmt.Sprintf("has no component %s (it has: %s): components/aws and components/local have it, and the sidecar's log says what it could not load", name, strings.Join(has, ", "))}
		}
	}
	if !actors {
		return &UnfitError{"has no state store that can keep workflows: one with the metadata actorStateStore: \"true\", as in components/state and components/aws/redis"}
	}
	return nil
}

// keepsWorkflows reports whether a component is a state store that can. Whether
// it is told to, by actorStateStore, a sidecar does not say.
func keepsWorkflows(c *daprclient.MetadataRegisteredComponents) bool {
	return strings.HasPrefix(c.Type, "state.") && slices.Contains(c.Capabilities, "ACTOR")
}

// supported reports whether a version of Dapr will do. A build without a
// version calls itself edge, and is taken at its word.
func supported(version string) error {
	v := "v" + strings.TrimPrefix(version, "v")
	if version == "edge" || semver.IsValid(v) && semver.Compare(v, "v"+oldest) >= 0 {
		return nil
	}
	return &UnfitError{fmt.Sprintf("is Dapr %q, and must be %s or later", version, oldest)}
}
