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

// button is something that can be done about a saga as it is.
type button struct {
	Action, Label, Title string
	Confirm              string // the question before it is done
}

// deeds are all actions, with what the API is asked for.
var deeds = map[string]struct {
	method, path string
	resolution   saga.Action
	behalf       orderstore.OnBehalf
}{
	"cancel": {method: http.MethodPost, path: "/cancel"}, "cancel-asked": {method: http.MethodPost, path: "/cancel", behalf: orderstore.Customer}, "approve": {method: http.MethodPost, path: "/approve"}, "reject": {method: http.MethodPost, path: "/reject"},
	"suspend": {method: http.MethodPost, path: "/suspend"}, "resume": {method: http.MethodPost, path: "/resume"},
	"terminate": {method: http.MethodPost, path: "/terminate"}, "purge": {method: http.MethodDelete},
	"retry": {method: http.MethodPost, path: "/retry", resolution: saga.ActionRetry}, "skip": {method: http.MethodPost, path: "/retry", resolution: saga.ActionSkip},
	"resolve": {method: http.MethodPost, path: "/retry", resolution: saga.ActionResolve}, "compensate": {method: http.MethodPost, path: "/retry", resolution: saga.ActionCompensate},
}

func buttonsOf(s api.Saga) (all []button) {
	if s.Runtime == engine.Stalled {
		return nil // it takes nothing in; the page says what to do
	}
	add := func(when bool, b button) {
		if when {
			all = append(all, b)
		}
	}
	running := s.Runtime != "" && !s.Runtime.Ended()
	sent := s.ShipmentID != "" // then the API completes it without the saga
	stuck := s.Status.Allows(order.Resolved)
	waits := s.Status.Allows(order.Approved) && s.Decision == "" && !s.CancelRequested
	add(waits, button{Action: "approve", Label: "Approve", Title: "Charge and ship it", Confirm: "Approve this order? It is charged and shipped."})
	add(waits, button{Action: "reject", Label: "Reject", Title: "Release its stock and end it", Confirm: "Reject this order?"})
	add(s.Cancellable && !s.CancelRequested, button{Action: "cancel", Label: "Cancel", Title: "Undo what was done and end it", Confirm: "Cancel this order? The customer is told that the shop has."})
	add(s.Cancellable && !s.CancelRequested, button{Action: "cancel-asked", Label: "Customer cancels", Title: "The customer asks for it: undo what was done and end it", Confirm: "Cancel this order? The customer is told that they have."})
	add(stuck, button{Action: "retry", Label: "Retry", Title: "Try the stuck step again", Confirm: "Try the stuck step again?"})
	add(stuck, button{Action: "compensate", Label: "Compensate", Title: "Give up and undo what was done", Confirm: "Give this order up, refund it and release its stock?"})
	add(stuck && (running || sent), button{Action: "skip", Label: "Skip", Title: "Leave the stuck step out", Confirm: "Leave the stuck step out?"})
	add(stuck && (running || sent), button{Action: "resolve", Label: "Done by hand", Title: "The stuck step was done by hand", Confirm: "Was the stuck step done by hand?"})
	add(running && s.Runtime != engine.Suspended, button{Action: "suspend", Label: "Suspend", Title: "Hold the saga up until it is resumed", Confirm: "Hold this saga up?"})
	add(s.Runtime == engine.Suspended, button{Action: "resume", Label: "Resume", Title: "Let the saga go on", Confirm: "Let this saga go on?"})
	add(running, button{Action: "terminate", Label: "Terminate", Title: "End the saga where it stands; the reconciler then undoes the order, or asks a person once its shipment was requested", Confirm: "End the saga where it stands? Nothing is undone until the reconciler comes by."})
	add(s.Runtime.Ended() && s.Status.Terminal(), button{Action: "purge", Label: "Purge history", Title: "Forget what the saga did; the order stays", Confirm: "Forget the history of this saga?"})
	return all
}

// do asks the API for an action on a saga.
func (c console) do(r *http.Request, id, action string) error {
	d, ok := deeds[action]
	if !ok {
		return fmt.Errorf("there is no action %q", action)
	}
	in := map[string]string{}
	for name, v := range map[string]string{"by": r.PostFormValue("by"), "note": r.PostFormValue("note"), "action": string(d.resolution), "for": string(d.behalf)} {
		if v = strings.TrimSpace(v); v != "" {
			in[name] = v
		}
	}
	if d.method == http.MethodDelete {
		q := url.Values{}
		for name, v := range in {
			q.Set(name, v)
		}
		return c.call(r, d.method, "/v1/sagas/"+url.PathEscape(id)+"?"+q.Encode(), nil, nil)
	}
	return c.call(r, d.method, "/v1/sagas/"+url.PathEscape(id)+d.path, in, nil)
}

func (c console) act(w http.ResponseWriter, r *http.Request) {
	id, action := chi.URLParam(r, "id"), chi.URLParam(r, "action")
	c.back(w, r, "/console/sagas/"+url.PathEscape(id), action+": done", c.do(r, id, action))
}

