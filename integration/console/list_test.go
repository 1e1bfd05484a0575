package console

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestOrderIDsFitTheList: beside a long reason, an id of usual length takes one line, and the
// longest one does not widen the page.
func TestOrderIDsFitTheList(t *testing.T) {
	t.Parallel()
	o := newOperator(t, func() testkit.System { return testkit.NewSystem(t, nil, nil) })
	usual, longest := "order-2026-11-30-0000012345", strings.Repeat("x", order.MaxIDLength)
	o.place(usual, "tok_ok", "REFUSE", 100)
	o.until(usual, order.StatusFailed)
	o.open("/console/sagas")
	o.sees(usual)
	get(o, chromedp.Evaluate[bool](`(document.querySelector("td.why").textContent = "the carrier does not deliver there ".repeat(9), true)`))
	lines := func() int {
		return get(o, chromedp.Evaluate[int](`(() => { const r = document.createRange();
			r.selectNodeContents(document.querySelector("th.id a")); return r.getClientRects().length })()`))
	}
	if n := lines(); n != 1 {
		o.Errorf("id %s takes %d lines, want 1", usual, n)
	}
	get(o, chromedp.Evaluate[bool](`(document.querySelector("th.id a").textContent = "`+longest+`", true)`))
	if width := get(o, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); width > screenWidth {
		o.Errorf("with an id of %d characters the page is %d px wide, want at most %d px", len(longest), width, screenWidth)
	}
	o.picture("long-id")
}
