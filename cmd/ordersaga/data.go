package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// dataCmd verifies and repairs all files of a data directory. No process may use
// the directory meanwhile.
type dataCmd struct {
	Verify dataVerifyCmd `cmd:"" help:"Read all files in --data-dir and report damage: engine, local AWS, simulators. Exit 0 if all of them can start."`
	Repair dataRepairCmd `cmd:"" help:"Repair damaged files in --data-dir as far as possible and report what is lost. Backs up the files first."`
}

type dataVerifyCmd struct{ engineDir }

func (c dataVerifyCmd) Run(e env) error {
	return c.each(engineVerifyCmd(c).Run, e, journal.Verify, func(r journal.Report) (string, error) {
		if r.Intact() {
			return "OK: no acknowledged change is missing.", nil
		}
		return fmt.Sprintf("Lost: %d bytes.", r.LostBytes),
			fmt.Errorf("damaged: `ordersaga data repair --data-dir %s` recovers the rest; it needs up to %d bytes of free disk space",
				c.DataDir, r.MaxRepairBytes())
	})
}

type dataRepairCmd struct{ engineDir }

func (c dataRepairCmd) Run(e env) error {
	return c.each(engineRepairCmd(c).Run, e, journal.Repair, func(r journal.Report) (string, error) {
		text := "Nothing to repair."
		if r.Backup != "" {
			text = fmt.Sprintf("Repaired. The original files are in %s.", r.Backup)
		}
		if !r.Intact() {
			text += fmt.Sprintf(" Lost: %d bytes; the changes in them are undone. "+
				"Run `ordersaga check` to see whether the records still agree.", r.LostBytes)
		}
		return text, nil
	})
}

// each runs engine on the engine's directory, if it exists, and inspect on each
// of the other directories. summarize returns the last line of a directory's
// output, and an error if the directory is damaged. each joins all errors.
func (d engineDir) each(
	engine func(env) error, e env,
	inspect func(dir string) (journal.Report, error), summarize func(journal.Report) (string, error),
) error {
	var errs []error
	found := false
	if _, err := d.path(); err == nil {
		found = true
		errs = append(errs, engine(e))
	}
	for _, folder := range devenv.Journals {
		dir := filepath.Join(d.DataDir, filepath.FromSlash(folder))
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found = true
		r, err := inspect(dir)
		if err == nil || r.Backup != "" {
			var b strings.Builder
			fmt.Fprintf(&b, "\n%s: %d files, %d records\n", dir, len(r.Files), r.Records)
			printLeftovers(&b, r.Leftovers)
			for _, damage := range r.Damage {
				printDamage(&b, damage)
			}
			text, damaged := summarize(r)
			fmt.Fprintln(&b, text)
			_, writeErr := io.WriteString(e.out, b.String())
			err = errors.Join(err, damaged, writeErr)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", dir, err))
		}
	}
	if !found {
		return fmt.Errorf("--data-dir %s: the directory has no state", d.DataDir)
	}
	return errors.Join(errs...)
}
