package text_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ordersaga/ordersaga/internal/text"
)

func TestCutKeepsWholeCharacters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"", 5, ""},
		{"short", 5, "short"},
		{"longer", 5, "long…"},
		{"zwölf äöü", 9, "zwölf äöü"},
		{"zwölf äöü!", 9, "zwölf äö…"},
		{"anything", 1, "…"},
		{"anything", 0, ""},
		{"a\xffb\xc3", 9, "a\ufffdb\ufffd"},
		{"a\tb\nc\r\nd", 9, "a b c  d"},
		{"bell\a nul\x00 esc\x1b[31m del\x7f c1\u0085\u009b", 99, "bell\ufffd nul\ufffd esc\ufffd[31m del\ufffd c1 \ufffd"},
		{"not \ufffe a \uffff character", 99, "not \ufffd a \ufffd character"},
		{strings.Repeat("\xff", 10), 3, "\ufffd\ufffd…"},
	} {
		if got := text.Cut(c.in, c.n); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("a\xff\x00…", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = min(max(n, -1), 2000)
		got := text.Cut(s, n)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > max(n, 0) {
			t.Errorf("Cut(%q, %d) = %q, want valid UTF-8 of at most %d characters", s, n, got, n)
		}
		if again := text.Cut(got, n); again != got {
			t.Errorf("Cut(%q, %d) = %q, want no further change", got, n, again)
		}
		if n > 0 && utf8.ValidString(s) && utf8.RuneCountInString(s) <= n && utf8.RuneCountInString(got) != utf8.RuneCountInString(s) {
			t.Errorf("Cut(%q, %d) = %q, want all its characters: it fits", s, n, got)
		}
	})
}

func TestIsIDRejectsLongAndUnprintableIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"ch_1": true, "1Z 999 AA1": true, strings.Repeat("a", text.MaxID): true,
		"": false, strings.Repeat("a", text.MaxID+1): false, "a\nb": false, "a\x00": false, "a\xff": false, " ": false, "a ": false,
		"\u00a0a": false,
	} {
		if got := text.IsID(id); got != want {
			t.Errorf("IsID(%q) = %v, want %v", id, got, want)
		}
	}
}

func TestErrShortensTextAndKeepsTheCause(t *testing.T) {
	t.Parallel()
	if err := text.Err(nil); err != nil {
		t.Errorf("Err(nil) = %v, want nil", err)
	}
	if err := text.Err(io.EOF); err != io.EOF { //nolint:errorlint // the same, and not one that wraps it
		t.Errorf("Err(io.EOF) = %v, want io.EOF itself", err)
	}
	long := fmt.Errorf("%s: %w", strings.Repeat("x", 400_000), io.EOF)
	err := text.Err(long)
	if !errors.Is(err, io.EOF) || utf8.RuneCountInString(err.Error()) != text.Max {
		t.Errorf("Err of a long error has %d characters and wraps io.EOF: %v; want %d and true",
			utf8.RuneCountInString(err.Error()), errors.Is(err, io.EOF), text.Max)
	}
}