// forget forgets a customer.
func (c console) forget(w http.ResponseWriter, r *http.Request) {
	var out api.Forgotten
	in := map[string]string{}
	for _, name := range []string{"by", "note"} {
		if v := strings.TrimSpace(r.PostFormValue(name)); v != "" {
			in[name] = v
		}
	}
	err := c.call(r, http.MethodPost, "/v1/customers/"+url.PathEscape(chi.URLParam(r, "id"))+"/forget", in, &out)
	said := fmt.Sprintf("the customer was forgotten: %d orders, %d dead letters", out.Erased, out.Letters)
	if err == nil && !out.Complete {
		said += "; not all of it, repeat this"
		if len(out.Open) > 0 {
			said += " when these have ended: " + strings.Join(out.Open, ", ")
		}
	}
	c.back(w, r, "/console/sagas", said, err)
}

// bulk does one action to many sagas.
func (c console) bulk(w http.ResponseWriter, r *http.Request) {
	action := r.PostFormValue("action") // it reads the form
	done := 0
	var failed []string
	for _, id := range r.PostForm["id"] {
		if err := c.do(r, id, action); err != nil {
			failed = append(failed, id+": "+err.Error())
			continue
		}
		done++
	}
	said := fmt.Sprintf("%s: %d done", action, done)
	var err error
	if len(failed) > 0 {
		err = fmt.Errorf("%s, %d refused: %s", said, len(failed), strings.Join(failed[:min(len(failed), 5)], "; "))
	}
	to := "/console/sagas"
	if q := r.PostFormValue("query"); q != "" {
		to += "?" + q
	}
	c.back(w, r, to, said, err)
}

// setStock records what was counted against the level that the page has shown.
func (c console) setStock(w http.ResponseWriter, r *http.Request) {
	sku := strings.TrimSpace(r.PostFormValue("sku"))
	n, err := strconv.ParseInt(strings.TrimSpace(r.PostFormValue("onHand")), 10, 64)
	var l api.Level
	if err != nil {
		err = fmt.Errorf("on hand: %q is not a number", r.PostFormValue("onHand"))
	} else {
		on := c.client(r).On(r.PostFormValue("version"))
		err = on.Call(r.Context(), http.MethodPut, "/v1/stock/"+url.PathEscape(sku), map[string]int64{"onHand": n}, &l)
	}
	c.back(w, r, "/console/stock", fmt.Sprintf("%s: %d counted, %d available", sku, n, l.Available), err)
}

func (c console) redrive(w http.ResponseWriter, r *http.Request) {
	queue, id := chi.URLParam(r, "queue"), chi.URLParam(r, "id")
	in := map[string]string{}
	if body := r.PostFormValue("body"); body != r.PostFormValue("before") {
		in["body"] = body
	}
	err := c.call(r, http.MethodPost, "/v1/dead-letters/"+url.PathEscape(queue)+"/"+url.PathEscape(id)+"/redrive", in, nil)
	c.back(w, r, "/console/dead-letters?queue="+url.QueryEscape(queue), "put back", err)
}

func (c console) deleteLetter(w http.ResponseWriter, r *http.Request) {
	queue, id := chi.URLParam(r, "queue"), chi.URLParam(r, "id")
	err := c.call(r, http.MethodDelete, "/v1/dead-letters/"+url.PathEscape(queue)+"/"+url.PathEscape(id), nil, nil)
	c.back(w, r, "/console/dead-letters?queue="+url.QueryEscape(queue), "deleted", err)
}

func (c console) redriveAll(w http.ResponseWriter, r *http.Request) {
	queue := chi.URLParam(r, "queue")
	var out struct{ Redriven int }
	rate := url.Values{}
	if v := strings.TrimSpace(r.PostFormValue("rate")); v != "" {
		rate.Set("rate", v)
	}
	err := c.call(r, http.MethodPost, "/v1/dead-letters/"+url.PathEscape(queue)+"/redrive?"+rate.Encode(), nil, &out)
	c.back(w, r, "/console/dead-letters?queue="+url.QueryEscape(queue), strconv.Itoa(out.Redriven)+" put back", err)
}

// flash is the cookie that tells the next page what came of an action. In the
// address anybody's link could have the console say anything.
const flash = "ordersaga-said"

// back returns to a page, which says what came of it.
func (c console) back(w http.ResponseWriter, r *http.Request, to, what string, err error) {
	mark := "+"
	if err != nil {
		mark, what = "-", err.Error()
	}
	if len(what) > 1000 {
		what = strings.ToValidUTF8(what[:1000], "") + "…"
	}
	c.setFlash(w, r, mark+url.QueryEscape(what), 30)
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // it begins with /console/
}

func (c console) setFlash(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // dev is served without TLS
		Name: flash, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: c.issuer.Secure(r),
	})
}

// said takes what back has left. A page that fetches itself leaves it be.
func (c console) said(w http.ResponseWriter, r *http.Request) (what string, failed bool) {
	kept, err := r.Cookie(flash)
	if err != nil || kept.Value == "" || r.Header.Get("Sec-Fetch-Mode") == "cors" {
		return "", false
	}
	c.setFlash(w, r, "", -1)
	what, err = url.QueryUnescape(kept.Value[1:])
	return what, err == nil && kept.Value[0] == '-'
}
