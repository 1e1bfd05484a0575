package console

import (
	"testing"
	"time"
)

func TestAgeUsesOneUnit(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", 999 * time.Millisecond: "just now", 59 * time.Second: "59 s ago", 3*time.Minute + 59*time.Second: "3 min ago",
		47 * time.Hour: "47 h ago", 72 * time.Hour: "3 days ago",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestMomentOfReadsNoteTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 5, 0, 0, time.UTC)
	if got := momentOf("2026-11-23T10:05:00.000000000Z"); !got.At.Equal(at) {
		t.Errorf("momentOf a note's time = %s, want %s", got.At, at)
	}
	if got := momentOf("yesterday"); got != (moment{}) {
		t.Errorf("momentOf a text that is no time = %+v, want the zero moment", got)
	}
}

func TestAxisMaxIsRound(t *testing.T) {
	t.Parallel()
	for n, want := range map[float64]float64{0: 0.2, 0.2: 0.2, 0.3: 0.5, 1: 1, 157: 200, 501: 1000} {
		if got := axisMax(n); got != want {
			t.Errorf("axisMax(%g) = %g, want %g", n, got, want)
		}
	}
}
