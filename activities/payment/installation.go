package payment

import (
	"fmt"
	"regexp"
	"strings"
)

// Installation is a name that keeps the charges of several ordersagas apart that
// share a provider's account, such as staging and production: the provider knows
// an order as NAME:ID. "" is an installation as well, and the provider knows its
// orders by their ids.
//
// No order's id has a colon in it, so each tells the others' charges by their
// order, the one without a name too.
type Installation string

// MaxInstallation is how long a name may be: with the longest order id and
// "charge-" an idempotency key has 104 bytes.
const MaxInstallation = 32

var installations = regexp.MustCompile(`^[a-z0-9-]*$`)

// Validate says what is wrong with a name.
func (n Installation) Validate() error {
	if len(n) > MaxInstallation || !installations.MatchString(string(n)) {
		return fmt.Errorf("installation %q must be of a-z 0-9 and -, at most %d characters", cut(string(n)), MaxInstallation)
	}
	return nil
}

// theirs is what the provider calls an order of the installation.
func (n Installation) theirs(orderID string) string {
	if n == "" || orderID == "" {
		return orderID
	}
	return string(n) + ":" + orderID
}

// ours is the order that the provider calls so; false if it is another
// installation's. What has no order may be anybody's.
func (n Installation) ours(orderID string) (string, bool) {
	if orderID == "" {
		return "", true
	}
	name, id, named := strings.Cut(orderID, ":")
	switch {
	case n == "" && (!named || name == "" || Installation(name).Validate() != nil):
		return orderID, true
	case n != "" && named && name == string(n):
		return id, true
	}
	return "", false
}

// own are the entries that are the installation's, with our ids.
func (n Installation) own(all []Entry) []Entry {
	var own []Entry
	for _, e := range all {
		if id, ok := n.ours(e.OrderID); ok {
			e.OrderID = id
			own = append(own, e)
		}
	}
	return own
}
