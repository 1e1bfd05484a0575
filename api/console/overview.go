package console

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/order"
)

type overviewPage struct {
	api.Overview

	Live, Ended   []count
	Chart         chart
	Stuck         int
	Perspective   string // what "recent" means
	DeadLetters   int
	EndedRecently int
}

type count struct {
	Status order.Status
	N      int
}

// chart is two lines over the time that is recent.
type chart struct {
	Started, Done string // points of a polyline
	Max           float64
}

func overviewOf(o api.Overview) overviewPage {
	p := overviewPage{Overview: o, Stuck: o.Live[order.StatusNeedsAttention]}
	for _, s := range order.Statuses() {
		if s.Terminal() {
			p.Ended = append(p.Ended, count{s, o.Recent.Ended[s]})
			p.EndedRecently += o.Recent.Ended[s]
		} else {
			p.Live = append(p.Live, count{s, o.Live[s]})
		}
	}
	for _, q := range o.Queues {
		p.DeadLetters += q.Dead
	}
	p.Perspective = short(o.At.Sub(o.Recent.Since))
	p.Chart = chartOf(o.Recent.Started, o.Recent.Done)
	return p
}

const chartWidth, chartHeight = 600.0, 120.0

func chartOf(started, done []float64) chart {
	c := chart{Max: 1}
	for _, n := range slices.Concat(started, done) {
		c.Max = max(c.Max, n)
	}
	line := func(ns []float64) string {
		var b strings.Builder
		for i, n := range ns {
			_, _ = fmt.Fprintf(&b, "%.1f,%.1f ", float64(i)*chartWidth/float64(max(len(ns)-1, 1)), chartHeight-n/c.Max*chartHeight) // never fails
		}
		return b.String()
	}
	c.Started, c.Done = line(started), line(done)
	return c
}
