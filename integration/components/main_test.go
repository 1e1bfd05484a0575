// Package components tests the files that are shipped for Dapr as they are,
// with the real Dapr and an AWS that is not our own.
package components

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// root is the module's, from here.
var root = filepath.Join("..", "..")

func TestMain(m *testing.M) {
	testkit.UseBuiltDapr()
	os.Exit(m.Run())
}
