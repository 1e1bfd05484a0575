package console

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/app"
	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/auth/authtest"
	"github.com/ordersaga/ordersaga/internal/order"
)

// TestSignIn: a person signs in at the issuer, and the console follows what
// happens under that session.
func TestSignIn(t *testing.T) {
	var issuer *authtest.Issuer
	o := newOperator(t, func(w *app.Worker) {
		home := "http://" + w.Listener.Addr().String()
		issuer = authtest.New(t, home+auth.SignedInPath)
		var err error
		w.Auth, err = auth.New(auth.Options{
			Issuer: issuer.URL, Audiences: []string{authtest.Audience}, RolesClaim: "roles", Prefix: "ordersaga-",
			ClientID: authtest.ClientID, ClientSecret: authtest.Secret, PublicURL: home, Logger: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Auth.Close)
	})
	o.token = issuer.Token("shop")

	o.open("/console/sagas")
	o.do(chromedp.Click(`input[name=username]`), chromedp.KeyEvent("ann"), chromedp.Click(`input[name=password]`), chromedp.KeyEvent(authtest.Password+"\r"))
	o.sees("ann · operator", "Sign out", "There are none.")
	o.open("/")
	o.place("good", "tok_ok", "Ann", 100)
	o.until("good", order.StatusCompleted)
	o.sees("Of those, ended 1")
	o.picture("signed-in")
	o.place("dear", "tok_ok", "Ann", 100_000)
	o.until("dear", order.StatusAwaitingApproval)
	o.open("/console/sagas/dear")
	o.write("note", "it is fine")
	o.press("Approve")
	o.sees("approve: done", "it is fine", "ann")
	if rec := o.until("dear", order.StatusCompleted); len(rec.Notes) != 1 || rec.Notes[0].Actor != "ann" {
		t.Errorf("noted as %+v", rec.Notes)
	}
}
