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

// Pod is what the stand-in for a kubelet reads of one.
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

// Container is what the chart wants to run.
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

func (p *Pod) component() string { return p.Metadata.Labels["app.kubernetes.io/component"] }

// kubelet runs for each pod what its spec says: a real daprd, as Dapr's
// injector would have added one, and a real ordersaga process with the spec's
// arguments and environment. It maps addresses only: all pods are on loopback.
type kubelet struct {
	t       *testing.T
	cluster *kube.Cluster
	dapr    *daprlocal.Cluster
	program string         // ordersaga
	logs    string         // folder
	ports   map[string]int // of the pods of a component, which others must find; else any
	token   string         // of the sidecars

	mu     sync.Mutex
	pods   map[string]*running // by UID
	held   map[string]bool     // components whose processes are not started
	ended  []string            // how processes have ended that nobody told to
	killed []string            // pods that had not ended within their grace period
}

// running is a pod with its processes.
type running struct {
	pod   Pod
	stop  context.CancelFunc // lets it end in good order
	grace time.Duration
	kill  chan struct{} // closed: now, as a crash would
}

const (
	pods = "/api/v1/namespaces/default/pods"
	node = "loopback"
)

// run plays the kubelet until ctx ends, and ends all pods then.
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
			k.look(ctx, &all)
		}
	}
}

func (k *kubelet) look(ctx context.Context, all *sync.WaitGroup) {
	var list struct{ Items []Pod }
	if err := k.cluster.Get(ctx, pods, &list); err != nil {
		return // the next look tells
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range list.Items {
		r := k.pods[p.Metadata.UID]
		switch gone := p.Metadata.DeletionTimestamp != nil; {
		case r == nil && !gone && !k.held[p.component()]:
			if !k.bind(ctx, p) {
				continue
			}
			podCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
			r = &running{pod: p, stop: stop, kill: make(chan struct{}), grace: 30 * time.Second}
			k.pods[p.Metadata.UID] = r
			all.Go(func() { k.live(podCtx, r) })
		case r != nil && gone:
			if s := p.Metadata.DeletionGracePeriodSeconds; s != nil {
				r.grace = time.Duration(*s) * time.Second
			}
			r.stop()
		}
	}
}

// bind does what the scheduler does: a pod without a node is deleted at once,
// without a grace period.
func (k *kubelet) bind(ctx context.Context, p Pod) bool {
	if p.Spec.NodeName != "" {
		return true
	}
	err := k.cluster.Post(ctx, pods+"/"+p.Metadata.Name+"/binding", map[string]any{
		"metadata": map[string]any{"name": p.Metadata.Name}, "target": map[string]any{"kind": "Node", "name": node},
	})
	return err == nil
}

// live is a pod's life. ctx ends when it is to end.
func (k *kubelet) live(ctx context.Context, r *running) {
	name := r.pod.Metadata.Name
	defer func() {
		after := context.WithoutCancel(ctx)
		_ = k.cluster.Delete(after, pods+"/"+name, map[string]any{ // it may be gone
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
		k.t.Errorf("sidecar of pod %s: %v", name, err)
		return
	}
	defer k.dapr.Shutdown("daprd " + name) // ends after the app, as a native sidecar does
	port := k.ports[r.pod.component()]
	if port == 0 {
		port = freePort(k.t)
	}
	for ctx.Err() == nil {
		k.process(ctx, r, side, port)
	}
}

// process runs the container until the pod is to end, or it ends itself.
func (k *kubelet) process(ctx context.Context, r *running, side *daprlocal.Sidecar, port int) {
	c := r.pod.Spec.Containers[0]
	log, err := os.OpenFile(filepath.Join(k.logs, r.pod.Metadata.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Error(err)
		return
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	cmd := exec.Command(k.program, slices.Concat(c.Command, c.Args)...)
	cmd.Env = append(k.env(c), "HOME="+k.logs,
		fmt.Sprintf("ORDERSAGA_LISTEN=127.0.0.1:%d", port), "DAPR_API_TOKEN="+k.token,
		"DAPR_GRPC_PORT="+side.GRPC[strings.LastIndex(side.GRPC, ":")+1:], "DAPR_HTTP_PORT="+side.HTTP[strings.LastIndex(side.HTTP, ":")+1:])
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		k.t.Errorf("pod %s: %v", r.pod.Metadata.Name, err)
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
	case err := <-ended: // a kubelet starts it again
		k.note(&k.ended, fmt.Sprintf("%s: %v", r.pod.Metadata.Name, err))
		k.status(ctx, r, "Running", false)
		return
	case <-r.kill:
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		r.stop()
		return
	case <-ctx.Done():
	}
	stopProbes()
	k.status(ctx, r, "Running", false)
	late := time.NewTimer(r.grace)
	defer late.Stop()
	sleep := time.NewTimer(time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second)
	defer sleep.Stop()
	<-sleep.C
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-ended:
	case <-late.C:
		k.note(&k.killed, r.pod.Metadata.Name)
		_ = cmd.Process.Kill() // likewise
		<-ended
	}
}

// env is the container's environment. The chart takes values from nowhere else
// in this test.
func (k *kubelet) env(c Container) (env []string) {
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			k.t.Errorf("%s is from somewhere else: %v", e.Name, e.ValueFrom)
		}
		env = append(env, e.Name+"="+e.Value)
	}
	return env
}

// probe asks the container whether it is ready, and starts a sidecar again that
// has ended (a worker ends one that runs no sagas).
func (k *kubelet) probe(ctx context.Context, r *running, c Container, port int, side *daprlocal.Sidecar) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	ready := false
	for {
		is := answers(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", port, c.ReadinessProbe.HTTPGet.Path)) == nil
		if is != ready && ctx.Err() == nil {
			k.status(ctx, r, "Running", is)
			ready = is
		}
		if err := answers(ctx, side.HTTP+"/v1.0/healthz/outbound"); errors.Is(err, syscall.ECONNREFUSED) {
			k.note(&k.ended, "daprd of "+r.pod.Metadata.Name)
			if err := k.dapr.Restart(ctx, "daprd "+r.pod.Metadata.Name); err != nil && ctx.Err() == nil {
				k.t.Errorf("sidecar of %s: %v", r.pod.Metadata.Name, err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 7*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := plain.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // its status is all that counts
	if res.StatusCode >= http.StatusMultipleChoices {
		return errors.New(res.Status)
	}
	return nil
}

var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (k *kubelet) note(list *[]string, what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*list = append(*list, what)
}

// status tells the API server how a pod is.
func (k *kubelet) status(ctx context.Context, r *running, phase string, ready bool) {
	is := map[bool]string{true: "True", false: "False"}[ready]
	condition := func(kind string) map[string]any {
		return map[string]any{"type": kind, "status": is, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
	}
	err := k.cluster.Patch(context.WithoutCancel(ctx), pods+"/"+r.pod.Metadata.Name+"/status", map[string]any{"status": map[string]any{
		"phase": phase, "startTime": time.Now().UTC().Format(time.RFC3339), "podIP": "127.0.0.1",
		"conditions": []any{condition("Ready"), condition("ContainersReady")},
	}})
	if err != nil && !kube.IsStatus(err, http.StatusNotFound) {
		k.t.Errorf("status of pod %s: %v", r.pod.Metadata.Name, err)
	}
}

// hold keeps a component's processes away: they are killed, and none is
// started until it is let go.
func (k *kubelet) hold(component string) (letGo func()) {
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

// count is how many pods of a component run processes.
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
