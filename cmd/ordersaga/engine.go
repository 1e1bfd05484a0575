package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// engineCmd looks after the embedded engine's files while nobody uses them.
type engineCmd struct {
	Verify engineVerifyCmd `cmd:"" help:"Read all of the embedded engine's state and say what is there and what is damaged. Status 0: a worker can start with it."`
	Repair engineRepairCmd `cmd:"" help:"Save what can be saved of damaged state, and say what is lost. Copies the files as they were beside it first."`
}

type engineDir struct {
	DataDir string `default:".ordersaga" help:"Where state is kept, by a worker that is not running." type:"path"`
}

func (d engineDir) path() (string, error) {
	dir := filepath.Join(d.DataDir, "engine")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("--data-dir %s: no embedded engine has kept state there: %w", d.DataDir, err)
	}
	return dir, nil
}

type engineVerifyCmd struct{ engineDir }

func (c engineVerifyCmd) Run(e env) error {
	dir, err := c.path()
	if err != nil {
		return err
	}
	r, err := embedded.Verify(dir)
	if err != nil {
		return err
	}
	if err := printReport(e.out, dir, r); err != nil || r.Intact() {
		return err
	}
	return fmt.Errorf("%s is damaged: `ordersaga engine repair --data-dir %s` saves what is listed above; it needs %d bytes of room beside it at most", dir, c.DataDir, r.MaxRepairBytes())
}

type engineRepairCmd struct{ engineDir }

func (c engineRepairCmd) Run(e env) error {
	dir, err := c.path()
	if err != nil {
		return err
	}
	r, err := embedded.Repair(dir)
	if len(r.Files) > 0 {
		err = errors.Join(printReport(e.out, dir, r), err)
	}
	if err != nil {
		return err
	}
	text := "Nothing to repair.\n"
	if r.Backup != "" {
		text = fmt.Sprintf("Repaired. The files as they were are in %s.\n", r.Backup)
	}
	if !r.Intact() {
		text += "Start the worker, then `ordersaga reconcile`: it starts accepted orders again that have no saga, and reports what does not fit.\n"
	}
	_, err = io.WriteString(e.out, text)
	return err
}

func printReport(out io.Writer, dir string, r embedded.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Engine state in %s\n\n", dir)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "file\tformat\tbytes\tbatches\trecords\t") // to memory, here and below
	for _, f := range r.Files {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t\n", f.Name, f.Version, f.Bytes, f.Batches, f.Records)
	}
	_ = w.Flush()
	fmt.Fprintf(&b, "\nSagas: %d live, of which %d wait; %d ended.\n", r.Live, r.Waiting, r.Ended)
	if a := r.Archive; a.Bytes > 0 {
		fmt.Fprintf(&b, "Archive of ended sagas: %d bytes, %d sagas.\n", a.Bytes, a.Sagas)
		if a.Damage != "" {
			fmt.Fprintf(&b, "DAMAGED: %s. Only the histories of ended sagas are in it.\n", a.Damage)
		}
	}
	for _, d := range r.Damage {
		printDamage(&b, d)
	}
	if slices.ContainsFunc(r.Damage, func(d journal.Damage) bool { return !d.Torn }) {
		fmt.Fprintf(&b, "\nLost: %d bytes, and at least %d changes that were in a log.\n", r.LostBytes, r.LostRecords)
		printIDs(&b, "Taken back to before the damage", r.Behind)
		printIDs(&b, "Gone", r.Gone)
		printIDs(&b, "Possibly behind, the last change being lost", r.Named)
		if len(r.Behind)+len(r.Gone)+len(r.Named) == 0 {
			fmt.Fprintln(&b, "No saga can be named; any may lack its last change, or be gone.")
		}
	} else if r.Intact() {
		fmt.Fprintln(&b, "OK: nothing acknowledged is missing.")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func printDamage(b *strings.Builder, d journal.Damage) {
	kind := "DAMAGED"
	if d.Torn {
		kind = "Torn end, of a write before a crash that was never acknowledged"
	}
	fmt.Fprintf(b, "%s: %s, %d bytes at byte %d: %s\n", kind, filepath.Base(d.File), d.Length, d.Offset, d.Reason)
}

func printIDs(b *strings.Builder, what string, ids []string) {
	if len(ids) > 0 {
		fmt.Fprintf(b, "%s: %d sagas\n  %s\n", what, len(ids), strings.Join(ids, "\n  "))
	}
}
