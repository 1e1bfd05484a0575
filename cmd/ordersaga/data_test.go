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

// fillDataDir writes some state of every kind to a data directory.
func fillDataDir(t *testing.T, data string) {
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
		charge := fmt.Sprintf(`{"orderId":"o-%d","amount":1,"currency":"EUR","token":"tok_ok"}`, n)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/charges", strings.NewReader(charge))
		r.Header.Set("Idempotency-Key", fmt.Sprint("k", n))
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusCreated {
			t.Fatalf("charge %d: status %d, want 200 or 201: %s", n, w.Code, w.Body)
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

// openFolder starts the process that owns the folder and stops it again.
func openFolder(t *testing.T, data, folder string) error {
	t.Helper()
	switch folder {
	case "carrier":
		c, err := carriersim.Open(carriersim.Options{Dir: filepath.Join(data, folder), Logger: zerolog.Nop()})
		if err == nil {
			err = c.Close()
		}
		return err
	case "payment":
		return startAndStop(t, func(ctx context.Context, l net.Listener) error {
			return devenv.Payment{DataDir: data, Listener: l, Logger: zerolog.Nop()}.Run(ctx)
		})
	default:
		return startAndStop(t, func(ctx context.Context, l net.Listener) error {
			return devenv.LocalAWS{DataDir: data, Listener: l, Logger: zerolog.Nop()}.Run(ctx)
		})
	}
}

func startAndStop(t *testing.T, run func(context.Context, net.Listener) error) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // run opens its state and returns
	return run(ctx, l)
}

func TestDataRepairMakesDamagedFilesUsable(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	ordersaga := func(status int, want string, args ...string) {
		t.Helper()
		var out strings.Builder
		got := run(t.Context(), append(args, "--data-dir", data), &out, &out)
		if got != status || !strings.Contains(out.String(), want) {
			t.Errorf("%v: status %d, want %d and %q:\n%s", args, got, status, want, out.String())
		}
	}
	ordersaga(1, "the directory has no state", "data", "verify")
	fillDataDir(t, data)
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
		err = openFolder(t, data, folder)
		if err == nil || folder != "carrier" && !strings.Contains(err.Error(), "ordersaga data repair --data-dir "+data) {
			t.Errorf("start on damaged %s: error %v, want one that names data repair", folder, err)
		}
		ordersaga(1, filepath.Join(data, folder)+": damaged", "data", "verify")
		ordersaga(0, "Repaired. The original files are in "+filepath.Join(data, folder)+".damaged-", "data", "repair")
		ordersaga(0, "OK", "data", "verify")
		if err := openFolder(t, data, folder); err != nil {
			t.Errorf("start on repaired %s: %v", folder, err)
		}
	}
	ordersaga(0, filepath.Join(data, "carrier")+": 2 files, ", "data", "verify")
}
