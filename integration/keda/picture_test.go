package keda

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"time"
)

// Sizes of the picture, in pixels.
const (
	wide, left, right = 860.0, 60.0, 24.0
	top, above, gap   = 64.0, 110.0, 26.0
	below, foot       = 170.0, 46.0
)

// picture returns a scene as SVG: workers above, messages and sagas below.
func picture(c scene, samples []sample, marks []mark) string {
	var b strings.Builder
	span := max(c.to-c.from, time.Second)
	x := func(at time.Duration) float64 {
		return left + (wide-left-right)*float64(at-c.from)/float64(span)
	}
	most := 1
	for _, s := range samples {
		most = max(most, s.wanted, s.ready)
	}
	workersAt := func(n int) float64 { return top + above*(1-float64(n)/float64(most)) }
	// A logarithmic scale shows both one order and five thousand.
	peak := 10.0
	for _, s := range samples {
		peak = max(peak, float64(s.visible+s.inFlight), float64(s.live))
	}
	zero := top + above + gap + below
	countAt := func(n int) float64 { return zero - below*math.Log10(1+float64(n))/math.Log10(1+peak) }

	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" `, wide, zero+foot)
	b.WriteString(`font-family="DejaVu Sans, sans-serif" font-size="12">` + "\n")
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%.0f" y="20" font-size="15">%s</text>`+"\n",
		left, html.EscapeString(c.title))
	for n := range most + 1 {
		grid(&b, workersAt(n), strconv.Itoa(n))
	}
	for n := 1; float64(n) <= peak; n *= 10 {
		grid(&b, countAt(n), strconv.Itoa(n))
	}
	grid(&b, zero, "0")
	for i, m := range marks {
		fmt.Fprintf(&b, `<path d="M%.1f %.1f V%.1f" stroke="#888" stroke-dasharray="3 3"/>`, x(m.at), top-4, zero)
		fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" font-size="10" fill="#555">%s</text>`+"\n",
			min(x(m.at)+3, wide-right-6*float64(len(m.what))), 36+12*float64(i%2), html.EscapeString(m.what))
	}
	area(&b, samples, x, func(s sample) (float64, bool) { return workersAt(s.ready), s.ready >= 0 }, top+above, "#56b4e9")
	steps(&b, samples, x, func(s sample) (float64, bool) { return workersAt(s.wanted), s.wanted >= 0 }, "#0072b2", "")
	steps(&b, samples, x, func(s sample) (float64, bool) { return countAt(s.visible + s.inFlight), s.visible >= 0 }, "#d55e00", "")
	steps(&b, samples, x, func(s sample) (float64, bool) { return countAt(s.live), s.live >= 0 }, "#999", "4 2")
	steps(&b, samples, x, func(s sample) (float64, bool) { return countAt(s.work), s.work >= 0 }, "#009e73", "")

	every := 10 * time.Second
	for _, e := range []time.Duration{20 * time.Second, 30 * time.Second, time.Minute} {
		if span/every > 12 {
			every = e
		}
	}
	for at := time.Duration(0); at <= span; at += every {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" text-anchor="middle" fill="#555">%.0f s</text>`+"\n", x(c.from+at), zero+16, at.Seconds())
	}
	at := left
	for _, k := range []struct{ colour, what string }{
		{"#0072b2", "workers wanted"},
		{"#56b4e9", "workers ready"},
		{"#d55e00", "messages in the queue"},
		{"#009e73", "sagas at work"},
		{"#999", "live sagas, idle ones included"},
	} {
		fmt.Fprintf(&b, `<rect x="%.0f" y="%.0f" width="12" height="4" fill="%s"/><text x="%.0f" y="%.0f">%s</text>`+"\n",
			at, zero+30, k.colour, at+16, zero+37, k.what)
		at += 34 + 7*float64(len(k.what))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// grid draws a horizontal line with a label.
func grid(b *strings.Builder, y float64, label string) {
	fmt.Fprintf(b, `<path d="M%.0f %.1f H%.0f" stroke="#e4e4e4"/>`, left, y, wide-right)
	fmt.Fprintf(b, `<text x="%.0f" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n", left-6, y+4, label)
}

// scaleX returns the x of a time.
type scaleX func(time.Duration) float64

// scaleY returns the y of a number of a sample, and false if the number is missing.
type scaleY func(sample) (float64, bool)

// steps draws a number as a step line, with a gap where it is missing.
func steps(b *strings.Builder, samples []sample, x scaleX, y scaleY, colour, dashes string) {
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n",
		path(samples, x, y), colour, dashes)
}

// path returns a step line as the data of an SVG path.
func path(samples []sample, x scaleX, y scaleY) string {
	var b strings.Builder
	drawing := false
	for _, s := range samples {
		at, ok := y(s)
		switch {
		case !ok:
			drawing = false
		case !drawing:
			fmt.Fprintf(&b, "M%.1f %.1f", x(s.at), at)
			drawing = true
		default:
			fmt.Fprintf(&b, "H%.1f V%.1f", x(s.at), at)
		}
	}
	return b.String()
}

// area fills the area between a number's step line and the floor.
func area(b *strings.Builder, samples []sample, x scaleX, y scaleY, floor float64, colour string) {
	if len(samples) == 0 {
		return
	}
	line := path(samples, x, func(s sample) (float64, bool) {
		at, ok := y(s)
		if !ok {
			at = floor
		}
		return at, true
	})
	fmt.Fprintf(b, `<path d="%sV%.1f H%.1f Z" fill="%s" fill-opacity=".35"/>`+"\n", line, floor, x(samples[0].at), colour)
}
