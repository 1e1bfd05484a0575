package engine

import (
	"errors"
	"strings"
	"testing"
)

func TestOnlyIDsThatBothEnginesTakeAreValid(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxIDLength)
	for _, id := range []string{
		"o-1042", "a b", "a:b", "p:0000:0001", "a~2", "a.b", "..", "50%_*", "it's", `"q"`, "Ünïcode-Ελλάς", long,
	} {
		if err := CheckID(id); err != nil {
			t.Errorf("CheckID(%q) = %v, want nil", id, err)
		}
	}
	for _, id := range []string{
		"", long + "x", "a/b", `a\b`, "a#b", "a?b", "a|b", "a||b", "a::b", "a:", "a\nb", "a\x00b", "caf\xe9", "caf\uFFFD", "a\u0085b",
	} {
		err := CheckID(id)
		if !errors.Is(err, ErrInvalidID) {
			t.Errorf("CheckID(%.20q…) = %v, want ErrInvalidID", id, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("CheckID's error has %d bytes, want at most 200: %v", len(err.Error()), err)
		}
	}
}

// The Hub of these clients is nil: a request that reached it would panic.
func TestClientChecksIDsAndLimitsBeforeTheHub(t *testing.T) {
	t.Parallel()
	c, ctx, bad := Client{}, t.Context(), "a||b"
	for name, call := range map[string]func() error{
		"Start":     func() error { return c.Start(ctx, "w", bad, nil) },
		"Get":       func() error { _, err := c.Get(ctx, bad); return err },
		"Wait":      func() error { _, err := c.Wait(ctx, bad); return err },
		"Raise":     func() error { return c.Raise(ctx, bad, "e", nil) },
		"Suspend":   func() error { return c.Suspend(ctx, bad, "") },
		"Resume":    func() error { return c.Resume(ctx, bad, "") },
		"Terminate": func() error { return c.Terminate(ctx, bad, "") },
		"Purge":     func() error { return c.Purge(ctx, bad) },
		"Rerun":     func() error { _, err := c.Rerun(ctx, bad, 1); return err },
		"History":   func() error { _, err := c.History(ctx, bad); return err },
	} {
		if err := call(); !errors.Is(err, ErrInvalidID) {
			t.Errorf("%s of id %q = %v, want ErrInvalidID", name, bad, err)
		}
	}
	for _, limit := range []int{-1, 0, MaxListLimit + 1} {
		if _, _, err := c.List(ctx, "", limit); !errors.Is(err, ErrInvalidLimit) {
			t.Errorf("List with limit %d = %v, want ErrInvalidLimit", limit, err)
		}
	}
	for _, event := range []int{-1, 1 << 31} {
		if _, err := c.Rerun(ctx, "a", event); !errors.Is(err, ErrNotFound) {
			t.Errorf("Rerun from event %d = %v, want ErrNotFound", event, err)
		}
	}
}
