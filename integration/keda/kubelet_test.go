package keda

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit/kube"
)

// Pod has the fields of a pod that the test's kubelet reads.
type Pod struct {
	Metadata struct {
		Name, UID                  string
		Labels, Annotations        map[string]string
		DeletionTimestamp          *time.Time
		DeletionGracePeriodSeconds *int
	}
	Spec struct {
		NodeName   string
		Containers []Container
	}
	Status struct{ Phase string }
}

// Container has the fields of a container that the test's kubelet reads.
type Container struct {
	Name          string
	Command, Args []string
	Env           []struct {
		Name, Value string
		ValueFrom   any
	}
	ReadinessProbe struct {
		HTTPGet       struct{ Path string }
		PeriodSeconds int
	}
	Lifecycle struct {
		PreStop struct{ Sleep struct{ Seconds int } }
	}
}

// component returns the component of ordersaga that the pod runs.
func (p *Pod) component() string { return p.Metadata.Labels["app.kubernetes.io/component"] }

// kubelet acts as the kubelet of all pods. For each pod it runs a real daprd, which in a cluster
// Dapr's injector adds, and a real ordersaga process with the arguments and environment of the
// spec. It changes only addresses: all pods are on loopback.
type kubelet struct {
	t       *testing.T
	cluster *kube.Cluster
	dapr    *daprlocal.Cluster
	program string         // ordersaga
	logs    string         // directory
	ports   map[string]int // fixed ports by component; the pods of others use free ports
	token   string         // of the sidecars' API

	mu     sync.Mutex
	pods   map[string]*running // by UID
	held   map[string]bool     // components whose processes are not started
	exits  []string            // unexpected exits of processes
	killed []string            // pods that did not end within their grace period
}

// running is a pod with its processes.
type running struct {
	pod   Pod
	stop  context.CancelFunc // starts a graceful shutdown
	grace time.Duration
	kill  chan struct{} // closed to kill the process, as a crash would
}

const (
	pods = "/api/v1/namespaces/default/pods"
	node = "loopback"
)

// run runs pods until ctx is done. Then it stops all pods.
func (k *kubelet) run(ctx context.Context) {
	var all sync.WaitGroup
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.mu.Lock()
			for _, r := range k.pods {
				r.stop()
			}
			k.mu.Unlock()
			all.Wait()
			return
		case <-tick.C:
			k.sync(ctx, &all)
		}
	}
}

// sync starts new pods, and stops pods that are being deleted.
func (k *kubelet) sync(ctx context.Context, all *sync.WaitGroup) {
	var list struct{ Items []Pod }
	if err := k.cluster.Get(ctx, pods, &list); err != nil {
		return // the next call retries
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range list.Items {
		r := k.pods[p.Metadata.UID]
		gone := p.Metadata.DeletionTimestamp != nil
		switch {
		case r == nil && !gone && !k.held[p.component()]:
			if !k.bind(ctx, p) {
				continue
			}
			podCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
			r = &running{pod: p, stop: stop, kill: make(chan struct{}), grace: 30 * time.Second}
			k.pods[p.Metadata.UID] = r
			all.Go(func() { k.runPod(podCtx, r) })
		case r != nil && gone:
			if s := p.Metadata.DeletionGracePeriodSeconds; s != nil {
				r.grace = time.Duration(*s) * time.Second
			}
			r.stop()
		}
	}
}

// bind assigns a pod to the node, as the scheduler does. It reports whether the pod has a node.
// Kubernetes deletes a pod without a node immediately, without a grace period.
func (k *kubelet) bind(ctx context.Context, p Pod) bool {
	if p.Spec.NodeName != "" {
		return true
	}
	err := k.cluster.Post(ctx, pods+"/"+p.Metadata.Name+"/binding", map[string]any{
		"metadata": map[string]any{"name": p.Metadata.Name}, "target": map[string]any{"kind": "Node", "name": node},
	})
	return err == nil
}

// runPod runs a pod until ctx is done, then stops it gracefully and deletes it.
func (k *kubelet) runPod(ctx context.Context, r *running) {
	name := r.pod.Metadata.Name
	defer func() {
		after := context.WithoutCancel(ctx)
		_ = k.cluster.Delete(after, pods+"/"+name, map[string]any{ // fails only if it was deleted before
			"gracePeriodSeconds": 0, "preconditions": map[string]any{"uid": r.pod.Metadata.UID},
		})
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.pods, r.pod.Metadata.UID)
	}()
	k.status(ctx, r, "Pending", false)
	app := daprlocal.App{ID: r.pod.Metadata.Annotations["dapr.io/app-id"], Name: name}
	side, err := k.dapr.Sidecar(context.WithoutCancel(ctx), app)
	if err != nil {
		k.t.Errorf("start the sidecar of pod %s: %v", name, err)
		return
	}
	defer k.dapr.Shutdown("daprd " + name) // stops after the app, as a native sidecar does
	port := k.ports[r.pod.component()]
	if port == 0 {
		port = freePort(k.t)
	}
	for ctx.Err() == nil {
		k.process(ctx, r, side, port)
	}
}

