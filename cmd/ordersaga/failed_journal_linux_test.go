package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// maxFileSize is the variable with the size, in bytes, at which writes to a file fail in a
// process under test.
const maxFileSize = "ORDERSAGA_TEST_MAX_FILE_SIZE"

// limitFiles sets the limit of the variable, if it is set.
func limitFiles() error {
	text := os.Getenv(maxFileSize)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
	}
	if err != nil {
		return fmt.Errorf("limit the size of files: %w", err)
	}
	return nil
}

// TestProgramsEndWhenTheirJournalFails lets a write to the journal fail. Each program then ends
// with an error that states it.
func TestProgramsEndWhenTheirJournalFails(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	port := at(freePort(t))
	charge := func(i int) *http.Request {
		r := newRequest(t, "http://"+port+"/v1/charges", fmt.Sprintf(`{"orderId":"o-%d","amount":1,"currency":"EUR","token":"tok_ok"}`, i))
		r.Header.Set("Idempotency-Key", strconv.Itoa(i))
		return r
	}
	for name, program := range map[string]struct {
		args   []string
		health string
		change func(i int) *http.Request
	}{
		"local-aws": {
			args:   []string{"local-aws", "--listen=" + port},
			health: awslocal.HealthPath,
			change: func(i int) *http.Request {
				return newRequest(t, fmt.Sprintf("http://%s/?Action=CreateQueue&QueueName=q-%d", port, i), "")
			},
		},
		"payment": {args: []string{"payment", "--listen=" + port}, health: "/readyz", change: charge},
		"carrier": {
			args:   []string{"carrier", "--pushed", "--aws-endpoint=" + a.Endpoint, "--listen=" + port},
			health: "/readyz",
			change: func(i int) *http.Request {
				return newRequest(t, "http://"+port+"/v1/shipment-events",
					fmt.Sprintf(`{"type":"ShipmentRequested","shipmentId":"shp-%d","orderId":"o-%[1]d"}`, i))
			},
		},
		"dev": {
			args:   []string{"dev", "--port=0", "--aws-port=0", "--carrier-port=0", "--payment-port=" + port[strings.LastIndexByte(port, ':')+1:]},
			health: "/readyz", change: charge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t, t.TempDir(), name, "http://"+port+program.health, append(program.args, "--data-dir="+t.TempDir())...)
			p.env = []string{maxFileSize + "=65536"}
			p.start()
			ended := make(chan error, 1)
			go func() { ended <- p.cmd.Wait() }()
			client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			i := 0
			require.EventuallyNoError(t, name+" ends", time.Minute, func() error {
				for range 50 {
					i++
					if res, err := client.Do(program.change(i)); err == nil {
						_ = res.Body.Close() // only the journal matters
					}
				}
				select {
				case err := <-ended:
					ended <- err
					return nil
				default:
					return fmt.Errorf("it runs after %d changes", i)
				}
			})
			p.cmd = nil
			if err := <-ended; err == nil {
				t.Errorf("%s ended with status 0 after its journal had failed, want an error", name)
			}
			log, err := os.ReadFile(p.log)
			if err != nil || !strings.Contains(string(log), "its journal cannot be written") || !strings.Contains(string(log), "file too large") {
				t.Errorf("log = %s (%v), want the error of the journal", tail(log, 2000), err)
			}
		})
	}
}

func newRequest(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	return r
}
