package api

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"
)

// cursorPrefix marks the format of a cursor, so that a later format can be distinguished.
const cursorPrefix = "1:"

// encodeCursor returns the cursor of the page after a sort key; "" for the last page.
func encodeCursor(key string) string {
	if key == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + key))
}

var errCursor = errors.New("not a cursor")

// decodeCursor returns the sort key of a cursor; "" for the first page.
func decodeCursor(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	key, ok := strings.CutPrefix(string(b), cursorPrefix)
	unprintable := func(c rune) bool { return c < '!' || c > '~' }
	if err != nil || !ok || key == "" || len(key) > 128 || strings.ContainsFunc(key, unprintable) {
		return "", errCursor
	}
	return key, nil
}

func badCursor() error { return badQuery("cursor", "is not the next of a page") }

// parseTime returns a time in RFC 3339, or a duration before now. It is zero for "".
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if y := at.UTC().Year(); err == nil && (y < 0 || y > 9999) { // times are compared as text, where it would sort first
		err = errors.New("out of range")
	}
	return at, err
}
