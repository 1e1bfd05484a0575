package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

func TestSuspendAndResume(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	c.post("/v1/sagas/o/resume", "").wantProblem(t, "resume", http.StatusConflict, "", "not suspended")
	c.accepted(c.post("/v1/sagas/o/suspend", `{"by":"ann","note":"audit"}`))
	testkit.Eventually(t, "it is suspended", func() error {
		if v := c.view("o"); v.RuntimeStatus != "SUSPENDED" || len(v.Notes) != 1 || v.Notes[0].Action != "suspend" {
			return errors.New(v.RuntimeStatus)
		}
		return nil
	})
	c.post("/v1/sagas/o/suspend", "").wantProblem(t, "suspend twice", http.StatusConflict, "", "suspended already")
	if v := c.view("o"); len(v.Notes) != 1 {
		t.Errorf("notes = %+v, want only that of the first suspension", v.Notes)
	}
	c.accepted(c.post("/v1/sagas/o/approve", ""))
	c.accepted(c.post("/v1/sagas/o/resume", ""))
	c.until("o", "COMPLETED")
	testkit.Eventually(t, "its saga has ended", func() error { // shortly after the order
		if v := c.view("o"); v.RuntimeStatus != "COMPLETED" {
			return errors.New(v.RuntimeStatus)
		}
		return nil
	})
	c.post("/v1/sagas/o/suspend", "").wantProblem(t, "suspend", http.StatusConflict, "", "no running saga")
}

// TestOneResumeEndsEverySuspension: two operators suspend the saga concurrently, and a
// durable-task client suspends it past the API. A decision that is accepted meanwhile is
// delivered after one resume.
func TestOneResumeEndsEverySuspension(t *testing.T) {
	c := start(t)
	for id, then := range map[string]struct{ action, status string }{
		"approved": {"approve", "COMPLETED"}, "rejected": {"reject", "CANCELLED"}, "cancelled": {"cancel", "CANCELLED"},
	} {
		t.Run(id, func(t *testing.T) {
			c.place(newOrder(id, expensive), "AWAITING_APPROVAL")
			answers := make(chan answer, 2)
			for range cap(answers) {
				go func() { answers <- c.post("/v1/sagas/"+id+"/suspend", "") }()
			}
			accepted := 0
			for range cap(answers) {
				switch a := <-answers; a.status {
				case http.StatusAccepted:
					accepted++
				case http.StatusConflict:
				default:
					t.Errorf("status = %d, want %d or %d: %s", a.status, http.StatusAccepted, http.StatusConflict, a.body)
				}
			}
			if accepted == 0 {
				t.Error("both requests to suspend the saga were rejected, want at least one accepted")
			}
			suspended := func() error {
				if v := c.view(id); v.RuntimeStatus != "SUSPENDED" {
					return errors.New(v.RuntimeStatus)
				}
				return nil
			}
			testkit.Eventually(t, "it is suspended", suspended)
			if err := c.Parts.Engine.Suspend(t.Context(), id, "past the API"); err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
			c.accepted(c.post("/v1/sagas/"+id+"/"+then.action, ""))
			c.accepted(c.post("/v1/sagas/"+id+"/resume", ""))
			c.until(id, then.status)
		})
	}
}

