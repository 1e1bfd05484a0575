package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/carriersim"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// kept fills a data directory with a bit of everything.
func kept(t *testing.T, data string) {
	t.Helper()
	e, err := embedded.Open(embedded.Options{Dir: filepath.Join(data, "engine"), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("aws", func(t *testing.T) { // at its end, the endpoint is closed
		a := testkit.NewAWS(t, func(o *awslocal.Options) { o.Dir = filepath.Join(data, "aws") })
		a.SetStock(t, map[string]int64{"A": 1, "B": 2, "C": 3, "D": 4})
	})
	p, err := paymentsim.Open(paymentsim.Options{Dir: filepath.Join(data, "payment"), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/charges", strings.NewReader(fmt.Sprintf(`{"orderId":"o-%d","amount":1,"currency":"EUR","token":"tok_ok"}`, n)))
		r.Header.Set("Idempotency-Key", fmt.Sprint("k", n))
		w := httptest.NewRecorder()
		if p.Handler().ServeHTTP(w, r); w.Code != http.StatusOK && w.Code != http.StatusCreated {
			t.Fatal(w.Code, w.Body)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(filepath.Join(data, "carrier"), journal.Options{Logger: zerolog.Nop()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if err := j.Append([]byte(fmt.Sprintf(`{"shipmentId":"s-%d","orderId":"o-%d"}`, n, n))).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// opens starts what has kept a folder, and ends it again.
func opens(t *testing.T, data, folder string) error {
	t.Helper()
	switch folder {
	case "carrier":
		c, err := carriersim.Open(carriersim.Options{Dir: filepath.Join(data, folder), Logger: zerolog.Nop()})
		if err == nil {
			err = c.Close()
		}
		return err
	case "payment":
		return starts(t, func(ctx context.Context, l net.Listener) error {
			return devenv.Payment{DataDir: data, Listener: l, Logger: zerolog.Nop()}.Run(ctx)
		})
	default:
		return starts(t, func(ctx context.Context, l net.Listener) error {
			return devenv.LocalAWS{DataDir: data, Listener: l, Logger: zerolog.Nop()}.Run(ctx)
		})
	}
}

func starts(t *testing.T, run func(context.Context, net.Listener) error) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it opens what it has kept, and ends
	return run(ctx, l)
}

func TestDataVerifyAndRepair(t *testing.T) {
	data := t.TempDir()
	ordersaga := func(status int, say string, args ...string) {
		t.Helper()
		var out strings.Builder
		got := run(t.Context(), append(args, "--data-dir", data), &out, &out)
		if got != status || !strings.Contains(out.String(), say) {
			t.Errorf("%v: status %d, want %d saying %q:\n%s", args, got, status, say, out.String())
		}
	}
	ordersaga(1, "nothing has kept state there", "data", "verify")
	kept(t, data)
	ordersaga(0, filepath.Join(data, "carrier")+": 1 files, 5 records\nOK", "data", "verify")
	ordersaga(0, "Engine state in "+filepath.Join(data, "engine"), "data", "verify")
	ordersaga(0, "Nothing to repair.", "data", "repair")
	for _, folder := range devenv.Journals {
		log := filepath.Join(data, folder, "log-0000000000000001")
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(log, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := opens(t, data, folder); err == nil || folder != "carrier" && !strings.Contains(err.Error(), "ordersaga data repair --data-dir "+data) {
			t.Errorf("%s: start says %v", folder, err)
		}
		ordersaga(1, filepath.Join(data, folder)+": it is damaged", "data", "verify")
		ordersaga(0, "Repaired. The files as they were are in "+filepath.Join(data, folder)+".damaged-", "data", "repair")
		ordersaga(0, "OK", "data", "verify")
		if err := opens(t, data, folder); err != nil {
			t.Errorf("%s: after the repair: %v", folder, err)
		}
	}
	ordersaga(0, filepath.Join(data, "carrier")+": 2 files, ", "data", "verify")
}
