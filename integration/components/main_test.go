// Package components tests the component files for Dapr exactly as they are shipped, with Dapr
// itself and a third-party AWS emulator.
package components

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// root is the root of the module, relative to this package.
var root = filepath.Join("..", "..")

func TestMain(m *testing.M) {
	testkit.UseBuiltDapr()
	os.Exit(m.Run())
}
