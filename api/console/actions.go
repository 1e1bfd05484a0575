package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// button is an action that is possible in a saga's current state.
type button struct {
	Action, Label, Title string
	Confirm              string // question before the action
}

// apiCall is the API request of an action.
type apiCall struct {
	method, path string
	resolution   saga.Action
	behalf       orderstore.OnBehalf
}

// actions are all actions on a saga.
var actions = map[string]apiCall{
	"cancel":       {method: http.MethodPost, path: "/cancel"},
	"cancel-asked": {method: http.MethodPost, path: "/cancel", behalf: orderstore.Customer},
	"approve":      {method: http.MethodPost, path: "/approve"},
	"reject":       {method: http.MethodPost, path: "/reject"},
	"suspend":      {method: http.MethodPost, path: "/suspend"},
	"resume":       {method: http.MethodPost, path: "/resume"},
	"terminate":    {method: http.MethodPost, path: "/terminate"},
	"purge":        {method: http.MethodDelete},
	"retry":        {method: http.MethodPost, path: "/resolve", resolution: saga.ActionRetry},
	"skip":         {method: http.MethodPost, path: "/resolve", resolution: saga.ActionSkip},
	"resolve":      {method: http.MethodPost, path: "/resolve", resolution: saga.ActionResolve},
	"compensate":   {method: http.MethodPost, path: "/resolve", resolution: saga.ActionCompensate},
}

// buttonsOf returns the actions that are possible now.
func buttonsOf(s api.Saga) (all []button) {
	if s.Runtime == engine.Stalled {
		return nil // Dapr delivers nothing to it; the page explains what to do
	}
	running := s.Runtime != "" && !s.Runtime.Ended()
	if s.Status.Allows(order.Approved) && s.Decision == "" && !s.CancelRequested {
		all = append(all,
			button{
				Action: "approve", Label: "Approve", Title: "Charge and ship the order",
				Confirm: "Approve this order? It is then charged and shipped.",
			},
			button{Action: "reject", Label: "Reject", Title: "Release the stock and end the order", Confirm: "Reject this order?"})
	}
	if s.Cancellable && !s.CancelRequested {
		all = append(all,
			button{
				Action: "cancel", Label: "Cancel", Title: "Cancel and compensate the order for the shop",
				Confirm: "Cancel this order? The customer is notified that the shop cancelled it.",
			},
			button{
				Action: "cancel-asked", Label: "Cancel for customer", Title: "Cancel and compensate the order at the customer's request",
				Confirm: "Cancel this order? The customer is notified that they cancelled it.",
			})
	}
	if s.Status.Allows(order.Resolved) {
		all = append(all,
			button{Action: "retry", Label: "Retry", Title: "Retry the stuck step", Confirm: "Retry the stuck step?"},
			button{
				Action: "compensate", Label: "Compensate", Title: "Give up and compensate the order",
				Confirm: "Give up this order, refund it and release its stock?",
			})
		shipmentRequested := s.ShipmentID != "" // then the API completes the order without the saga
		if running || shipmentRequested {
			all = append(all,
				button{Action: "skip", Label: "Skip", Title: "Continue without the stuck step", Confirm: "Continue without the stuck step?"},
				button{Action: "resolve", Label: "Done by hand", Title: "The stuck step was done by hand", Confirm: "Was the stuck step done by hand?"})
		}
	}
	if running && s.Runtime != engine.Suspended {
		all = append(all, button{Action: "suspend", Label: "Suspend", Title: "Pause the saga until it is resumed", Confirm: "Pause this saga?"})
	}
	if s.Runtime == engine.Suspended {
		all = append(all, button{Action: "resume", Label: "Resume", Title: "Continue the paused saga", Confirm: "Continue this saga?"})
	}
	if running {
		all = append(all, button{
			Action: "terminate", Label: "Terminate",
			Title:   "Stop the saga without compensation; the reconciler then compensates the order, or flags it once its shipment was requested",
			Confirm: "Stop this saga now? Nothing is compensated until the reconciler runs.",
		})
	}
	if s.Runtime.Ended() && s.Status.Terminal() {
		all = append(all, button{
			Action: "purge", Label: "Purge history", Title: "Delete the saga's history; the order remains",
			Confirm: "Delete the history of this saga?",
		})
	}
	return all
}

// formFields returns the form's fields that are not empty.
func formFields(r *http.Request, names ...string) map[string]string {
	fields := map[string]string{}
	for _, name := range names {
		if v := strings.TrimSpace(r.PostFormValue(name)); v != "" {
			fields[name] = v
		}
	}
	return fields
}

// do calls the API for an action on a saga.
func (c console) do(r *http.Request, id, action string) error {
	call, ok := actions[action]
	if !ok {
		return fmt.Errorf("there is no action %q", action)
	}
	in := formFields(r, "by", "note")
	if call.resolution != "" {
		in["action"] = string(call.resolution)
	}
	if call.behalf != "" {
		in["for"] = string(call.behalf)
	}
	path := "/v1/sagas/" + url.PathEscape(id) + call.path
	if call.method == http.MethodDelete { // has no body
		q := url.Values{}
		for name, v := range in {
			q.Set(name, v)
		}
		return c.call(r, call.method, path+"?"+q.Encode(), nil, nil)
	}
	return c.call(r, call.method, path, in, nil)
}

func (c console) act(w http.ResponseWriter, r *http.Request) {
	id, action := chi.URLParam(r, "id"), chi.URLParam(r, "action")
	c.redirect(w, r, "/console/sagas/"+url.PathEscape(id), action+": done", c.do(r, id, action))
}

