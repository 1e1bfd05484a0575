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

// dataCmd looks after all files of a data directory while nobody uses them.
type dataCmd struct {
	Verify dataVerifyCmd `cmd:"" help:"Read everything and say what is there and what is damaged. Status 0: all of it can be started with."`
	Repair dataRepairCmd `cmd:"" help:"Save what can be saved of what is damaged, and say what is lost. Copies the files as they were beside it first."`
}

type dataVerifyCmd struct{ engineDir }

func (c dataVerifyCmd) Run(e env) error {
	return c.each(engineVerifyCmd(c).Run, e, journal.Verify, func(r journal.Report) (string, error) {
		if r.Intact() {
			return "OK: nothing acknowledged is missing.", nil
		}
		return fmt.Sprintf("Lost: %d bytes.", r.LostBytes),
			fmt.Errorf("it is damaged: `ordersaga data repair --data-dir %s` saves the rest; it needs %d bytes of room beside it at most", c.DataDir, r.MaxRepairBytes())
	})
}

type dataRepairCmd struct{ engineDir }

func (c dataRepairCmd) Run(e env) error {
	return c.each(engineRepairCmd(c).Run, e, journal.Repair, func(r journal.Report) (string, error) {
		text := "Nothing to repair."
		if r.Backup != "" {
			text = fmt.Sprintf("Repaired. The files as they were are in %s.", r.Backup)
		}
		if !r.Intact() {
			text += fmt.Sprintf(" Lost: %d bytes; what they had changed is as it was before. `ordersaga check` tells whether the books still agree.", r.LostBytes)
		}
		return text, nil
	})
}

// each looks at the engine's folder, if it is there, and at each of the others,
// and joins what is wrong with them.
func (d engineDir) each(engine func(env) error, e env, look func(dir string) (journal.Report, error), say func(journal.Report) (string, error)) error {
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
		r, err := look(dir)
		if err == nil || r.Backup != "" {
			var b strings.Builder
			fmt.Fprintf(&b, "\n%s: %d files, %d records\n", dir, len(r.Files), r.Records)
			for _, damage := range r.Damage {
				printDamage(&b, damage)
			}
			text, bad := say(r)
			fmt.Fprintln(&b, text)
			_, written := io.WriteString(e.out, b.String())
			err = errors.Join(err, bad, written)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", dir, err))
		}
	}
	if !found {
		return fmt.Errorf("--data-dir %s: nothing has kept state there", d.DataDir)
	}
	return errors.Join(errs...)
}
