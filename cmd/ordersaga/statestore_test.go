package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestOthersReadSagas reads sagas as a dashboard does, which has nothing but the
// directory on the sidecars' command line. It reads the state store's file there,
// then the store with its own client, and checks a saga's state. The sidecars
// keep running.
func TestOthersReadSagas(t *testing.T) {
	testkit.RequireDapr(t)
	testkit.RequireTool(t, "sqlite3", "apt-get install sqlite3")
	for store, flags := range map[string]func(*testing.T) []string{
		"sqlite": func(*testing.T) []string { return nil },
		"redis": func(t *testing.T) []string {
			return []string{"--state=redis", "--state-address=" + testkit.Redis(t).Address}
		},
		"postgresql": func(t *testing.T) []string {
			return []string{"--state=postgresql", "--state-address=" + testkit.PostgreSQL(t).Address + ` application_name='it\'s:#1'`}
		},
	} {
		t.Run(store, func(t *testing.T) {
			t.Chdir(t.TempDir())
			ctx, stop := context.WithCancel(t.Context())
			r, w := io.Pipe()
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, devArgs(append(flags(t), "--engine=dapr", "--workers=2", "--data-dir=it's here: 1")...), w, io.Discard)
				_ = w.Close()
			}()
			greeting := readUntil(t, r, "/v1/sagas/o-1044")
			go func() { _, _ = io.Copy(io.Discard, r) }()
			api := between(t, greeting, "API        ", " ")
			for id, o := range map[string]struct{ token, price, status string }{
				"sold":     {"tok_ok", "1999", "COMPLETED"},
				"declined": {"tok_declined", "1999", "DECLINED"},
				"waiting":  {"tok_ok", "99999", "AWAITING_APPROVAL"},
			} {
				post(t, api+"/v1/orders", `{"orderId":"`+id+`","customerId":"c-7","currency":"EUR",
					"lines":[{"sku":"SKU-1","quantity":2,"unitPrice":`+o.price+`}],"payment":{"token":"`+o.token+`"}}`)
				require.EventuallyNoError(t, id+" is "+o.status, time.Minute, func() error { return sagaIs(api, id, o.status) })
			}

			// The orders' records can be ahead of their sagas for a moment.
			require.EventuallyNoError(t, "all is in the store", 30*time.Second, func() error {
				found, err := sagasIn(t.Context(), filepath.Join("it's here: 1", "dapr", "components"))
				if err != nil {
					return err
				}
				if ids := slices.Sorted(maps.Keys(found)); !slices.Equal(ids, []string{"declined", "sold", "waiting"}) {
					return fmt.Errorf("it has %q", ids)
				}
				for id, want := range map[string]struct{ status, custom, output string }{
					"sold":     {"COMPLETED", "COMPLETED", `"status":"COMPLETED"`},
					"declined": {"COMPLETED", "DECLINED: ", `"status":"DECLINED"`},
					"waiting":  {"RUNNING", "approve", ""},
				} {
					got := found[id]
					in, _ := runtimestate.Input(got) // an empty one fails below
					out, _ := runtimestate.Output(got)
					status := strings.TrimPrefix(runtimestate.RuntimeStatus(got).String(), "ORCHESTRATION_STATUS_")
					custom := got.GetCustomStatus().GetValue()
					if status != want.status || !strings.HasPrefix(custom, want.custom) ||
						!strings.Contains(out.GetValue(), want.output) || !strings.Contains(in.GetValue(), id) {
						return fmt.Errorf("saga %s is %s %q, in %s, out %s", id, status, custom, in.GetValue(), out.GetValue())
					}
				}
				return nil
			})
			stop()
			if status := <-ended; status != 0 {
				t.Errorf("dev ended with status %d, want 0", status)
			}
		})
	}
}