// forget erases a customer's personal data.
func (c console) forget(w http.ResponseWriter, r *http.Request) {
	var out api.Forgotten
	err := c.call(r, http.MethodPost, "/v1/customers/"+url.PathEscape(chi.URLParam(r, "id"))+"/forget", formFields(r, "by", "note"), &out)
	result := fmt.Sprintf("erased the customer's data: %d orders, %d dead letters", out.Erased, out.Letters)
	if err == nil && !out.Complete {
		result += "; not complete, repeat it"
		if len(out.Open) > 0 {
			result += " when these orders have ended: " + strings.Join(out.Open, ", ")
		}
	}
	c.redirect(w, r, "/console/sagas", result, err)
}

// bulk performs one action on many sagas.
func (c console) bulk(w http.ResponseWriter, r *http.Request) {
	const maxReasons = 5
	action := r.PostFormValue("action") // parses the form
	done := 0
	var rejected []string
	for _, id := range r.PostForm["id"] {
		err := c.do(r, id, action)
		if err != nil {
			rejected = append(rejected, id+": "+err.Error())
			continue
		}
		done++
	}
	result := fmt.Sprintf("%s: %d done", action, done)
	var err error
	if n := len(rejected); n > 0 {
		err = fmt.Errorf("%s, %d rejected: %s", result, n, strings.Join(rejected[:min(n, maxReasons)], "; "))
	}
	to := "/console/sagas"
	if q := r.PostFormValue("query"); q != "" {
		to += "?" + q
	}
	c.redirect(w, r, to, result, err)
}

// setStock records a count, against the version of the level that the page
// showed.
func (c console) setStock(w http.ResponseWriter, r *http.Request) {
	sku := strings.TrimSpace(r.PostFormValue("sku"))
	units, err := strconv.ParseInt(strings.TrimSpace(r.PostFormValue("onHand")), 10, 64)
	var l api.Level
	if err != nil {
		err = fmt.Errorf("on hand: %q is not a number", r.PostFormValue("onHand"))
	} else {
		conditional := c.client(r).On(r.PostFormValue("version"))
		err = conditional.Call(r.Context(), http.MethodPut, "/v1/stock/"+url.PathEscape(sku), map[string]int64{"onHand": units}, &l)
	}
	c.redirect(w, r, "/console/stock", fmt.Sprintf("%s: %d counted, %d available", sku, units, l.Available), err)
}

func (c console) redrive(w http.ResponseWriter, r *http.Request) {
	queue := chi.URLParam(r, "queue")
	in := map[string]string{}
	if body := r.PostFormValue("body"); body != r.PostFormValue("before") {
		in["body"] = body
	}
	err := c.call(r, http.MethodPost, deadLetterPath(queue, chi.URLParam(r, "id"))+"/redrive", in, nil)
	c.redirect(w, r, deadLettersURL(queue), "redriven", err)
}

func (c console) deleteDeadLetter(w http.ResponseWriter, r *http.Request) {
	queue := chi.URLParam(r, "queue")
	err := c.call(r, http.MethodDelete, deadLetterPath(queue, chi.URLParam(r, "id")), nil, nil)
	c.redirect(w, r, deadLettersURL(queue), "deleted", err)
}

func (c console) redriveAll(w http.ResponseWriter, r *http.Request) {
	queue := chi.URLParam(r, "queue")
	var out struct{ Redriven int }
	rate := url.Values{}
	if v := strings.TrimSpace(r.PostFormValue("rate")); v != "" {
		rate.Set("rate", v)
	}
	err := c.call(r, http.MethodPost, "/v1/dead-letters/"+url.PathEscape(queue)+"/redrive?"+rate.Encode(), nil, &out)
	c.redirect(w, r, deadLettersURL(queue), strconv.Itoa(out.Redriven)+" redriven", err)
}

// deadLetterPath returns the API's path of a dead letter.
func deadLetterPath(queue, id string) string {
	return "/v1/dead-letters/" + url.PathEscape(queue) + "/" + url.PathEscape(id)
}

// deadLettersURL returns the path and query of the page of a queue's dead letters.
func deadLettersURL(queue string) string {
	return "/console/dead-letters?queue=" + url.QueryEscape(queue)
}

// resultCookie carries the result of an action to the next page. It is not in
// the URL, where any link could make the console show any text.
const resultCookie = "ordersaga-said"

// redirect sends the browser to a page, which shows the result or the error.
func (c console) redirect(w http.ResponseWriter, r *http.Request, to, result string, err error) {
	const maxLength = 1000
	mark := "+"
	if err != nil {
		mark, result = "-", err.Error()
	}
	if len(result) > maxLength {
		result = strings.ToValidUTF8(result[:maxLength], "") + "…"
	}
	c.setResult(w, r, mark+url.QueryEscape(result), 30)
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // it begins with /console/
}

func (c console) setResult(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // dev is served without TLS
		Name: resultCookie, Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: c.issuer.Secure(r),
	})
}

// takeResult reads and deletes the result of the action before. A page that
// app.js fetches leaves it for the page that the browser loads.
func (c console) takeResult(w http.ResponseWriter, r *http.Request) (result string, failed bool) {
	cookie, err := r.Cookie(resultCookie)
	if err != nil || cookie.Value == "" || r.Header.Get("Sec-Fetch-Mode") == "cors" {
		return "", false
	}
	c.setResult(w, r, "", -1)
	result, err = url.QueryUnescape(cookie.Value[1:])
	return result, err == nil && cookie.Value[0] == '-'
}
