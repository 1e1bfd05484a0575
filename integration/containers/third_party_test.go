package containers

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestThirdParty runs the scenarios of TestOrders on other AWS emulators. AWS starts empty each
// time, and so do the ledgers of payment and carrier. All other parts keep their state.
func TestThirdParty(t *testing.T) {
	skipOutside(t)
	requireStack(t)
	t.Cleanup(func() {
		if err := system.moveTo(context.Background(), ours); err != nil {
			t.Errorf("return to our own AWS endpoint: %v", err)
		}
	})
	for _, p := range []struct {
		name string
		aws  func(images) []spec
	}{{"moto", moto}, {"MiniStack", ministack}, {"roto", roto}, {"roto and ElasticMQ", elasticmq}} {
		t.Run(p.name, func(t *testing.T) {
			if strings.HasPrefix(p.name, "roto") { // there is no image of it
				testkit.Pinned(t, "roto/bin/roto-server", "emulators")
			}
			require.NoError(t, system.moveTo(t.Context(), p.aws))
			runAll(t, 60)
		})
	}
}

// ours returns the endpoint of `ordersaga local-aws`. The endpoint of every emulator is named aws
// and listens on port 4566. The names of its other containers begin with aws.
func ours(i images) []spec {
	if outside {
		return nil
	}
	return []spec{{
		name: "aws", image: i.ordersaga, user: "0", ports: []string{"4566/tcp"}, ready: portReady("4566/tcp"),
		cmd: []string{"local-aws", "--anywhere", "--data-dir", "/data", "--listen", "0.0.0.0:4566"},
	}}
}

// moto returns moto behind front. Moto has no locks: a failed transaction rolls back concurrent
// writes of others. Therefore front sends its DynamoDB one request at a time.
func moto(i images) []spec {
	c := i.program(i.moto, "bin/moto/bin/moto_server")
	c.name, c.ports, c.ready = "aws-moto", []string{"4566/tcp"}, httpReady("/moto-api/", "4566/tcp")
	c.cmd = append(c.cmd, "-H", "0.0.0.0", "-p", "4566")
	const url = "http://aws-moto:4566"
	return []spec{c, front(i, "--one-at-a-time", url, url, url)}
}

// front returns the proxy that combines several endpoints into one.
func front(i images, args ...string) spec {
	return spec{
		name: "aws", image: i.front, env: environment, cmd: args,
		ports: []string{"4566/tcp"}, ready: portReady("4566/tcp"),
	}
}

// ministack returns MiniStack.
func ministack(i images) []spec {
	c := i.program(i.ministack, "bin/ministack/bin/ministack")
	c.name, c.ports, c.ready = "aws", []string{"4566/tcp"}, httpReady("/_localstack/health", "4566/tcp")
	c.env = map[string]string{
		"BIND_HOST": "0.0.0.0", "MINISTACK_HOST": "aws", "GATEWAY_PORT": "4566",
		"DOCKER_HOST": "unix:///nonexistent", // it would look for containers to remove
	}
	return []spec{c}
}

// roto returns roto.
func roto(i images) []spec {
	c := i.program("", "bin/roto/bin/roto-server", "--ephemeral", "--host", "0.0.0.0", "--port", "4566")
	c.name, c.ports, c.ready = "aws", []string{"4566/tcp"}, portReady("4566/tcp").WithStartupTimeout(startTimeout)
	return []spec{c}
}

// elasticmq returns ElasticMQ, which has only queues, with roto's tables and our topics behind
// front.
func elasticmq(i images) []spec {
	tables := roto(i)[0]
	tables.name = "aws-tables"

	queues := i.program(i.elasticmq, "java", "-Xmx256m", "-Dconfig.file=/opt/elasticmq.conf",
		"-cp", i.bin+"/elasticmq/*", "org.elasticmq.server.Main")
	queues.name, queues.ports = "aws-queues", []string{"9324/tcp"}
	queues.ready = portReady("9324/tcp").WithStartupTimeout(startTimeout)
	queues.binds = append(queues.binds, i.root+"/integration/containers/images/elasticmq.conf:/opt/elasticmq.conf:ro")

	topics := ours(i)[0]
	topics.name = "aws-topics"
	proxy := front(i, "http://aws-topics:4566", "http://aws-queues:9324", "http://aws-tables:4566")
	return []spec{tables, queues, topics, proxy}
}

// moveTo replaces AWS, and restarts the apps and sidecars. Sidecars keep addresses of queues and
// topics, so they must restart too.
func (s *stack) moveTo(ctx context.Context, aws func(images) []spec) error {
	var apps, all []string
	for _, name := range []string{"api", "worker1", "worker2", "payment", "carrier"} {
		apps, all = append(apps, name+"-app"), append(all, name+"-daprd", name+"-app")
	}
	if err := each(apps, func(name string) error {
		_, err := docker(ctx, "stop", "-t", "30", named(name))
		return err
	}); err != nil {
		return err
	}
	for name, c := range s.all {
		if strings.HasPrefix(name, "aws") {
			if err := c.Terminate(ctx); err != nil {
				return err
			}
			delete(s.all, name)
		}
	}
	for _, c := range aws(s.images) {
		if err := s.run(ctx, c); err != nil {
			return err
		}
	}
	if err := s.setUp(ctx); err != nil {
		return err
	}
	if err := each(all, func(name string) error {
		_, err := docker(ctx, "restart", named(name))
		return err
	}); err != nil {
		return err
	}
	if err := s.waitReady(ctx, "api", "worker1", "worker2"); err != nil {
		return err
	}
	return s.connect(ctx)
}

// each calls f for all names concurrently, and returns the first error.
func each(names []string, f func(string) error) error {
	var g errgroup.Group
	for _, name := range names {
		g.Go(func() error { return f(name) })
	}
	return g.Wait()
}

// skipOutside skips a test that must control AWS, if the suite does not start it.
func skipOutside(t *testing.T) {
	t.Helper()
	if outside {
		t.Skip("the suite does not control AWS: " + awsEnv + "=outside")
	}
}
