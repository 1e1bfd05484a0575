package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/ordersaga/ordersaga/api/client"
)

// fakeAPI has one stuck saga, and completes the order o-1 at the third read.
func fakeAPI() *httptest.Server {
	mux := http.NewServeMux()
	respond := func(w http.ResponseWriter, status int, body string) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
	mux.HandleFunc("GET /v1/sagas", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusOK, `{"sagas":[{"orderId":"o-7","status":"NEEDS_ATTENTION","step":"needs attention: charge",`+
			`"lastError":"payment provider: 503"}]}`)
	})
	mux.HandleFunc("POST /v1/orders", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusAccepted, `{"orderId":"o-1","status":"PENDING","saga":"/v1/sagas/o-1"}`)
	})
	statuses := []string{"PENDING", "PAID", "COMPLETED"}
	mux.HandleFunc("GET /v1/sagas/o-1", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusOK, `{"orderId":"o-1","status":"`+statuses[0]+`"}`)
		statuses = statuses[1:]
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		respond(w, http.StatusNotFound, `{"title":"Not Found","status":404,"detail":"`+r.URL.Path+` not found"}`)
	})
	return httptest.NewServer(mux)
}

// List the sagas that need an operator or make no progress.
func Example_listStuckSagas() {
	server := fakeAPI()
	defer server.Close()
	c := client.Client{Base: server.URL, HTTP: server.Client()}

	query := url.Values{"stuck": {"true"}, "limit": {"50"}}
	for {
		var page struct {
			Sagas []struct{ OrderID, Status, Step, LastError string }
			Next  string
		}
		err := c.Call(context.Background(), http.MethodGet, "/v1/sagas?"+query.Encode(), nil, &page)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, s := range page.Sagas {
			fmt.Printf("%s %s, %s: %s\n", s.OrderID, s.Status, s.Step, s.LastError)
		}
		if page.Next == "" {
			return
		}
		query.Set("cursor", page.Next)
	}
	// Output:
	// o-7 NEEDS_ATTENTION, needs attention: charge: payment provider: 503
}

// Place an order and read it until its saga has ended.
func Example_placeAndFollowAnOrder() {
	server := fakeAPI()
	defer server.Close()
	c := client.Client{Base: server.URL, HTTP: server.Client()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	order := map[string]any{
		"orderId": "o-1", "customerId": "c-7", "currency": "EUR", "payment": map[string]string{"token": "tok_ok"},
		"lines": []map[string]any{{"sku": "SKU-1", "quantity": 2, "unitPrice": 1999}},
	}
	var accepted struct{ Saga string }
	err := c.Call(ctx, http.MethodPost, "/v1/orders", order, &accepted)
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		fmt.Println("rejected:", problem.Status, problem) // names the faulty fields
		return
	}
	if err != nil {
		fmt.Println("repeat the request:", err) // the same order id makes that safe
		return
	}

	// A real client reads every second, or follows the stream of events.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var saga struct{ Status, Reason string }
	for saga.Status != "COMPLETED" && ctx.Err() == nil {
		err = c.Call(ctx, http.MethodGet, accepted.Saga, nil, &saga)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(saga.Status)
		<-tick.C
	}
	// Output:
	// PENDING
	// PAID
	// COMPLETED
}
