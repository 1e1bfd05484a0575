// Package cloudformation creates the stack on an AWS that is not our own, and
// runs the system on it.
package cloudformation

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

var (
	root     = filepath.Join("..", "..")
	template = filepath.Join(root, "deploy", "cloudformation", "ordersaga.yaml")
)

const (
	account      = "000000000000" // ministack's
	region       = "eu-central-1" // of the stack; not the one that emulators take for granted
	setupRegion  = "eu-west-1"    // where `ordersaga setup` makes the same
	stackName    = "ordersaga"
	oidcProvider = "oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"
)

func TestMain(m *testing.M) {
	testkit.UseBuiltDapr()
	os.Exit(m.Run())
}

// world is an AWS with the stack in it.
type world struct {
	*testing.T
	endpoint string
	aws      string // path of the aws command
}

// newWorld starts an emulator and creates the stack on it.
func newWorld(t *testing.T, emulator func(testing.TB) *testkit.Server) world {
	t.Helper()
	w := begin(t, emulator)
	w.create()
	return w
}

func begin(t *testing.T, emulator func(testing.TB) *testkit.Server) world {
	t.Helper()
	return world{t, emulator(t).Address, testkit.RequireTool(t, "aws", "apt-get install awscli")}
}

// create creates the stack as the guide does.
func (w world) create(parameters ...string) {
	w.Helper()
	args := []string{"cloudformation", "create-stack", "--stack-name", stackName, "--template-body", "file://" + template, "--capabilities", "CAPABILITY_IAM", "--parameters"}
	for _, p := range append(parameters, "OidcProvider="+oidcProvider) {
		key, value, _ := strings.Cut(p, "=")
		args = append(args, "ParameterKey="+key+",ParameterValue="+value)
	}
	w.run(nil, args...)
	w.run(nil, "cloudformation", "wait", "stack-create-complete", "--stack-name", stackName)
}

// run calls the aws command in the stack's region and decodes what it prints.
func (w world) run(into any, args ...string) {
	w.Helper()
	args = append([]string{"--endpoint-url", w.endpoint, "--region", region, "--output", "json"}, args...)
	cmd := exec.CommandContext(w.Context(), w.aws, args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_PAGER=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err == nil && into != nil && len(out) > 0 {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		w.Fatalf("aws %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut.String())
	}
}

// resources are the stack's physical ids by logical id.
func (w world) resources() map[string]string {
	w.Helper()
	var out struct {
		StackResources []struct{ LogicalResourceId, PhysicalResourceId string }
	}
	w.run(&out, "cloudformation", "describe-stack-resources", "--stack-name", stackName)
	all := map[string]string{}
	for _, r := range out.StackResources {
		all[r.LogicalResourceId] = r.PhysicalResourceId
	}
	return all
}

func (w world) clients(endpoint, region string) *cloud.Clients {
	w.Helper()
	c, err := cloud.New(w.Context(), cloud.Options{Region: region, Endpoint: endpoint})
	require.NoError(w, err)
	return c
}
