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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// filesWith returns the files below dir that contain a text.
func filesWith(t *testing.T, dir, text string) (files []string) {
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
	require.NoError(t, err)
	return files
}

// TestScrubErasesWhatWasPurged: purged data is no longer in the files, wherever it
// was, and everything else is unchanged.
func TestScrubErasesWhatWasPurged(t *testing.T) {
	const who = "Erika-Mustermann"
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	end := func(id, payload string) {
		e.start(t, "Listen", id, payload)
		require.NoError(t, e.Raise(t.Context(), id, "go", payload))
		e.want(t, id, engine.Completed, fmt.Sprintf("%q", payload))
	}
	for n := range 30 { // mixed with others, so that pages are shared and released
		end(fmt.Sprint("other", n), "Jane-Doe")
		end(fmt.Sprint("theirs", n), who)
		if n%10 == 9 {
			e.archiveNow(t)
		}
	}
	end("journal", who) // not archived yet
	e.start(t, "Listen", "live", "Jane-Doe")
	if files := filesWith(t, dir, who); len(files) < 2 {
		t.Fatalf("the name is in %v, want it in the journal and in the archive", files)
	}
	for n := range 30 {
		require.NoError(t, e.Purge(t.Context(), fmt.Sprint("theirs", n)))
	}
	require.NoError(t, e.Purge(t.Context(), "journal"))
	if files := filesWith(t, dir, who); len(files) < 2 {
		t.Errorf("after the purge the name is in %v, want two files, so that there is something to scrub", files)
	}
	// Other sagas are read, written and archived meanwhile.
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			end(fmt.Sprint("meanwhile", n), "Jane-Doe")
			e.archiveNow(t)
			e.want(t, "other3", engine.Completed, `"Jane-Doe"`)
		}
	})
	for range 5 {
		if err := e.Scrub(); err != nil {
			t.Errorf("Scrub: %v", err)
		}
	}
	cancel()
	busy.Wait()
	if files := filesWith(t, dir, who); len(files) > 0 {
		t.Errorf("after Scrub the name is still in %v, want it in no file", files)
	}
	check := func(when string) {
		for n := range 30 {
			if i := e.wait(t, fmt.Sprint("other", n)); string(i.Output) != `"Jane-Doe"` {
				t.Errorf("%s: other saga %d is %+v, want its output unchanged", when, n, i)
			}
		}
	}
	check("scrubbed")
	e.stop()
	if r, err := Verify(dir); err != nil || !r.Intact() || r.Live != 1 {
		t.Errorf("Verify after Scrub = %+v, %v, want intact and one live saga", r, err)
	}
	e = run(t, w, Options{Dir: dir})
	check("after a restart")
	if err := e.Raise(t.Context(), "live", "go", "x"); err != nil {
		t.Errorf("Raise after Scrub and a restart: %v", err)
	}
	e.want(t, "live", engine.Completed, `"x"`)
	e.stop()
	if files := filesWith(t, dir, who); len(files) > 0 {
		t.Errorf("after a restart the name is in %v again, want it in no file", files)
	}
}

func TestScrubOfAnEngineInMemory(t *testing.T) {
	if err := run(t, enginetest.NewWorld(), Options{}).Scrub(); err != nil {
		t.Errorf("Scrub: %v", err)
	}
}
