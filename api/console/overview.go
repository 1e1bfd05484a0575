package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/order"
)

// maxRows is how many rows of a table the overview shows, so that it fits on a
// screen.
const maxRows = 4

type overviewPage struct {
	api.Overview

	Open          []statusCount
	Ended         []statusCount
	EndedRecently int
	Problems      []problemLink

	Throughput throughputChart
	Histogram  latencyChart

	// The first rows of Workers and Low, and how many there are besides.
	WorkerRows           []api.Worker
	LowRows              []api.Level
	MoreWorkers, MoreLow int
}

type statusCount struct {
	Status order.Status
	N      int
	More   bool // N is a lower bound
}

// problemLink is something that needs attention, with the page that shows it.
type problemLink struct{ Text, URL string }

func overviewOf(o api.Overview) overviewPage {
	p := overviewPage{Overview: o}
	for _, s := range order.Statuses() {
		if s.Terminal() {
			p.Ended = append(p.Ended, statusCount{Status: s, N: o.Ended[s].N, More: o.Ended[s].More})
			p.EndedRecently += o.Recent.Ended[s]
		} else {
			p.Open = append(p.Open, statusCount{Status: s, N: o.Live[s]})
		}
	}
	p.Problems = problemsOf(o)
	p.Throughput = throughputOf(o.Recent)
	p.Histogram = latencyOf(o.Recent.Latency)
	p.WorkerRows, p.MoreWorkers = firstRows(o.Workers)
	p.LowRows, p.MoreLow = firstRows(o.Low)
	return p
}

func firstRows[T any](all []T) (shown []T, more int) {
	n := min(len(all), maxRows)
	return all[:n], len(all) - n
}

// problemsOf lists what needs attention, the most urgent first.
func problemsOf(o api.Overview) (all []problemLink) {
	add := func(n int, one, many, url string) {
		switch {
		case n == 1:
			all = append(all, problemLink{Text: "1 " + one, URL: url})
		case n > 1:
			all = append(all, problemLink{Text: strconv.Itoa(n) + " " + many, URL: url})
		}
	}
	needAttention := o.Live[order.StatusNeedsAttention]
	add(needAttention, "saga needs attention", "sagas need attention", "/console/sagas?status="+string(order.StatusNeedsAttention))
	add(o.Live[order.StatusAwaitingApproval], "order waits for approval", "orders wait for approval",
		"/console/sagas?status="+string(order.StatusAwaitingApproval))
	add(o.Stuck.N-needAttention, "saga has made no progress within its deadline", "sagas have made no progress within their deadline",
		"/console/sagas?stuck=true")
	for _, q := range o.Queues {
		add(q.Dead, "dead letter of "+q.Name, "dead letters of "+q.Name, "/console/dead-letters?queue="+q.Name)
	}
	return all
}

// The charts' size, in the units of their viewBox.
const chartWidth, chartHeight = 600.0, 130.0

// throughputChart has a stacked column of the outcomes for each interval, and a
// line of the sagas that started.
type throughputChart struct {
	Columns []column
	Started string // points of a polyline
	Max     string // of the vertical axis, per second
}

// column is a rectangle of a chart.
type column struct {
	X, Y, Width, Height float64
	Class, Title        string
}

func throughputOf(r api.Recent) throughputChart {
	highest := 0.0
	for i := range r.Ends {
		highest = max(highest, r.Starts[i], r.Ends[i])
	}
	top := axisMax(highest)
	c := throughputChart{Max: strconv.FormatFloat(top, 'g', -1, 64)}
	width := chartWidth / float64(max(len(r.Ends), 1))
	for i := range r.Ends {
		y := chartHeight
		for _, s := range order.TerminalStatuses() {
			perSecond := 0.0
			if i < len(r.EndsByStatus[s]) {
				perSecond = r.EndsByStatus[s][i]
			}
			if perSecond == 0 {
				continue
			}
			height := perSecond / top * chartHeight
			y -= height
			c.Columns = append(c.Columns, column{
				X: float64(i) * width, Y: y, Width: width - 1, Height: height,
				Class: statusClass(s), Title: fmt.Sprintf("%s: %g per second", s, perSecond),
			})
		}
	}
	var points strings.Builder
	for i, n := range r.Starts {
		_, _ = fmt.Fprintf(&points, "%.1f,%.1f ", (float64(i)+0.5)*width, chartHeight-n/top*chartHeight) // never fails
	}
	c.Started = points.String()
	return c
}

// axisMax returns the smallest of 0.2, 0.5, 1, 2, 5, 10 … that is not below n.
func axisMax(n float64) float64 {
	for unit := 0.1; ; unit *= 10 {
		for _, factor := range []float64{2, 5, 10} {
			if n <= unit*factor {
				return unit * factor
			}
		}
	}
}

// latencyChart is a histogram of how long orders took.
type latencyChart struct {
	Columns []column
	Labels  []axisLabel
	Max     int64
}

type axisLabel struct {
	X    float64
	Text string
}

func latencyOf(buckets []api.LatencyBucket) latencyChart {
	const widest = 90.0
	c := latencyChart{}
	for _, b := range buckets {
		c.Max = max(c.Max, b.Count)
	}
	width := min(chartWidth/float64(max(len(buckets), 1)), widest)
	for i, b := range buckets {
		height := float64(b.Count) / float64(c.Max) * chartHeight
		upTo := short(time.Duration(b.UpTo * float64(time.Second)))
		x := float64(i) * width
		c.Columns = append(c.Columns, column{
			X: x + 1, Y: chartHeight - height, Width: width - 2, Height: height, Class: "latency",
			Title: fmt.Sprintf("up to %s: %d orders", upTo, b.Count),
		})
		c.Labels = append(c.Labels, axisLabel{X: x + width/2, Text: upTo})
	}
	return c
}