// sagasIn reads all sagas from the store of a folder with Dapr's components.
func sagasIn(ctx context.Context, folder string) (map[string]*protos.WorkflowRuntimeState, error) {
	kind, address, err := actorStore(folder)
	if err != nil {
		return nil, err
	}
	values, err := valuesIn(ctx, kind, address, "ordersaga||dapr.internal.default.ordersaga.workflow||")
	if err != nil {
		return nil, err
	}
	custom, history := map[string]*wrapperspb.StringValue{}, map[string][]*protos.HistoryEvent{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		part := strings.Split(key, "||")
		switch id, what := part[2], part[3]; {
		case what == "customStatus":
			custom[id] = &wrapperspb.StringValue{}
			err = proto.Unmarshal(values[key], custom[id])
		case strings.HasPrefix(what, "history-"):
			e := &protos.HistoryEvent{}
			err = proto.Unmarshal(values[key], e)
			history[id] = append(history[id], e)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	sagas := map[string]*protos.WorkflowRuntimeState{}
	for id := range history {
		sagas[id] = runtimestate.NewWorkflowRuntimeState(id, custom[id], history[id])
	}
	return sagas, nil
}

// actorStore is the component that keeps workflows. What is no value in the file
// is not there for others.
func actorStore(folder string) (kind, address string, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	for _, file := range files {
		b, readErr := os.ReadFile(file)
		var c struct {
			Spec struct {
				Type     string
				Metadata []struct{ Name, Value string }
			}
		}
		err = errors.Join(err, readErr, yaml.Unmarshal(b, &c))
		meta := map[string]string{}
		for _, m := range c.Spec.Metadata {
			meta[m.Name] = m.Value
		}
		if meta["actorStateStore"] == "true" {
			kind, address = c.Spec.Type, meta["connectionString"]+meta["redisHost"]
		}
	}
	if address == "" && err == nil {
		err = errors.New("no store has an address")
	}
	return kind, address, err
}

// valuesIn reads what is at keys with a prefix.
func valuesIn(ctx context.Context, kind, address, prefix string) (map[string][]byte, error) {
	values := map[string][]byte{}
	switch kind {
	case "state.redis":
		host, port, _ := strings.Cut(address, ":")
		keys, err := exec.CommandContext(ctx, "redis-cli", "-h", host, "-p", port, "--scan", "--pattern", prefix+"*").Output()
		if err != nil {
			return nil, err
		}
		for key := range strings.Lines(string(keys)) {
			key = strings.TrimSuffix(key, "\n")
			b, err := exec.CommandContext(ctx, "redis-cli", "-h", host, "-p", port, "HGET", key, "data").Output()
			if err != nil {
				return nil, err
			}
			values[key] = b[:len(b)-1] // it ends the line
		}
		return values, nil
	case "state.sqlite":
		return rows(base64.StdEncoding.DecodeString, exec.CommandContext(ctx, "sqlite3", "-readonly", "-separator", "\t", address,
			"SELECT key, value FROM state WHERE is_binary AND key LIKE '"+prefix+"%'"))
	case "state.postgresql":
		return rows(hex.DecodeString, exec.CommandContext(ctx, "psql", "-AtF\t", address, "-c",
			"SELECT key, encode(value, 'hex') FROM state WHERE key LIKE '"+prefix+"%'"))
	}
	return nil, fmt.Errorf("unknown state store type %q", kind)
}

// rows are what a command prints: key, tab, value.
func rows(decode func(string) ([]byte, error), cmd *exec.Cmd) (map[string][]byte, error) {
	out, err := cmd.Output()
	values := map[string][]byte{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		b, decodeErr := decode(value)
		values[key], err = b, errors.Join(err, decodeErr)
	}
	return values, err
}

// TestOpenSidecars calls sidecars without a token and checks the warning in dev's
// output. TestPublishThroughDapr checks sidecars that require one.
func TestOpenSidecars(t *testing.T) {
	testkit.RequireDapr(t)
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, devArgs("--ephemeral", "--engine=dapr", "--open-sidecars"), w, io.Discard)
		_ = w.Close()
	}()
	greeting := readUntil(t, r, "\n  grpc ")
	go func() { _, _ = io.Copy(io.Discard, r) }()
	for text, want := range map[string]bool{
		"any program on this machine, and any web page open on it, can control them": true,
		"dev-dashboard --mode dapr-run --port 9091":                                  true,
		"dapr-api-token": false,
	} {
		if strings.Contains(greeting, text) != want {
			t.Errorf("the output has %q: %t, want %t\n%s", text, !want, want, greeting)
		}
	}
	_, dapr, _ := strings.Cut(greeting, "Or publish an order through Dapr")
	url := between(t, dapr, "curl -i ", " ")
	post(t, url, between(t, dapr, "-d '", "'"))
	api := between(t, greeting, "API        ", " ")
	require.EventuallyNoError(t, "order completes", 30*time.Second, func() error { return sagaIs(api, "o-1044", "COMPLETED") })
	sidecar, _, _ := strings.Cut(url, "/v1.0/")
	var saga strings.Builder
	if err := get(sidecar+"/v1.0/workflows/dapr/o-1044", &saga); err != nil || !strings.Contains(saga.String(), `"workflowName":"OrderSaga"`) {
		t.Errorf("workflow o-1044 from the sidecar: %v, %s, want an OrderSaga", err, saga.String())
	}
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("dev ended with status %d, want 0", status)
	}
}
