package engine

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a client may ask for. Both engines check them before a request
// reaches a sidecar or a store.
const (
	// MaxIDLength is the maximum length of an instance's id, in bytes. Dapr's
	// scheduler takes names of at most 512 bytes (go-etcd-cron 0.12.6), which
	// consist of the id, twice the namespace, the app id and the reminder's name.
	MaxIDLength = 256
	// MaxListLimit is the maximum number of ids that one call of List returns.
	MaxListLimit = 1000
)

// CheckID returns ErrInvalidID, with the reason, for an id that no instance can
// have. An id has 1 to MaxIDLength bytes of UTF-8 without control characters and
// without / \ # ? and |. It contains no "::" and does not end with a colon. Dapr's
// scheduler refuses the former characters; its actors and its list of instances
// cut an id at | and "::" (1.18.2). The ids of children are ids too.
func CheckID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidID)
	case len(id) > MaxIDLength:
		return fmt.Errorf("%w: %.40q… has %d bytes, must have at most %d", ErrInvalidID, id, len(id), MaxIDLength)
	case !utf8.ValidString(id) || strings.ContainsRune(id, utf8.RuneError): // which stands for invalid bytes
		return fmt.Errorf("%w: %q is not valid UTF-8", ErrInvalidID, id)
	case strings.ContainsFunc(id, unicode.IsControl):
		return fmt.Errorf("%w: %q has control characters", ErrInvalidID, id)
	case strings.ContainsAny(id, `/\#?|`):
		return fmt.Errorf(`%w: %q has one of / \ # ? |`, ErrInvalidID, id)
	case strings.Contains(id, "::") || strings.HasSuffix(id, ":"):
		return fmt.Errorf(`%w: %q contains "::" or ends with a colon`, ErrInvalidID, id)
	}
	return nil
}
