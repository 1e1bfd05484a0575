package containers

import (
	"context"
	"strings"
	"testing"

	"github.com/testcontainers/testcontainers-go/wait"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestThirdParty runs the same orders on other people's AWS. Only AWS and the
// books of payment and carrier begin anew; all else stays as it is.
func TestThirdParty(t *testing.T) {
	inside(t)
	need(t)
	t.Cleanup(func() {
		if err := system.moveTo(context.Background(), ours); err != nil {
			t.Errorf("go back to our own endpoint: %v", err)
		}
	})
	for _, p := range []struct {
		name string
		aws  func(images) []spec
	}{{"moto", moto}, {"MiniStack", ministack}, {"roto", roto}, {"roto and ElasticMQ", elasticmq}} {
		t.Run(p.name, func(t *testing.T) {
			if strings.HasPrefix(p.name, "roto") { // it has no image
				testkit.Pinned(t, "roto/bin/roto-server", "emulators")
			}
			if err := system.moveTo(t.Context(), p.aws); err != nil {
				t.Fatal(err)
			}
			runAll(t, 60)
		})
	}
}

// ours is the endpoint that `ordersaga dev` has within. Like each of these it
// is called aws and listens on 4566; what is beside it has names that begin
// with aws.
func ours(i images) []spec {
	if outside {
		return nil
	}
	return []spec{{name: "aws", image: i.ordersaga, user: "0", cmd: []string{"local-aws", "--anywhere", "--data-dir", "/data", "--listen", "0.0.0.0:4566"},
		ports: []string{"4566/tcp"}, ready: wait.ForListeningPort("4566/tcp").SkipInternalCheck()}}
}

// moto locks nothing, and a transaction that fails takes back what others have
// written meanwhile: behind front it has one DynamoDB request at a time.
func moto(i images) []spec {
	c := i.program(i.moto, "bin/moto/bin/moto_server")
	c.name, c.ports, c.ready = "aws-moto", []string{"4566/tcp"}, at("/moto-api/", "4566/tcp")
	c.cmd = append(c.cmd, "-H", "0.0.0.0", "-p", "4566")
	const url = "http://aws-moto:4566"
	return []spec{c, front(i, "--one-at-a-time", url, url, url)}
}

func front(i images, args ...string) spec {
	return spec{name: "aws", image: i.front, env: environment, cmd: args, ports: []string{"4566/tcp"}, ready: wait.ForListeningPort("4566/tcp").SkipInternalCheck()}
}

func ministack(i images) []spec {
	c := i.program(i.ministack, "bin/ministack/bin/ministack")
	c.name, c.ports, c.ready = "aws", []string{"4566/tcp"}, wait.ForHTTP("/_localstack/health").WithPort("4566/tcp").WithStartupTimeout(soon)
	c.env = map[string]string{"BIND_HOST": "0.0.0.0", "MINISTACK_HOST": "aws", "GATEWAY_PORT": "4566", "DOCKER_HOST": "unix:///nonexistent"}
	return []spec{c}
}

func roto(i images) []spec {
	c := i.program("", "bin/roto/bin/roto-server", "--ephemeral", "--host", "0.0.0.0", "--port", "4566")
	c.name, c.ports, c.ready = "aws", []string{"4566/tcp"}, wait.ForListeningPort("4566/tcp").SkipInternalCheck().WithStartupTimeout(soon)
	return []spec{c}
}

// elasticmq has queues alone: tables are roto's, and topics ours.
func elasticmq(i images) []spec {
	tables := roto(i)[0]
	tables.name = "aws-tables"

	queues := i.program(i.elasticmq, "java", "-Xmx256m", "-Dconfig.file=/opt/elasticmq.conf", "-cp", i.bin+"/elasticmq/*", "org.elasticmq.server.Main")
	queues.name, queues.ports, queues.ready = "aws-queues", []string{"9324/tcp"}, wait.ForListeningPort("9324/tcp").SkipInternalCheck().WithStartupTimeout(soon)
	queues.binds = append(queues.binds, i.root+"/integration/containers/images/elasticmq.conf:/opt/elasticmq.conf:ro")

	topics := ours(i)[0]
	topics.name = "aws-topics"
	return []spec{tables, queues, topics, front(i, "http://aws-topics:4566", "http://aws-queues:9324", "http://aws-tables:4566")}
}

// moveTo brings the system up on another AWS.
func (s *stack) moveTo(ctx context.Context, aws func(images) []spec) error {
	var apps, all []string // sidecars, too, know queues and topics by where they are
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

func each(names []string, f func(string) error) error {
	var g errgroup.Group
	for _, name := range names {
		g.Go(func() error { return f(name) })
	}
	return g.Wait()
}

// inside leaves a test out that has an AWS of its own to run on.
func inside(t *testing.T) {
	t.Helper()
	if outside {
		t.Skip("left out: AWS is outside (" + awsEnv + ")")
	}
}
