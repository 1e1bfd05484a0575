package worker_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestWorkerImportsNoSimulator looks at all packages that a worker is linked with, also
// those of its dependencies, which depguard does not see.
func TestWorkerImportsNoSimulator(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list -deps: %v\n%s", err, out)
	}
	imports := strings.Fields(string(out))
	const module = "github.com/ordersaga/ordersaga/"
	if !slices.Contains(imports, module+"internal/orderstore") {
		t.Fatalf("want internal/orderstore in the list: %s", out)
	}
	for _, simulator := range []string{
		"internal/awslocal", "internal/paymentsim", "internal/carriersim", "internal/daprlocal", "internal/devenv",
	} {
		if slices.Contains(imports, module+simulator) {
			t.Errorf("the worker is linked with %s, want no simulator", simulator)
		}
	}
}
