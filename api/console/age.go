package console

import (
	"fmt"
	"time"
)

// moment is a time as pages show it: how long ago it was, with the exact time
// in its title.
type moment struct {
	At  time.Time
	Age string
}

// momentOf takes a time.Time, or a string in RFC 3339 as notes have it. Of any
// other string it returns the zero moment.
func momentOf(v any) moment {
	at, ok := v.(time.Time)
	if text, isText := v.(string); isText {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		at, ok = parsed, err == nil
	}
	if !ok || at.IsZero() {
		return moment{}
	}
	return moment{At: at.UTC(), Age: age(time.Since(at))}
}

// age describes in one unit how long ago something was.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d/time.Minute))
	case d < 2*day:
		return fmt.Sprintf("%d h ago", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days ago", int(d/day))
}

// took returns how long an order took, or its age if it has not ended.
func took(createdAt, updatedAt time.Time, ended bool) string {
	if ended {
		return short(updatedAt.Sub(createdAt))
	}
	return short(time.Since(createdAt)) + " so far"
}
