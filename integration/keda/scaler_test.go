package keda

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/kube"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// Trigger is a trigger of the chart's ScaledObject.
type Trigger struct {
	Name       string            `yaml:"name" json:"name"`
	Type       string            `yaml:"type" json:"type"`
	MetricType string            `yaml:"metricType" json:"metricType"`
	Metadata   map[string]string `yaml:"metadata" json:"metadata"`
	Auth       map[string]string `yaml:"-" json:"auth"`
}

// measured is the result of KEDA's own scaler for a trigger.
type measured struct {
	Name, Metric, Error string
	Value, Target       float64
	Active              bool
}

// triggers renders the chart with settings, and returns the triggers of its ScaledObject.
func triggers(t *testing.T, settings ...string) []Trigger {
	t.Helper()
	chart := filepath.Join(testkit.Root(t), "deploy", "helm", "ordersaga")
	// Go caches a result until a file changes that the test itself has read, so read
	// the files that helm reads.
	require.NoError(t, filepath.WalkDir(chart, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	}))
	args := []string{
		"template", release, chart, "--set",
		"requireCRDs=false,state.address=redis:6379,payment.url=http://payment,autoscaling.enabled=true,autoscaling.credentials.secret=aws",
	}
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	out, err := exec.CommandContext(t.Context(), kube.Helm(t), args...).Output()
	if err != nil {
		failed, _ := errors.AsType[*exec.ExitError](err)
		t.Fatalf("helm template: %v %+v", err, failed)
	}
	docs := yaml.NewDecoder(bytes.NewReader(out))
	for {
		var doc struct {
			Kind string
			Spec struct{ Triggers []Trigger }
		}
		err := docs.Decode(&doc)
		if errors.Is(err, io.EOF) {
			t.Fatal("the rendered chart has no ScaledObject, want one")
		}
		require.NoError(t, err)
		if doc.Kind == "ScaledObject" {
			for i := range doc.Spec.Triggers {
				doc.Spec.Triggers[i].Auth = map[string]string{"awsAccessKeyID": "local", "awsSecretAccessKey": "local"}
			}
			return doc.Spec.Triggers
		}
	}
}

// measure evaluates triggers by KEDA's own scalers. It returns the results by name of the trigger.
func measure(t *testing.T, triggers []Trigger) map[string]measured {
	t.Helper()
	in, err := json.Marshal(triggers)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), kube.Scaler(t))
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run keda-scaler: %v", err)
	}
	var list []measured
	require.NoError(t, json.Unmarshal(out, &list))
	all := map[string]measured{}
	for _, m := range list {
		all[m.Name] = m
	}
	return all
}

// TestTriggers evaluates the chart's triggers by KEDA's own scalers, on a local queue and a real
// API with orders in several states. It needs no Kubernetes.
func TestTriggers(t *testing.T) {
	kube.Scaler(t)
	kube.Helm(t)
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.NoIntake = true }, nil)
	s.SetStock(t, map[string]int64{"SKU-0": 1000})
	all := triggers(t,
		"aws.endpoint="+s.Endpoint, "autoscaling.queue.url="+s.Resources.OrderQueue, "autoscaling.sagas.url="+s.API+"/load",
		"autoscaling.queue.perWorker=50", "autoscaling.sagas.perWorker=100")
	expect := func(what string, orders, sagas float64) {
		t.Helper()
		testkit.Eventually(t, what, func() error {
			got := measure(t, all)
			for name, want := range map[string]measured{
				"orders":  {Value: orders, Target: 50, Active: orders > 0},
				"sagas":   {Value: sagas, Target: 100, Active: sagas > 0},
				"answers": {Target: 50},
			} {
				m := got[name]
				want.Name, want.Metric = name, m.Metric
				if m != want || m.Metric == "" {
					return fmt.Errorf("trigger %s = %+v, want %+v", name, m, want)
				}
			}
			return nil
		})
	}
	startSaga := func(id string, change func(*order.Order)) {
		t.Helper()
		o := newOrder(id, 0)
		if change != nil {
			change(&o)
		}
		b, err := json.Marshal(o)
		require.NoError(t, err)
		res, err := httpClient.Post(s.API+"/v1/sagas", "application/json", bytes.NewReader(b))
		require.NoError(t, err)
		_ = res.Body.Close() // only the status matters
		if res.StatusCode >= http.StatusMultipleChoices {
			t.Fatalf("start saga %s: status = %s, want success", id, res.Status)
		}
	}
	expect("nothing to do", 0, 0)
	for range 7 {
		body := "anything"
		_, err := s.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &s.Resources.OrderQueue, MessageBody: &body})
		require.NoError(t, err)
	}
	expect("messages wait", 7, 0)
	startSaga("expensive", func(o *order.Order) { o.Lines[0].UnitPrice = 200_000 })
	expect("a saga waits for approval", 7, 0)
	startSaga("down", func(o *order.Order) { o.Payment.Token = "tok_refund_down"; o.ShipTo.Name = "REFUSE" })
	testkit.Eventually(t, "a saga needs attention", func() error {
		rec, err := s.Store.Get(t.Context(), "down")
		if err == nil && rec.Status != order.StatusNeedsAttention {
			err = errors.New("status = " + string(rec.Status))
		}
		return err
	})
	expect("a saga waits for approval and another needs attention", 7, 0)
	// Changes only the order: its saga still waits for approval.
	require.NoError(t, s.Store.MarkNeedsAttention(t.Context(), "expensive", "by hand"))
	_, err := s.Store.Reserve(t.Context(), accepted(t, s, "backoff"))
	require.NoError(t, err)
	expect("one saga has work to do", 7, 1)

	t.Run("an unreachable API is an error", func(t *testing.T) {
		s.StopWorker()
		if got := measure(t, all)["sagas"]; !strings.Contains(got.Error, s.API) {
			t.Errorf("trigger sagas = %+v, want an error that names %s", got, s.API)
		}
	})
	t.Run("a missing queue is an error", func(t *testing.T) {
		i := slices.IndexFunc(all, func(t Trigger) bool { return t.Name == "orders" })
		all[i].Metadata["queueURL"] = s.Endpoint + "/000000000000/Misspelt"
		got := measure(t, all)["orders"]
		if !strings.Contains(got.Error, "NonExistentQueue") && !strings.Contains(got.Error, "QueueDoesNotExist") {
			t.Errorf("trigger orders = %+v, want the error NonExistentQueue or QueueDoesNotExist", got)
		}
	})
}

// accepted records an order without starting its saga, and returns it.
func accepted(t *testing.T, s testkit.System, id string) order.Order {
	t.Helper()
	o := newOrder(id, 0)
	_, _, err := s.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	return o
}
