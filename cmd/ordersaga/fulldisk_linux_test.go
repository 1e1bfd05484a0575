package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// tinyDisk is the variable with the directory on which a process under test
// mounts a very small file system of its own.
const tinyDisk = "ORDERSAGA_TEST_TINY_DISK"

func init() {
	beforeProgram = func() error {
		dir := os.Getenv(tinyDisk)
		if dir == "" {
			return limitFiles()
		}
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
			return fmt.Errorf("mount a tiny disk: %w", err)
		}
		return nil
	}
}

// ownMounts gives a process its own mount namespace, without privileges.
func ownMounts() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// TestWorkerWithAFullDiskIsNotReadyAndShutsDown fills a worker's disk with orders. The worker is then not ready,
// shuts down in time, and logs the reason.
func TestWorkerWithAFullDiskIsNotReadyAndShutsDown(t *testing.T) {
	dir := t.TempDir()
	env := []string{tinyDisk + "=" + dir}
	try := exec.Command(os.Args[0], "version")
	try.Env, try.SysProcAttr = append(append(os.Environ(), asOrdersaga+"=1"), env...), ownMounts()
	if out, err := try.CombinedOutput(); err != nil {
		testkit.SkipOrFail(t, fmt.Sprintf("this machine allows no mounts without privileges (%v): %s", err, out))
	}

	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 1_000_000})
	port := freePort(t)
	w := newProcess(t, t.TempDir(), "worker", "http://"+at(port)+"/healthz", "worker", "--aws-endpoint="+a.Endpoint,
		"--payment-url=http://127.0.0.1:1", "--data-dir="+dir, "--listen="+at(port), "--shutdown-timeout=5s", "--reconcile-every=0")
	w.env, w.sys = env, ownMounts()
	w.start()

	orders := 0
	ready := "http://" + at(port) + "/readyz"
	require.EventuallyNoError(t, "worker is not ready", time.Minute, func() error {
		if err := get(ready, &strings.Builder{}); err != nil && strings.Contains(err.Error(), strconv.Itoa(http.StatusServiceUnavailable)) {
			return nil
		}
		var some []types.SendMessageBatchRequestEntry
		for range 10 {
			orders++
			id := fmt.Sprint("o-", orders)
			body := `{"orderId":"` + id + `","customerId":"c","currency":"EUR",
				"lines":[{"sku":"A","quantity":1,"unitPrice":1}],"payment":{"token":"tok_ok"}}`
			some = append(some, types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body})
		}
		batch := &sqs.SendMessageBatchInput{QueueUrl: &a.Resources.OrderQueue, Entries: some}
		if _, err := a.Clients.SQS.SendMessageBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		return fmt.Errorf("after %d orders", orders)
	})

	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	began, ended := time.Now(), make(chan error, 1)
	go func() { ended <- w.cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil || time.Since(began) > 15*time.Second { // five, and more for a busy machine
			t.Errorf("the worker exited after %s with %v, want an error within 15 s", time.Since(began), err)
		}
	case <-time.After(40 * time.Second):
		t.Error("the worker has not exited after 40 s, want an exit within 15 s")
		_ = w.cmd.Process.Kill() // so that the test can go on
		<-ended
	}
	w.cmd = nil
	log, err := os.ReadFile(w.log)
	if err != nil || !strings.Contains(string(tail(log, 1000)), "no space left on device") {
		t.Errorf("the log has no reason (error %v), want \"no space left on device\": %s", err, tail(log, 1000))
	}
}