// TestApprovalAndItsTimeoutExcludeEachOther: exactly one of them holds, however close they
// are, and whether or not the saga receives the approval.
func TestApprovalAndItsTimeoutExcludeEachOther(t *testing.T) {
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.Terms.ApprovalTimeout = 300 * time.Millisecond }, nil)
	s.SetStock(t, map[string]int64{"A": 1_000_000})
	c := newClient(t, s)
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			id := fmt.Sprint("o", n)
			c.post("/v1/orders", newOrder(id, expensive))
			c.until(id, "AWAITING_APPROVAL")
			var accepted bool
			if n%2 == 0 {
				<-time.After(time.Duration(200+10*n) * time.Millisecond)
				switch a := c.post("/v1/sagas/"+id+"/approve", `{"by":"ann"}`); {
				case a.status == http.StatusAccepted:
					accepted = true
				case a.status != http.StatusConflict || !strings.Contains(a.body, "expired at"):
					t.Errorf("approve: status = %d, body = %s, want %d, or %d with \"expired at\"", a.status, a.body,
						http.StatusAccepted, http.StatusConflict)
				}
			} else { // as an API that exits before it notifies the saga
				err := s.Store.Decide(t.Context(), id, orderstore.Approved, orderstore.Note{Actor: "ann", Action: orderstore.NoteApprove})
				accepted = err == nil
				if err != nil && !errors.Is(err, orderstore.ErrFinished) {
					t.Errorf("unexpected error: %v", err)
				}
			}
			want := "CANCELLED"
			if accepted {
				want = "COMPLETED"
			}
			if v := c.until(id, want); !accepted && v.Reason != "nobody approved it within 300ms" {
				t.Errorf("saga = %+v, want reason \"nobody approved it within 300ms\"", v)
			}
		})
	}
	all.Wait()
}

// TestReconcilerCompensatesATerminatedSaga: the reconciler compensates the order of a saga
// that was terminated.
func TestReconcilerCompensatesATerminatedSaga(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	if a := c.do("DELETE", "/v1/sagas/o", ""); a.status != http.StatusConflict {
		t.Errorf("purge of an open saga: status = %d, want %d: %s", a.status, http.StatusConflict, a.body)
	}
	c.accepted(c.post("/v1/sagas/o/terminate", `{"by":"ann"}`))
	testkit.Eventually(t, "it is terminated", func() error {
		if v := c.view("o"); v.RuntimeStatus != "TERMINATED" {
			return errors.New(v.RuntimeStatus)
		}
		return nil
	})
	c.post("/v1/sagas/o/terminate", "").wantProblem(t, "again", http.StatusConflict, "", "no running saga")
	r := c.Worker.Reconciler()
	r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if rep, err := r.Once(t.Context()); err != nil || len(rep.Findings) != 1 {
		t.Errorf("report = %+v, error = %v, want 1 finding and no error", rep, err)
	}
	c.until("o", "FAILED")
}

func TestPurgeKeepsTheOrder(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", nil), "COMPLETED")
	testkit.Eventually(t, "its saga has ended", func() error {
		if v := c.view("o"); v.RuntimeStatus != "COMPLETED" {
			return errors.New(v.RuntimeStatus)
		}
		return nil
	})
	if a := c.do("DELETE", "/v1/sagas/o", ""); a.status != http.StatusNoContent {
		t.Fatalf("purge: status = %d, want %d: %s", a.status, http.StatusNoContent, a.body)
	}
	if a := c.do("DELETE", "/v1/sagas/o", ""); a.status != http.StatusNotFound {
		t.Errorf("second purge: status = %d, want %d: %s", a.status, http.StatusNotFound, a.body)
	}
	if v := c.view("o"); v.Status != "COMPLETED" || v.RuntimeStatus != "" {
		t.Errorf("saga = %+v, want status COMPLETED and no runtime status", v)
	}
	c.get("/v1/sagas/o/history").wantProblem(t, "history", http.StatusNotFound, "", "no saga")
}

