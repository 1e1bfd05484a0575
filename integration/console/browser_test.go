// Package console uses the web console as a person does, in a real browser.
package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// The screen for which pages are made, and the width of a phone.
const screenWidth, screenHeight, phoneWidth = 1280, 800, 390

// operator uses the console in a browser. An error in the browser's console fails
// the test.
type operator struct {
	*testing.T
	testkit.System

	ctx context.Context
	dir string // for screenshots
	// token authenticates requests that place orders; "" sends none.
	token string
}

func newOperator(t *testing.T, system func() testkit.System) operator {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no browser, want chromium: install Debian's package")
		}
		t.Skip("left out: no browser; apt-get install chromium, or another one of that name on the PATH")
	}
	o := operator{T: t, System: system(), dir: os.Getenv("ORDERSAGA_SCREENSHOTS")}
	if o.dir == "" {
		o.dir = t.ArtifactDir() // kept with -artifacts
	} else if err := os.MkdirAll(o.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	o.SetStock(t, map[string]int64{"A": 1000, "NONE": 0, "FEW": 3})
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(chromium),
		chromedp.NoSandbox, chromedp.WindowSize(screenWidth, screenHeight), chromedp.DisableGPU)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	tab, stop := chromedp.NewContext(alloc)
	t.Cleanup(stop)
	ctx, stop := context.WithTimeout(tab, 3*time.Minute)
	t.Cleanup(stop)
	o.ctx = ctx
	o.do(chromedp.Navigate("about:blank")) // starts the browser
	o.listen()
	return o
}

// listen accepts the page's confirmations and fails the test on its errors.
func (o operator) listen() {
	o.Helper()
	err := chromedp.Listen(o.ctx, func(ev any) {
		switch ev := ev.(type) {
		case *page.EventJavascriptDialogOpening:
			go func() {
				// If this fails, the action does not happen and a later assertion fails.
				_, _ = chromedp.Call(o.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
			}()
		case *runtime.EventExceptionThrown:
			o.Errorf("the page's script failed, want no exceptions: %+v", ev.ExceptionDetails)
		case *runtime.EventConsoleAPICalled:
			o.Errorf("the page logs %s, want no output to the browser's console: %+v", ev.Type, ev.Args)
		}
	})
	if err != nil {
		o.Fatal(err)
	}
}

func (o operator) do(actions ...chromedp.Action[chromedp.Void]) {
	o.Helper()
	if err := chromedp.Do(o.ctx, actions...); err != nil {
		o.Fatal(err)
	}
}

func get[T any](o operator, a chromedp.Action[T]) T {
	o.Helper()
	v, err := chromedp.Run(o.ctx, a)
	if err != nil {
		o.Fatal(err)
	}
	return v
}

func (o operator) open(path string) { o.Helper(); o.do(chromedp.Navigate(o.API + path)) }

func (o operator) text() string {
	o.Helper()
	return strings.Join(strings.Fields(get(o, chromedp.Evaluate[string](`document.body?.innerText ?? ""`))), " ")
}

// sees waits until the page shows all parts, without loading it again.
func (o operator) sees(parts ...string) {
	o.Helper()
	testkit.Eventually(o, fmt.Sprint("the page shows ", parts), func() error {
		text := o.text()
		for _, p := range parts {
			if !strings.Contains(text, p) {
				return errors.New(text)
			}
		}
		return nil
	})
}

// picture keeps screenshots in light and dark, and fails if the page is wider
// than a phone.
func (o operator) picture(name string) {
	o.Helper()
	o.screenshots(name)
	o.resize(phoneWidth)
	if width := get(o, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); width > phoneWidth {
		o.Errorf("page %s is %d px wide, want at most the screen's %d px", name, width, phoneWidth)
	}
	o.screenshots(name + "-narrow")
	o.resize(screenWidth)
}

func (o operator) resize(width int64) {
	o.Helper()
	metrics := emulation.SetDeviceMetricsOverrideParams{Width: width, Height: screenHeight, DeviceScaleFactor: 1}
	if _, err := chromedp.Call(o.ctx, emulation.SetDeviceMetricsOverride, metrics); err != nil {
		o.Fatal(err)
	}
}

func (o operator) screenshots(name string) {
	o.Helper()
	for _, scheme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		if _, err := chromedp.Call(o.ctx, emulation.SetEmulatedMedia, media); err != nil {
			o.Fatal(err)
		}
		png := get(o, chromedp.FullScreenshot(100))
		if err := os.WriteFile(filepath.Join(o.dir, name+"-"+scheme+".png"), png, 0o600); err != nil {
			o.Fatal(err)
		}
	}
}

