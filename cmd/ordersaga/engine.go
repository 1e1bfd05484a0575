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

// engineCmd verifies and repairs the embedded engine's files. The worker must be
// stopped.
type engineCmd struct {
	Verify engineVerifyCmd `cmd:"" help:"Read the embedded engine's files only, list the sagas and report damage. Exit 0 if a worker can start. See also data verify."`
	Repair engineRepairCmd `cmd:"" help:"Repair the embedded engine's files as far as possible and report what is lost. Backs up the files first. See also data repair."`
}

type engineDir struct {
	DataDir string `default:".ordersaga" help:"Data directory of a stopped worker." type:"path"`
}

func (d engineDir) path() (string, error) {
	dir := filepath.Join(d.DataDir, "engine")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("--data-dir %s: no state of an embedded engine: %w", d.DataDir, err)
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
	return fmt.Errorf("%s is damaged: `ordersaga engine repair --data-dir %s` recovers what is listed above; "+
		"it needs up to %d bytes of free disk space",
		dir, c.DataDir, r.MaxRepairBytes())
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
		text = fmt.Sprintf("Repaired. The original files are in %s.\n", r.Backup)
	}
	if !r.Intact() {
		text += "Start the worker, then run `ordersaga reconcile`: it restarts accepted orders that have no saga and reports inconsistencies.\n"
	}
	_, err = io.WriteString(e.out, text)
	return err
}

func printReport(out io.Writer, dir string, r embedded.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Engine state in %s\n\n", dir)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "file\tformat\tbytes\tbatches\trecords\t") // to memory: cannot fail, here and below
	for _, f := range r.Files {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t\n", f.Name, f.Version, f.Bytes, f.Batches, f.Records)
	}
	_ = w.Flush()
	fmt.Fprintf(&b, "\nSagas: %d in progress, %d of them waiting; %d ended.\n", r.Live, r.Waiting, r.Ended)
	if a := r.Archive; a.Bytes > 0 {
		fmt.Fprintf(&b, "Archive of ended sagas: %d bytes, %d sagas.\n", a.Bytes, a.Sagas)
	}
	if r.Archive.Damage != "" {
		fmt.Fprintf(&b, "DAMAGED: %s. It holds only the histories of ended sagas.\n", r.Archive.Damage)
	}
	printLeftovers(&b, r.Leftovers)
	for _, d := range r.Damage {
		printDamage(&b, d)
	}
	if slices.ContainsFunc(r.Damage, func(d journal.Damage) bool { return !d.Torn }) {
		fmt.Fprintf(&b, "\nLost: %d bytes, with at least %d logged changes.\n", r.LostBytes, r.LostRecords)
		printIDs(&b, "Sagas restored to a state before the damage", r.RolledBack)
		printIDs(&b, "Lost sagas", r.Lost)
		printIDs(&b, "Sagas that may lack their last change", r.Uncertain)
		if len(r.RolledBack)+len(r.Lost)+len(r.Uncertain) == 0 {
			fmt.Fprintln(&b, "The affected sagas are unknown: any saga may lack its last change, or be lost.")
		}
	} else if r.Intact() {
		fmt.Fprintln(&b, "OK: no acknowledged change is missing.")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printLeftovers prints how much space the files take that a crash has left behind.
func printLeftovers(b *strings.Builder, files []journal.FileInfo) {
	var bytes int64
	for _, f := range files {
		bytes += f.Bytes
	}
	if len(files) > 0 {
		fmt.Fprintf(b, "Left behind by a crash during compaction: %d files, %d bytes. The next start removes them.\n", len(files), bytes)
	}
}

func printDamage(b *strings.Builder, d journal.Damage) {
	kind := "DAMAGED"
	if d.Torn {
		kind = "Torn end of a write that a crash interrupted and that was never acknowledged"
	}
	fmt.Fprintf(b, "%s: %s, %d bytes at byte %d: %s\n", kind, filepath.Base(d.File), d.Length, d.Offset, d.Reason)
}

func printIDs(b *strings.Builder, title string, ids []string) {
	if len(ids) > 0 {
		fmt.Fprintf(b, "%s: %d\n  %s\n", title, len(ids), strings.Join(ids, "\n  "))
	}
}
