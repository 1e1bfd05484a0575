package devenv

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// print shows what became of the orders, by scenario.
func (d Demo) print(want map[string]*scenario, got map[string]orderstore.Record, letters int, began time.Time, calls int64) {
	took := map[string]Durations{}
	ended := map[string]map[string]int{}
	var all, ends Durations // ends: since the first order was published
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
	row := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\t\n", args...) } // flushed, and checked, below
	row("scenario\torders\toutcome\tp50\tp99")
	for _, s := range scenarios() {
		if s.raw != "" || len(took[s.name]) == 0 {
			continue
		}
		outcome := ""
		for st, n := range ended[s.name] {
			if outcome += st; len(ended[s.name]) > 1 {
				outcome += fmt.Sprintf("(%d) ", n)
			}
		}
		ds := took[s.name]
		row("%s\t%d\t%s\t%s\t%s", s.name, len(ds), outcome, Short(ds.Percentile(.5)), Short(ds.Percentile(.99)))
	}
	row("malformed or invalid\t%d\tdead letter\t\t", letters)
	row("all\t%d\t\t%s\t%s", len(want), Short(all.Percentile(.5)), Short(all.Percentile(.99)))
	_ = t.Flush() // nothing to do about a terminal that is gone
	most, last := ends.Percentile(.9), ends.Percentile(1)
	_, _ = fmt.Fprintf(d.Out, "\n%d sagas: 90%% had ended after %s (%.0f sagas/s), the last after %s (retries, refunds and people take their time); %.1f AWS calls per saga\n\n",
		len(want), Short(most), .9*float64(len(want))/most.Seconds(), Short(last), float64(calls)/float64(max(len(want), 1)))
}

func Short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// printLedger shows the stock ledger in one line.
func printLedger(ctx context.Context, out io.Writer, store *orderstore.Store) {
	l, err := store.CheckLedger(ctx)
	if err != nil {
		_, _ = fmt.Fprintln(out, "stock ledger cannot be read:", err)
		return
	}
	_, _ = fmt.Fprintf(out, "Stock ledger, %d SKUs: available %d + reserved %d + sold %d = received %d\n",
		l.SKUs, l.Units.Available, l.Units.Reserved, l.Units.Sold, l.Units.Received)
}
