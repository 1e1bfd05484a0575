package console

import (
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/ordersaga/ordersaga/internal/auth/authtest"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestOperatorSignsIn signs in at the issuer, uses the console with that session,
// and signs in again when the session has ended.
func TestOperatorSignsIn(t *testing.T) {
	var issuer *authtest.Issuer
	o := newOperator(t, func() testkit.System {
		return testkit.NewSystem(t, func(w *worker.Worker) {
			issuer = testkit.RequireTokens(t, w)
		}, nil)
	})
	o.token = issuer.Token("shop")

	o.open("/console/sagas")
	signIn := func() {
		o.do(chromedp.Click(`input[name=username]`), chromedp.KeyEvent("ann"),
			chromedp.Click(`input[name=password]`), chromedp.KeyEvent(authtest.Password+"\r"))
	}
	signIn()
	o.sees("ann · operator", "Sign out", "No sagas match.")
	o.open("/")
	o.place("good", "tok_ok", "Ann", 100)
	o.until("good", order.StatusCompleted)
	o.sees("Ended 1")
	o.picture("signed-in")
	o.place("dear", "tok_ok", "Ann", 100_000)
	o.until("dear", order.StatusAwaitingApproval)
	o.open("/console/sagas/dear")
	o.write("note", "it is fine")
	o.press("Approve")
	o.sees("approve: done", "it is fine", "ann")
	if rec := o.until("dear", order.StatusCompleted); len(rec.Notes) != 1 || rec.Notes[0].Actor != "ann" {
		t.Errorf("notes = %+v, want one by ann", rec.Notes)
	}

	// The session ends while a page is open: its forms lead to the issuer by a
	// link, and back.
	o.place("dearer", "tok_ok", "Ann", 100_000)
	o.until("dearer", order.StatusAwaitingApproval)
	for page, press := range map[string]string{"/console/sagas": "Show", "/console/sagas/dearer": "Approve"} {
		o.open(page)
		if _, err := chromedp.Call(o.ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
			t.Fatal(err)
		}
		o.press(press)
		o.sees("token is required")
		o.do(chromedp.Click(`//main//a[.="Sign in"]`))
		signIn()
		o.sees("ann · operator", "dearer", "AWAITING_APPROVAL")
	}
}
