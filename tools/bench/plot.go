package main

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

// bar is the bar of one system with its whiskers.
type bar struct {
	name      string
	length    float64
	low, high float64 // ends of the whiskers
}

// plotRates writes the chart of sagas per second.
func (r report) plotRates(file string) error {
	var bars []bar
	for _, s := range r.results {
		if rates := s.rates(); len(rates) > 0 {
			bars = append(bars, bar{name: s.name, length: measure.Median(rates), low: slices.Min(rates), high: slices.Max(rates)})
		}
	}
	return draw(file, fmt.Sprintf("Sagas of three empty activities per second, %d in flight (median, min–max)", r.inFlight), "", bars)
}

// plotLatency writes the chart of a single saga's latency.
func (r report) plotLatency(file string) error {
	var bars []bar
	for _, s := range r.results {
		if len(s.rounds) > 0 {
			ms := func(p float64) float64 { return float64(measure.Percentile(s.lone(), p)) / float64(time.Millisecond) }
			bars = append(bars, bar{name: s.name, length: ms(.5), low: ms(.5), high: ms(.99)})
		}
	}
	return draw(file, "Latency of a single saga of three empty activities, ms (p50, whisker to p99)", " ms", bars)
}

// draw writes horizontal bars, the first on top, on a logarithmic scale.
func draw(file, title, unit string, bars []bar) error {
	slices.Reverse(bars)
	p := plot.New()
	p.Title.Text = title
	p.X.Scale, p.X.Tick.Marker = logScale{}, plot.LogTicks{Prec: 4}
	p.X.Min, p.X.Max = math.Inf(1), 0
	names := make([]string, len(bars))
	whiskers := struct {
		plotter.XYs
		plotter.XErrors
	}{XYs: make(plotter.XYs, len(bars)), XErrors: make(plotter.XErrors, len(bars))}
	labels := plotter.XYLabels{XYs: make(plotter.XYs, len(bars)), Labels: make([]string, len(bars))}
	for i, b := range bars {
		one, err := plotter.NewBarChart(plotter.Values{b.length}, vg.Points(14))
		if err != nil {
			return fmt.Errorf("plot: %w", err)
		}
		one.Horizontal, one.XMin, one.LineStyle.Width = true, float64(i), 0
		one.Color = color.RGBA{R: 0x9a, G: 0xa5, B: 0xb1, A: 0xff}
		if strings.Contains(b.name, "embedded") {
			one.Color = color.RGBA{R: 0x2f, G: 0x6f, B: 0xb7, A: 0xff}
		}
		low, high := p.X.Min, p.X.Max
		p.Add(one) // lets the axis begin at 0
		p.X.Min, p.X.Max = min(low, b.low/2), max(high, b.high*2.5)
		names[i] = strings.NewReplacer("*", "", "`", "").Replace(b.name)
		whiskers.XYs[i] = plotter.XY{X: b.length, Y: float64(i)}
		whiskers.XErrors[i].Low, whiskers.XErrors[i].High = b.low-b.length, b.high-b.length
		labels.XYs[i] = plotter.XY{X: b.high, Y: float64(i)}
		labels.Labels[i] = fmt.Sprintf("%.3g%s", b.length, unit)
		if b.length >= 100 {
			labels.Labels[i] = fmt.Sprintf("%.0f%s", b.length, unit)
		}
	}
	w, err1 := plotter.NewXErrorBars(whiskers)
	l, err2 := plotter.NewLabels(labels)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	l.Offset = vg.Point{X: 6, Y: -4}
	grid := plotter.NewGrid()
	grid.Horizontal.Width = 0
	p.Add(grid, w, l)
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -.6, float64(len(bars))-.4
	if err := p.Save(22*vg.Centimeter, vg.Length(len(bars))*vg.Centimeter+2*vg.Centimeter, file); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return nil
}

// logScale is plot.LogScale for bars. A bar begins at 0, which it draws at the axis.
type logScale struct{}

// Normalize implements plot.Normalizer.
func (logScale) Normalize(low, high, x float64) float64 {
	return plot.LogScale{}.Normalize(low, high, max(x, low))
}
