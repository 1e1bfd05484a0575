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
	"github.com/ordersaga/ordersaga/internal/worker"
)

// Trigger is one of the chart's ScaledObject.
type Trigger struct {
	Name       string            `yaml:"name" json:"name"`
	Type       string            `yaml:"type" json:"type"`
	MetricType string            `yaml:"metricType" json:"metricType"`
	Metadata   map[string]string `yaml:"metadata" json:"metadata"`
	Auth       map[string]string `yaml:"-" json:"auth"`
}

// measured is what KEDA's own scaler says of a trigger.
type measured struct {
	Name, Metric, Error string
	Value, Target       float64
	Active              bool
}

// triggers renders the chart, and takes the ScaledObject's.
func triggers(t *testing.T, settings ...string) []Trigger {
	t.Helper()
	chart := filepath.Join(testkit.Root(t), "deploy", "helm", "ordersaga")
	// What helm reads: go's cache of results goes by the files that the test
	// itself has opened.
	must(t, filepath.WalkDir(chart, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	}))
	args := []string{"template", release, chart, "--set",
		"requireCRDs=false,state.address=redis:6379,payment.url=http://payment,autoscaling.enabled=true,autoscaling.credentials.secret=aws"}
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
		if err := docs.Decode(&doc); errors.Is(err, io.EOF) {
			t.Fatal("the chart has no ScaledObject")
		} else if err != nil {
			t.Fatal(err)
		}
		if doc.Kind == "ScaledObject" {
			for i := range doc.Spec.Triggers {
				doc.Spec.Triggers[i].Auth = map[string]string{"awsAccessKeyID": "local", "awsSecretAccessKey": "local"}
			}
			return doc.Spec.Triggers
		}
	}
}

// ask has KEDA's scalers measure.
func ask(t *testing.T, triggers []Trigger) map[string]measured {
	t.Helper()
	in, err := json.Marshal(triggers)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), kube.Scaler(t))
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("keda-scaler: %v", err)
	}
	var list []measured
	must(t, json.Unmarshal(out, &list))
	all := map[string]measured{}
	for _, m := range list {
		all[m.Name] = m
	}
	return all
}

// TestTriggers asks KEDA's own scalers, with the chart's triggers, about a local
// queue and a real API with orders in many states. No Kubernetes is needed.
func TestTriggers(t *testing.T) {
	kube.Scaler(t)
	kube.Helm(t)
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.NoIntake = true }, nil)
	s.SetStock(t, map[string]int64{"SKU-0": 1000})
	all := triggers(t,
		"aws.endpoint="+s.Endpoint, "autoscaling.queue.url="+s.Resources.OrderQueue, "autoscaling.sagas.url="+s.API+"/load",
		"autoscaling.queue.perWorker=50", "autoscaling.sagas.perWorker=100")
	wants := func(what string, orders, sagas float64) {
		t.Helper()
		testkit.Eventually(t, what, func() error {
			got := ask(t, all)
			for name, want := range map[string]measured{
				"orders":  {Value: orders, Target: 50, Active: orders > 0},
				"sagas":   {Value: sagas, Target: 100, Active: sagas > 0},
				"answers": {Target: 50},
			} {
				m := got[name]
				want.Name, want.Metric = name, m.Metric
				if m != want || m.Metric == "" {
					return fmt.Errorf("%+v, must be %+v", m, want)
				}
			}
			return nil
		})
	}
	starts := func(id string, change func(*order.Order)) {
		t.Helper()
		o := newOrder(id, 0)
		if change != nil {
			change(&o)
		}
		b, err := json.Marshal(o)
		must(t, err)
		res, err := plain.Post(s.API+"/v1/sagas", "application/json", bytes.NewReader(b))
		must(t, err)
		_ = res.Body.Close() // its status is all that counts
		if res.StatusCode >= http.StatusMultipleChoices {
			t.Fatalf("start %s: %s", id, res.Status)
		}
	}
	wants("nothing to do", 0, 0)
	for range 7 {
		body := "anything"
		_, err := s.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &s.Resources.OrderQueue, MessageBody: &body})
		must(t, err)
	}
	wants("messages wait", 7, 0)
	starts("dear", func(o *order.Order) { o.Lines[0].UnitPrice = 200_000 })
	wants("a saga waits for a person", 7, 0)
	starts("down", func(o *order.Order) { o.Payment.Token = "tok_refund_down"; o.ShipTo.Name = "REFUSE" })
	testkit.Eventually(t, "a saga is parked", func() error {
		rec, err := s.Store.Get(t.Context(), "down")
		if err == nil && rec.Status != order.StatusNeedsAttention {
			err = errors.New("is " + string(rec.Status))
		}
		return err
	})
	wants("two sagas wait for persons", 7, 0)
	must(t, s.Store.MarkNeedsAttention(t.Context(), "dear", "by hand")) // which does not tell its saga
	_, err := s.Store.Reserve(t.Context(), accepted(t, s, "backoff"))
	must(t, err)
	wants("one goes on by itself", 7, 1)

	t.Run("API down", func(t *testing.T) {
		s.StopWorker()
		if got := ask(t, all)["sagas"]; !strings.Contains(got.Error, s.API) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no such queue", func(t *testing.T) {
		i := slices.IndexFunc(all, func(t Trigger) bool { return t.Name == "orders" })
		all[i].Metadata["queueURL"] = s.Endpoint + "/000000000000/Misspelt"
		if got := ask(t, all)["orders"]; !strings.Contains(got.Error, "NonExistentQueue") && !strings.Contains(got.Error, "QueueDoesNotExist") {
			t.Errorf("%+v", got)
		}
	})
}

func accepted(t *testing.T, s testkit.System, id string) order.Order {
	t.Helper()
	o := newOrder(id, 0)
	_, _, err := s.Store.Accept(t.Context(), o)
	must(t, err)
	return o
}