func TestDeadLettersAreListedDeletedAndRedriven(t *testing.T) {
	t.Parallel()
	c := start(t)
	queue := "/v1/dead-letters/OrderProcessingQueue"
	send := func(body string) {
		if _, err := c.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl:    &c.Resources.OrderQueue,
			MessageBody: aws.String(body),
		}); err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
	}
	type letter struct{ ID, Queue, Reason, Body string }
	list := func(n int) (letters []letter) {
		testkit.Eventually(t, "dead letters are there", func() error {
			var page struct{ Letters []letter }
			c.get(queue).json(t, &page)
			letters = page.Letters
			if len(letters) != n {
				return errors.New(c.get(queue).body)
			}
			return nil
		})
		return letters
	}
	send(`{"orderId":"x"}`)
	l := list(1)[0]
	if l.Queue != "OrderProcessingQueue" || l.Body != `{"orderId":"x"}` || !strings.Contains(l.Reason, "customerId") {
		t.Errorf(`dead letter = %+v, want body {"orderId":"x"} in OrderProcessingQueue and a reason that names customerId`, l)
	}
	if o := c.get("/v1/overview").body; !strings.Contains(o, `"dead":1}`) {
		t.Errorf(`overview = %s, want "dead":1 in it`, o)
	}
	c.post(queue+"/nobody/redrive", "").wantProblem(t, "unknown", http.StatusNotFound, "", "no dead letter")
	c.do("DELETE", queue+"/nobody", "").wantProblem(t, "unknown", http.StatusNotFound, "", "no dead letter")
	send(`{"orderId":"never"}`)
	for _, l := range list(2) {
		if l.Body != `{"orderId":"never"}` {
			continue
		}
		if a := c.do("DELETE", queue+"/"+l.ID+"?by=ann&note=of+a+test", ""); a.status != http.StatusNoContent {
			t.Errorf("discard: status = %d, want %d: %s", a.status, http.StatusNoContent, a.body)
		}
	}
	list(1)
	for _, rate := range []string{"NaN", "nan", "Inf", "-Inf", "0", "0.5", "1001", "1_0", "0x1p3", "+9"} {
		c.post(queue+"/redrive?rate="+url.QueryEscape(rate), "").wantProblem(t, "rate "+rate, http.StatusUnprocessableEntity, "query.rate", "")
	}
	c.post("/v1/dead-letters/Queue/x/redrive", "").wantProblem(t, "unknown queue", http.StatusUnprocessableEntity, "path.queue", "")
	mended, err := json.Marshal(map[string]string{"body": newOrder("x", nil)})
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	if a := c.post(queue+"/"+l.ID+"/redrive", string(mended)); a.status != http.StatusNoContent {
		t.Fatalf("redrive of a corrected order: status = %d, want %d: %s", a.status, http.StatusNoContent, a.body)
	}
	c.until("x", "COMPLETED")
	list(0)

	for range 13 { // more than one receive
		send("{")
	}
	list(13)
	began := time.Now()
	if a := c.post(queue+"/redrive?rate=20", ""); a.status != http.StatusOK || !strings.Contains(a.body, `"redriven":13}`) {
		t.Errorf(`redrive of all: status = %d, body = %s, want status %d and "redriven":13`, a.status, a.body, http.StatusOK)
	}
	if took := time.Since(began); took < 600*time.Millisecond {
		t.Errorf("redriving 13 dead letters at 20 per second took %s, want at least 600ms", took)
	}
	list(13) // they are no better
}

// TestStreamsSendEveryChange: a stream sends one event at once, and another whenever something
// changes.
func TestStreamsSendEveryChange(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	events := func(path string) <-chan string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.API+path, http.NoBody)
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		res, err := c.http.Do(req)
		if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("response = %v, error = %v, want %d with text/event-stream", res, err, http.StatusOK)
		}
		out := make(chan string, 1000)
		go func() {
			defer close(out)
			defer func() { _ = res.Body.Close() }()
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				if line := lines.Text(); line != "" {
					out <- line
				}
			}
		}()
		return out
	}
	one, all := events("/v1/sagas/o/events"), events("/v1/overview/events")
	want := func(what string, from <-chan string, parts ...string) {
		t.Helper()
		for line := range from {
			for _, p := range parts {
				if strings.Contains(line, p) {
					parts = parts[1:]
					break
				}
			}
			if len(parts) == 0 {
				return
			}
		}
		t.Errorf("%s: the stream ended, want it to send lines with %q first", what, parts)
	}
	want("saga", one, "event: saga", `"status":"AWAITING_APPROVAL"`)
	want("overview", all, "event: overview", `"AWAITING_APPROVAL":1`)
	c.accepted(c.post("/v1/sagas/o/approve", ""))
	want("saga", one, `"status":"COMPLETED"`)
	want("overview", all, `"COMPLETED":1`)
	want("unknown", events("/v1/sagas/unknown/events"), "event: problem", "unknown")
	cancel()
	for range one {
	}
	for range all {
	}
}
