package console

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/order"
)

type overviewPage struct {
	api.Overview

	Live          []live
	Ended         []ended
	Chart         chart
	EndedRecently int
	Troubles      []trouble
}

type live struct {
	Status order.Status
	N      int
}

type ended struct {
	Status order.Status
	Count  api.Count
}

// trouble is what somebody should look at, and where.
type trouble struct{ Say, At string }

// chart is two lines over the time that is recent.
type chart struct {
	Started, Done string // points of a polyline
	Max           float64
}

func overviewOf(o api.Overview) overviewPage {
	p := overviewPage{Overview: o}
	for _, s := range order.Statuses() {
		if s.Terminal() {
			p.Ended = append(p.Ended, ended{s, o.Ended[s]})
			p.EndedRecently += o.Recent.Ended[s]
		} else {
			p.Live = append(p.Live, live{s, o.Live[s]})
		}
	}
	add := func(n int, one, many, at string) {
		switch {
		case n == 1:
			p.Troubles = append(p.Troubles, trouble{"1 " + one, at})
		case n > 1:
			p.Troubles = append(p.Troubles, trouble{strconv.Itoa(n) + " " + many, at})
		}
	}
	add(o.Live[order.StatusNeedsAttention], "saga needs a decision", "sagas need a decision", "/console/sagas?status="+string(order.StatusNeedsAttention))
	add(o.Live[order.StatusAwaitingApproval], "order waits for approval", "orders wait for approval", "/console/sagas?status="+string(order.StatusAwaitingApproval))
	add(o.Stuck.N-o.Live[order.StatusNeedsAttention], "has not moved for longer than it may", "have not moved for longer than they may", "/console/sagas?stuck=true")
	for _, q := range o.Queues {
		add(q.Dead, "dead letter of "+q.Name, "dead letters of "+q.Name, "/console/dead-letters?queue="+q.Name)
	}
	p.Chart = chartOf(o.Recent.Starts, o.Recent.Ends)
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
