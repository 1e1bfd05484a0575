package embedded

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
)

// holds reports which files below dir have a text in them.
func holds(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			files = append(files, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestScrub: what was purged is not in the files any more, wherever it was, and
// all else is as it was.
func TestScrub(t *testing.T) {
	const who = "Erika-Mustermann"
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	end := func(id, said string) {
		e.start(t, "Listen", id, said)
		if err := e.Raise(t.Context(), id, "go", said); err != nil {
			t.Fatal(err)
		}
		e.want(t, id, engine.Completed, fmt.Sprintf("%q", said))
	}
	for n := range 30 { // among others, so that pages are shared and given up
		end(fmt.Sprint("other", n), "somebody")
		end(fmt.Sprint("theirs", n), who)
		if n%10 == 9 {
			e.moveNow(t)
		}
	}
	end("journal", who) // it has not moved yet
	e.start(t, "Listen", "live", "somebody")
	if files := holds(t, dir, who); len(files) < 2 {
		t.Fatalf("it is in %v, and must be in the journal and in the archive", files)
	}
	for n := range 30 {
		if err := e.Purge(t.Context(), fmt.Sprint("theirs", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Purge(t.Context(), "journal"); err != nil {
		t.Fatal(err)
	}
	if files := holds(t, dir, who); len(files) < 2 {
		t.Errorf("purged, and in %v: then there is nothing to scrub", files)
	}
	// Others read, write and move meanwhile.
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			end(fmt.Sprint("meanwhile", n), "somebody")
			e.moveNow(t)
			e.want(t, "other3", engine.Completed, `"somebody"`)
		}
	})
	for range 5 {
		if err := e.Scrub(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	busy.Wait()
	if files := holds(t, dir, who); len(files) > 0 {
		t.Errorf("scrubbed, and in %v", files)
	}
	check := func(when string) {
		for n := range 30 {
			if i := e.wait(t, fmt.Sprint("other", n)); string(i.Output) != `"somebody"` {
				t.Errorf("%s: %+v", when, i)
			}
		}
	}
	check("scrubbed")
	e.stop()
	if r, err := Verify(dir); err != nil || !r.Intact() || r.Live != 1 {
		t.Errorf("%+v %v", r, err)
	}
	e = run(t, w, Options{Dir: dir})
	check("opened again")
	if err := e.Raise(t.Context(), "live", "go", "x"); err != nil {
		t.Error(err)
	}
	e.want(t, "live", engine.Completed, `"x"`)
	e.stop()
	if files := holds(t, dir, who); len(files) > 0 {
		t.Errorf("opened again, and in %v", files)
	}
}

// TestScrubOfNothing: an engine may keep nothing.
func TestScrubOfNothing(t *testing.T) {
	if err := run(t, enginetest.NewWorld(), Options{}).Scrub(); err != nil {
		t.Error(err)
	}
}