// process runs the container's process until it exits, or until ctx is done.
func (k *kubelet) process(ctx context.Context, r *running, side *daprlocal.Sidecar, port int) {
	c := r.pod.Spec.Containers[0]
	log, err := os.OpenFile(filepath.Join(k.logs, r.pod.Metadata.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Errorf("open the log of pod %s: %v", r.pod.Metadata.Name, err)
		return
	}
	defer func() { _ = log.Close() }() // the process has its own file descriptor
	cmd := exec.Command(k.program, slices.Concat(c.Command, c.Args)...)
	cmd.Env = append(k.environment(c), "HOME="+k.logs,
		fmt.Sprintf("ORDERSAGA_LISTEN=127.0.0.1:%d", port), "DAPR_API_TOKEN="+k.token,
		"DAPR_GRPC_PORT="+side.GRPC[strings.LastIndex(side.GRPC, ":")+1:],
		"DAPR_HTTP_PORT="+side.HTTP[strings.LastIndex(side.HTTP, ":")+1:])
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = killWithParent()
	if err := cmd.Start(); err != nil {
		k.t.Errorf("start ordersaga for pod %s: %v", r.pod.Metadata.Name, err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	probes, stopProbes := context.WithCancel(ctx)
	var probing sync.WaitGroup
	probing.Go(func() { k.probe(probes, r, c, port, side) })
	defer probing.Wait()
	defer stopProbes()

	select {
	case err := <-ended: // the caller restarts it, as a kubelet does
		k.note(&k.exits, fmt.Sprintf("%s: %v", r.pod.Metadata.Name, err))
		k.status(ctx, r, "Running", false)
		return
	case <-r.kill:
		_ = cmd.Process.Kill() // fails only if it has exited
		<-ended
		r.stop()
		return
	case <-ctx.Done():
	}
	stopProbes()
	k.status(ctx, r, "Running", false)
	grace := time.NewTimer(r.grace)
	defer grace.Stop()
	sleep := time.NewTimer(time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second)
	defer sleep.Stop()
	<-sleep.C
	_ = cmd.Process.Signal(syscall.SIGTERM) // fails only if it has exited
	select {
	case <-ended:
	case <-grace.C:
		k.note(&k.killed, r.pod.Metadata.Name)
		_ = cmd.Process.Kill() // fails only if it has exited
		<-ended
	}
}

// environment returns the container's environment variables. With the values of this test, the
// chart sets all of them literally.
func (k *kubelet) environment(c Container) (vars []string) {
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			k.t.Errorf("environment variable %s has valueFrom %v, want a literal value", e.Name, e.ValueFrom)
		}
		vars = append(vars, e.Name+"="+e.Value)
	}
	return vars
}

// probe checks the container's readiness every second. It also restarts a sidecar that has
// exited: a worker shuts down a sidecar that runs no sagas.
func (k *kubelet) probe(ctx context.Context, r *running, c Container, port int, side *daprlocal.Sidecar) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	ready := false
	for {
		now := checkHTTP(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", port, c.ReadinessProbe.HTTPGet.Path)) == nil
		if now != ready && ctx.Err() == nil {
			k.status(ctx, r, "Running", now)
			ready = now
		}
		if err := checkHTTP(ctx, side.HTTP+"/v1.0/healthz/outbound"); errors.Is(err, syscall.ECONNREFUSED) {
			k.note(&k.exits, "daprd of "+r.pod.Metadata.Name)
			if err := k.dapr.Restart(ctx, "daprd "+r.pod.Metadata.Name); err != nil && ctx.Err() == nil {
				k.t.Errorf("restart the sidecar of pod %s: %v", r.pod.Metadata.Name, err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkHTTP returns an error unless a GET of the URL succeeds within 7 s.
func checkHTTP(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 7*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // only the status matters
	if res.StatusCode >= http.StatusMultipleChoices {
		return errors.New(res.Status)
	}
	return nil
}

// httpClient does not keep connections, because the tests check for goroutine leaks.
var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// note appends to one of the kubelet's lists.
func (k *kubelet) note(list *[]string, what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*list = append(*list, what)
}

// status reports a pod's phase and readiness to the API server.
func (k *kubelet) status(ctx context.Context, r *running, phase string, ready bool) {
	value := "False"
	if ready {
		value = "True"
	}
	condition := func(kind string) map[string]any {
		return map[string]any{"type": kind, "status": value, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
	}
	err := k.cluster.Patch(context.WithoutCancel(ctx), pods+"/"+r.pod.Metadata.Name+"/status", map[string]any{"status": map[string]any{
		"phase": phase, "startTime": time.Now().UTC().Format(time.RFC3339), "podIP": "127.0.0.1",
		"conditions": []any{condition("Ready"), condition("ContainersReady")},
	}})
	if err != nil && !kube.IsStatus(err, http.StatusNotFound) {
		k.t.Errorf("report the status of pod %s: %v", r.pod.Metadata.Name, err)
	}
}

// hold kills the processes of a component, and starts none until release is called.
func (k *kubelet) hold(component string) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[component] = true
	for _, r := range k.pods {
		if r.pod.component() == component {
			close(r.kill)
		}
	}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.held, component)
	}
}

// count returns how many pods of a component run.
func (k *kubelet) count(component string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.pods {
		if r.pod.component() == component {
			n++
		}
	}
	return n
}
