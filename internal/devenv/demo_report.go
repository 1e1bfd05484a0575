package devenv

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// report writes the outcomes and latencies of the orders, by scenario. began is
// when the first order was published, calls the number of the worker's AWS calls.
func (d Demo) report(
	want map[string]*scenario, got map[string]orderstore.Record, deadLetters int, began time.Time, calls int64,
) {
	took := map[string]Durations{}
	ended := map[string]map[string]int{}
	var all, ends Durations // ends: durations since began
	for id, s := range want {
		rec := got[id]
		t := rec.UpdatedAt.Sub(rec.CreatedAt)
		took[s.name] = append(took[s.name], t)
		all = append(all, t)
		ends = append(ends, rec.UpdatedAt.Sub(began))
		if ended[s.name] == nil {
			ended[s.name] = map[string]int{}
		}
		ended[s.name][string(rec.Status)]++
	}
	t := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', tabwriter.AlignRight|tabwriter.DiscardEmptyColumns)
	row := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\t\n", args...) } // buffered until Flush
	row("scenario\torders\toutcome\tp50\tp99")
	for _, s := range scenarios() {
		if s.raw != "" || len(took[s.name]) == 0 {
			continue
		}
		ds := took[s.name]
		row("%s\t%d\t%s\t%s\t%s", s.name, len(ds), outcome(ended[s.name]), RoundDuration(ds.Percentile(.5)), RoundDuration(ds.Percentile(.99)))
	}
	row("malformed or invalid\t%d\tdead letter\t\t", deadLetters)
	row("all\t%d\t\t%s\t%s", len(want), RoundDuration(all.Percentile(.5)), RoundDuration(all.Percentile(.99)))
	_ = t.Flush() // a terminal that is closed does not fail the demo
	most, last := ends.Percentile(.9), ends.Percentile(1)
	_, _ = fmt.Fprintf(d.Out, "\n%d sagas: 90%% had ended after %s (%.0f sagas/s), "+
		"all after %s, including retries, refunds and approvals; %.1f AWS calls per saga\n\n",
		len(want), RoundDuration(most), .9*float64(len(want))/most.Seconds(), RoundDuration(last),
		float64(calls)/float64(max(len(want), 1)))
}

// outcome lists statuses, with the number of orders of each if there are several.
func outcome(orders map[string]int) string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(orders)) {
		if len(orders) == 1 {
			return status
		}
		parts = append(parts, fmt.Sprintf("%s(%d)", status, orders[status]))
	}
	return strings.Join(parts, " ")
}

// RoundDuration formats a duration for people: microseconds below a millisecond,
// tenths of a millisecond below a second, milliseconds above.
func RoundDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// reportLedger writes the totals of the stock ledger as one line.
func reportLedger(ctx context.Context, out io.Writer, store *orderstore.Store) {
	l, err := store.CheckLedger(ctx)
	if err != nil {
		_, _ = fmt.Fprintln(out, "Stock ledger cannot be read:", err)
		return
	}
	_, _ = fmt.Fprintf(out, "Stock ledger, %d SKUs: available %d + reserved %d + sold %d = received %d\n",
		l.SKUs, l.Units.Available, l.Units.Reserved, l.Units.Sold, l.Units.Received)
}