// write types into a field. A page does not update itself while a field has the
// focus.
func (o operator) write(field, text string) {
	o.Helper()
	get(o, chromedp.Evaluate[bool](`(document.querySelector("main form[method=post] input[name=`+field+`]").focus(), true)`))
	o.do(chromedp.KeyEvent(text))
}

// press clicks a button, again if the page replaces it at that moment.
func (o operator) press(label string) {
	o.Helper()
	testkit.Eventually(o, label+" was clicked", func() error {
		return chromedp.Do(o.ctx, chromedp.Click(`//main//button[normalize-space()="`+label+`"]`))
	})
}

func (o operator) place(id, token, name string, price int64) {
	o.Helper()
	body := fmt.Sprintf(`{"orderId":%q,"customerId":"c-1","currency":"EUR",
		"lines":[{"sku":"A","quantity":2,"unitPrice":%d}],
		"payment":{"token":%q},"shipTo":{"name":%q,"country":"DE"}}`, id, price, token, name)
	req, err := http.NewRequest(http.MethodPost, o.API+"/v1/orders", strings.NewReader(body))
	if err != nil {
		o.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if o.token != "" {
		req.Header.Set("Authorization", "Bearer "+o.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusAccepted {
		o.Fatalf("place order %s: response %v, error %v, want status %d", id, res, err, http.StatusAccepted)
	}
	_ = res.Body.Close()
}

func (o operator) send(queueURL, body string) {
	o.Helper()
	if _, err := o.Clients.SQS.SendMessage(o.Context(), &sqs.SendMessageInput{QueueUrl: &queueURL, MessageBody: &body}); err != nil {
		o.Fatal(err)
	}
}

func (o operator) until(id string, want order.Status) (rec orderstore.Record) {
	o.Helper()
	testkit.Eventually(o, id+" is "+string(want), func() (err error) {
		rec, err = o.Store.Get(o.Context(), id)
		if err == nil && rec.Status != want {
			err = errors.New(string(rec.Status))
		}
		return err
	})
	return rec
}

// TestOperatorResolvesEverythingInTheConsole finds failed, compensated and stuck
// orders in the console and acts on them, on both engines.
func TestOperatorResolvesEverythingInTheConsole(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		newOperator(t, func() testkit.System { return testkit.NewSystem(t, nil, nil) }).operates("")
	})
	t.Run("dapr", func(t *testing.T) {
		newOperator(t, func() testkit.System { return testkit.NewDaprSystem(t, zerolog.Nop(), nil) }).operates("dapr-")
	})
}

// operates runs the scenario. The screenshots' names begin with engine.
func (o operator) operates(engine string) {
	evil := `<img src=x onerror=alert(1)><script>document.title="owned"</script>`
	o.place("good", "tok_ok", "Ann", 100)
	o.place("declined", "tok_declined", "Ann", 100)
	o.place("refused", "tok_ok", "REFUSE", 100)
	o.place("flaky", "tok_flaky_2", evil, 100)
	o.place("stuck", "tok_refund_down", "REFUSE", 100)
	o.place("dear", "tok_ok", "Ann", 100_000)
	for id, want := range map[string]order.Status{
		"good": order.StatusCompleted, "declined": order.StatusDeclined, "refused": order.StatusFailed,
		"flaky": order.StatusCompleted, "stuck": order.StatusNeedsAttention, "dear": order.StatusAwaitingApproval,
	} {
		o.until(id, want)
	}
	o.send(o.Resources.OrderQueue, `{"orderId":"repairable","customerId":"c-1","currency":"EUR",`+
		`"lines":[{"sku":"<img src=x onerror=alert(1)>","quantity":0,"unitPrice":1}],"payment":{"token":"tok_ok"}}`)

	o.open("/")
	o.sees("1 saga needs attention", "1 order waits for approval", "1 dead letter of OrderProcessingQueue", "1 stuck", "2 COMPLETED",
		"1 FAILED", "Compensated 2", "Refunded 1", "Median", "NONE", "FEW", "2 open sagas in total")
	if height := get(o, chromedp.Evaluate[int](`document.documentElement.scrollHeight`)); height > screenHeight {
		o.Errorf("the overview is %d px high, want at most %d", height, screenHeight)
	}
	o.picture(engine + "overview")
	get(o, chromedp.Evaluate[bool](`(document.querySelector("main a.tile.failed").focus(), true)`))
	o.place("later", "tok_ok", "Ann", 100)
	o.sees("Ended 5") // the page updates itself and keeps the focus
	if at := get(o, chromedp.Evaluate[string](`document.activeElement.getAttribute("href")`)); at != "/console/sagas?status=FAILED" {
		o.Errorf("the focus moved to %q, want it to stay on the tile of failed sagas", at)
	}

	o.open("/console/sagas?status=FAILED&status=DECLINED")
	o.sees("refused by the carrier", "declined")
	if text := o.text(); strings.Contains(text, "flaky") {
		o.Errorf("the list has order flaky, which is COMPLETED, want only FAILED and DECLINED: %s", text)
	}
	o.picture(engine + "sagas")

	o.open("/console/sagas/flaky")
	o.sees("COMPLETED", "ChargePayment", evil)
	o.sees("2 failed attempts", "ChargePayment after +")
	failed := get(o, chromedp.Evaluate[int](`document.querySelectorAll("rect.failed").length`))
	if title := get(o, chromedp.Title()); failed != 2 || title != "flaky · ordersaga" {
		o.Errorf("the timeline has %d failed attempts and the title is %q, want 2 and %q", failed, title, "flaky · ordersaga")
	}
	o.picture(engine + "flaky")
	o.open("/console/sagas/refused")
	o.sees("RefundPayment", "ReleaseStock", "refused by the carrier", "Stock is RELEASED.")
	if n := get(o, chromedp.Evaluate[int](`document.querySelectorAll("polygon.undo").length`)); n != 2 {
		o.Errorf("the timeline has %d compensations, want 2", n)
	}
	o.picture(engine + "refused")

	o.open("/console/sagas/dear")
	o.write("by", "ann")
	o.write("note", "known customer")
	o.picture(engine + "dear")
	o.press("Approve")
	o.sees("approve: done", "COMPLETED", "known customer", "ann")

	o.open("/console/sagas/stuck")
	o.sees("needs attention", "refunds are down")
	o.picture(engine + "stuck")
	if err := o.Simulators.HealPayments(o.Context()); err != nil {
		o.Fatal(err)
	}
	o.press("Retry")
	// Only by the stream. The engine's saga ends after its order, and a page does not
	// update itself while a field has the focus, so wait for the button first.
	o.sees("FAILED", "refused by the carrier", "Purge history")
	o.write("note", "over and done")
	o.press("Purge history")
	o.sees("purge: done", "its history was purged", "over and done")

	o.open("/console/dead-letters?queue=OrderProcessingQueue")
	o.sees("quantity: must be 1 to 10000, got 0", "lines[0].sku")
	if n := get(o, chromedp.Evaluate[int](`document.querySelectorAll("main img").length`)); n != 0 {
		o.Errorf("the page has %d images, want the SKU as text", n)
	}
	o.picture(engine + "dead-letters")
	o.send(o.Resources.OrderDLQ, "junk")
	o.open("/console/dead-letters?queue=OrderProcessingQueue")
	o.sees("quantity: must be 1 to 10000, got 0", "OrderProcessingQueue 2")
	o.do(chromedp.Click(`//form[.//textarea[contains(., "junk")]]//button[normalize-space()="Delete"]`))
	o.sees("deleted", "quantity: must be 1 to 10000, got 0")
	get(o, chromedp.Evaluate[string](`(area => area.value = area.value.replace('"quantity":0', '"quantity":1').`+
		`replace('<img src=x onerror=alert(1)>', 'A'))(document.querySelector("textarea"))`))
	o.press("Redrive")
	o.sees("redriven")
	o.until("repairable", order.StatusCompleted)

	o.open("/console/stock?sku=NONE")
	o.write("onHand", "50")
	o.press("Count")
	o.sees("NONE: 50 counted, 50 available")
	o.picture(engine + "stock")

	o.open("/console/sagas/nobody")
	o.sees("Request failed", "nobody")
}
