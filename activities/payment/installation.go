package payment

import (
	"fmt"
	"regexp"
	"strings"
)

// Installation is the name of an ordersaga installation. It separates installations that share
// an account at the provider, such as staging and production: the provider's order ids are
// NAME:ID. The zero value is an installation too, and its order ids have no prefix. An order
// id has no colon, so each installation can recognize the others' charges.
type Installation string

// MaxInstallation is the maximum length of a name: with the longest order id and "charge-", an
// idempotency key has 104 bytes.
const MaxInstallation = 32

var installations = regexp.MustCompile(`^[a-z0-9-]*$`)

// Validate returns an error for an invalid name.
func (n Installation) Validate() error {
	if len(n) > MaxInstallation || !installations.MatchString(string(n)) {
		return fmt.Errorf("installation %q must be of a-z 0-9 and -, at most %d characters", cut(string(n)), MaxInstallation)
	}
	return nil
}

// theirs returns the provider's id of an order of the installation.
func (n Installation) theirs(orderID string) string {
	if n == "" || orderID == "" {
		return orderID
	}
	return string(n) + ":" + orderID
}

// ours returns the order id of the provider's id; false if it belongs to another
// installation. A charge without an order belongs to every installation.
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

// own returns the entries of the installation, with our order ids.
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
